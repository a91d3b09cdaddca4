"""Disputes whose evidence is due soon, announced once each.

Owns: the round, and how long before the deadline. Must not know what evidence is, how an event is delivered.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway.clock import Clock
from gateway.payments.service import PaymentService

_EVERY: Final = timedelta(minutes=10)
AHEAD: Final = timedelta(days=3)
_BATCH: Final = 100


@dataclass(slots=True, kw_only=True)
class DisputeDeadlineJob:
    """One round in ten minutes, bounded."""

    clock: Clock
    payments: PaymentService
    name: str = "dispute_deadlines"
    _next: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One round where it is time. Returns how many deadlines were announced."""
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return 0
        announced = await self.payments.dispute_evidence.announce_deadlines(
            before=self.clock.now() + AHEAD, batch=_BATCH
        )
        if announced < _BATCH:
            self._next = wall + _EVERY
        return announced
