"""Idempotency keys past their lifetime and old taps, deleted a batch at a time.

Owns: how often and how many. Must not know what a key guarded. A key is kept for 72 hours, as the guide says.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from gateway import idempotency_repository
from gateway.clock import Clock
from gateway.database import Pool
from gateway.payments import double_tap_repository

LIFETIME: Final = timedelta(hours=72)
TAPS_KEPT: Final = timedelta(hours=1)  # longer than any policy looks back
PAUSE: Final = timedelta(minutes=10)
BATCH: Final = 5000


@dataclass(slots=True, kw_only=True)
class IdempotencyKeyCleanupJob:
    """Deletes until no key is too old, then rests. Several workers may run at once: a row is deleted once."""

    pool: Pool
    clock: Clock
    name: str = "idempotency_key_cleanup"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """Delete one batch. Returns how many keys; 0 while it rests."""
        now = self.clock.wall_now()
        if self._next_at is not None and now < self._next_at:
            return 0
        async with self.pool.acquire() as connection:
            deleted = await idempotency_repository.delete_expired(
                connection, older_than=now - LIFETIME, limit=BATCH
            )
            await double_tap_repository.delete_old(connection, older_than=self.clock.now() - TAPS_KEPT)
        if deleted < BATCH:
            self._next_at = now + PAUSE
        return deleted
