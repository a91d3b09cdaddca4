"""The retention, once a day: personal data and messages whose time is over are removed, a batch a round.

Owns: when a run begins, and that a round is one batch. Must not know what is removed, or for how long
anything is kept. Several workers may run at once: each batch leaves out the rows that another holds.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from gateway.clock import Clock
from gateway.config import Settings
from gateway.database import Pool
from gateway.jobs.idempotency_key_cleanup import IdempotencyKeyCleanupJob
from gateway.personal_data import retention_service
from gateway.personal_data.retention_service import BATCH, EVERY, RetentionService
from gateway.personal_data.rules import load_policy

_log = structlog.get_logger(__name__)
_NONE: Final = 0


@dataclass(slots=True, kw_only=True)
class RetentionJob:
    """Runs a day after the last run ended, whichever worker made that."""

    pool: Pool
    clock: Clock
    retention: RetentionService
    name: str = "retention"
    _run: UUID | None = field(default=None)
    _rule: int = field(default=0)
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One batch. Returns how many rows were removed, or 1 where the next rule follows; 0 lets it rest."""
        if self._run is None and not await self._begins():
            return _NONE
        run = self._run
        if run is None:
            return _NONE
        if self._rule == len(self.retention.rules):
            await retention_service.finish_run(self.pool, run, clock=self.clock)
            _log.info("retention_finished")
            self._run, self._next_at = None, self.clock.wall_now() + EVERY
            return _NONE
        removed = await self.retention.run_batch(
            self.pool, run, self.retention.rules[self._rule], clock=self.clock
        )
        if removed < BATCH:
            self._rule += 1
        return max(removed, 1)

    async def _begins(self) -> bool:
        """Whether a run begins now; looked up once for each pause."""
        now = self.clock.wall_now()
        if self._next_at is not None and now < self._next_at:
            return False
        async with self.pool.acquire() as connection:
            last = await retention_service.find_latest_run(connection)
        if last is not None and now < last.finished_at + EVERY:
            self._next_at = last.finished_at + EVERY
            return False
        self._run, self._rule = await retention_service.start_run(self.pool, clock=self.clock), 0
        return True


def retention_jobs(
    settings: Settings, *, pool: Pool, clock: Clock
) -> list[RetentionJob | IdempotencyKeyCleanupJob]:
    """What ends once a day, and what ends within hours. Raises ConfigurationError, naming the setting."""
    retention = RetentionService(
        policy=load_policy(settings.retention_path), environment=settings.environment.value
    )
    return [
        RetentionJob(pool=pool, clock=clock, retention=retention),
        IdempotencyKeyCleanupJob(pool=pool, clock=clock),
    ]
