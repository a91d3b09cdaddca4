"""Sends one financial advice for each capture to the CPO that invoices it.

Owns: how often captures are queried, and how far back. Must not know what an advice says.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from gateway.ids import SHARD_COUNT
from gateway.ocpi import financial_advice
from gateway.ocpi.repository import payments
from gateway.ocpi.services import OcpiServices
from gateway.ocpi.throttle import Throttle

EVERY_S: Final = 5.0
_LOOK_BACK: Final = timedelta(days=3)  # a worker that stood still that long has been noticed
_BATCH: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FinancialAdviceJob:
    """Finds captures without an advice and queues one for each, every `throttle` seconds at most."""

    services: OcpiServices
    throttle: Throttle = field(default_factory=Throttle)
    name: str = "ocpi_financial_advice"

    async def run_once(self) -> int:
        """Query every shard once, where it is time. Returns how many advices were queued."""
        if not self.throttle.is_time():
            return 0
        async with self.services.pool.acquire() as connection:
            parties = await payments.list_parties_taking_advice(connection)
        if not parties:
            return 0
        floor = financial_advice.first_id_at(self.services.clock.wall_now() - _LOOK_BACK)
        return sum(
            [
                await financial_advice.queue_advices(
                    self.services, shard=shard, floor=floor, parties=parties, limit=_BATCH
                )
                for shard in range(SHARD_COUNT)
            ]
        )
