"""Administrative acts sealed into their hash chain, soon after they are recorded.

Owns: how often. Must not know how an act is hashed. Several workers may run at once:
one of them seals at a time.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway.acts.service import SEALED_AT_ONCE, seal_acts
from gateway.clock import Clock
from gateway.database import Pool, transaction

PAUSE: Final = timedelta(seconds=30)


@dataclass(slots=True, kw_only=True)
class ActSealJob:
    """Seals until every act is sealed, then rests."""

    pool: Pool
    clock: Clock
    name: str = "act_seals"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """Seal one batch. Returns how many acts; 0 while it rests."""
        now = self.clock.wall_now()
        if self._next_at is not None and now < self._next_at:
            return 0
        async with transaction(self.pool) as connection:
            sealed = await seal_acts(connection)
        if sealed < SEALED_AT_ONCE:
            self._next_at = now + PAUSE
        return sealed
