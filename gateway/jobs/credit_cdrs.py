"""Credit CDRs looked at once a minute of wall time, due by business time.

Owns: the round. Must not know what a credit CDR does.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway.clock import Clock
from gateway.ocpi.credit_cdrs import CreditCdrService

_EVERY: Final = timedelta(minutes=1)


@dataclass(slots=True, kw_only=True)
class CreditCdrJob:
    """One round a minute, bounded."""

    clock: Clock
    credits: CreditCdrService
    name: str = "credit_cdrs"
    _next: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One round. Returns 0: a round is never followed at once by another."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        self._next = wall + _EVERY
        await self.credits.run()
        return 0
