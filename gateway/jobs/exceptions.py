"""The exceptions queue, brought in step with its causes every minute.

Owns: how often. Must not know any kind of exception. A read brings the queue in step as well; this job gives
it its history and its metrics while nobody reads.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.exceptions.service import ExceptionService

PAUSE: Final = timedelta(minutes=1)


@dataclass(slots=True, kw_only=True)
class ExceptionsJob:
    """Compares once a minute; several workers take turns."""

    pool: Pool
    clock: Clock
    exceptions: ExceptionService
    name: str = "exceptions"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One comparison, if it is time; always 0, so that the job rests."""
        wall_now = self.clock.wall_now()
        if self._next_at is None or wall_now >= self._next_at:
            async with transaction(self.pool) as connection:
                await self.exceptions.refresh(connection, now=self.clock.now(), wall_now=wall_now)
            self._next_at = wall_now + PAUSE
        return 0
