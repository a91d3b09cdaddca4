"""Months closed some days after their end, where an operator set it.

Owns: when. Must not know: what closing a period does.
"""

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from clearing.documents import invoice_service
from clearing.ledger import service as ledger_service
from clearing.parties.party import PLATFORM_ID
from clearing.services import ClearingServices
from gateway.books.period_close_service import PeriodCloseService
from gateway.clock import Clock
from gateway.database import Pool, transaction

AGAIN: Final = timedelta(hours=24)
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class PeriodCloseJob:
    """Closes each month `after` so many days, where an operator set it; else closing is a person's act.

    A month with open points is left to two people: `networkcore books close`.
    """

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    after: timedelta | None
    name: str = "period_close"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """Close the last month whose days of grace are over. Always 0."""
        now = self.clock.now()
        if self.after is None or (self._next_at is not None and now < self._next_at):
            return 0
        async with self.pool.acquire() as connection:
            platform = await self.clearing.reference_data.find_party(connection, PLATFORM_ID)
        if platform is not None:
            zone = ZoneInfo(platform.time_zone)
            first = (now - self.after).astimezone(zone).date().replace(day=1)
            until = datetime.combine(first, time(), zone)
            async with transaction(self.pool) as connection:
                closed = await ledger_service.find_closed_until(connection)
                is_open = closed is None or closed < until
                if is_open and await invoice_service.has_booked_before(connection, until=until):
                    closing = PeriodCloseService(pool=self.pool, clock=self.clock, clearing=self.clearing)
                    if not await closing.close_if_clean(connection, until=until, zone=platform.time_zone):
                        _log.warning("period_not_closed", until=until.isoformat(), reason="open points")
            self._next_at = now + AGAIN
        return 0
