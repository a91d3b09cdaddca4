"""Sessions that a missing exchange rate stopped, handed to clearing again once rates were imported.

Owns: how often and how many at once. Must not know: how rates were imported, or how clearing uses them.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from clearing.exchange_rates import feed_service
from clearing.exchange_rates.rate_feed import WaitingSession
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.payments import cdr_correction_repository

EVERY: Final = timedelta(minutes=1)
# A batch that read the rates before an import may mark a session as an exception after it.
MARGIN: Final = timedelta(minutes=1)
AT_ONCE: Final = 500
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class RateRetryJob:
    """Retries clearing of sessions without a rate, however the rates were imported."""

    pool: Pool
    clock: Clock
    name: str = "rate_retry"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One check a minute. Returns how many sessions are cleared again."""
        wall = self.clock.wall_now()
        if self._next_at is not None and wall < self._next_at:
            return 0
        self._next_at = wall + EVERY
        retried = 0
        after: WaitingSession | None = None
        while True:
            async with transaction(self.pool) as connection:
                found = await feed_service.list_sessions_waiting_for_rates(
                    connection, margin=MARGIN, after=after, limit=AT_ONCE
                )
                for one in found:
                    retried += await cdr_correction_repository.retry_clearing(
                        connection,
                        session_id=one.session_id,
                        now=self.clock.now(),
                        wall_now=self.clock.wall_now(),
                    )
            if len(found) < AT_ONCE:
                break
            after = found[-1]
        if retried:
            _log.info("clearing_retried_for_rates", sessions=retried)
        return retried
