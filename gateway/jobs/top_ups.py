"""Top-ups that have not ended: the PSP is asked about each, though its events were lost.

Owns: the round. Must not know: what a top-up is booked as.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway.clock import Clock
from gateway.payments.funding import FundingService

_EVERY: Final = timedelta(minutes=10)
_BATCH: Final = 100


@dataclass(slots=True, kw_only=True)
class TopUpJob:
    """One round in ten minutes, bounded; each top-up is asked about once an hour."""

    clock: Clock
    funding: FundingService
    name: str = "top_ups"
    _next: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One round where it is time. Returns how many top-ups the PSP was asked about."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        asked = await self.funding.check_waiting(batch=_BATCH)
        if asked < _BATCH:
            self._next = wall + _EVERY
        return asked
