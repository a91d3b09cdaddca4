"""Payments of the driver page that their drivers have left: holds released, old addresses forgotten.

Owns: the round and its deadlines. Must not know how a hold is released or which may be.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.database import Pool
from gateway.driver_page import repository
from gateway.driver_page.errors import DriverPageError
from gateway.driver_page.service import KEPT, DriverPaymentService
from gateway.payments.errors import PaymentError

PATIENCE: Final = timedelta(minutes=15)  # the page says so
EVERY: Final = timedelta(minutes=1)
_BATCH: Final = 100
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class DriverPaymentJob:
    """One round a minute, a batch at a time, the oldest first."""

    pool: Pool
    clock: Clock
    driver_payments: DriverPaymentService
    name: str = "driver_payments"
    _next: datetime | None = field(default=None)
    _after: datetime = field(default=_BEGINNING)  # a round goes on where the last one stopped

    async def run_once(self) -> int:
        """One round. Returns 0: a round is never followed at once by another."""
        now = self.clock.wall_now()
        if self._next is not None and now < self._next:
            return 0
        self._next = now + EVERY
        async with self.pool.acquire() as connection:
            found = await repository.list_open(
                connection, before=now - PATIENCE, after=self._after, batch=_BATCH
            )
            await repository.delete_old(connection, before=now - KEPT, batch=_BATCH)
        self._after = found[-1][1] if len(found) == _BATCH else _BEGINNING
        for token, _ in found:
            try:
                await self.driver_payments.release_unstarted(token)
            except (DriverPageError, PaymentError) as error:
                _log.info("driver_payment_kept", reason=str(error))
            except Exception:  # noqa: BLE001 - the boundary of one payment: it keeps no other waiting
                _log.exception("driver_payment_failed")
        return 0
