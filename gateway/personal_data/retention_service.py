"""The retention: what is due by the table of personal data, and its removal, a batch at a time.

Owns: the order of the rules, the size of a batch, the record of a run. Must not know: SQL, HTTP, the command
line. No batch is larger than BATCH rows and each is a transaction of its own, so that nothing waits for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import new_id
from gateway.personal_data import retention_repository
from gateway.personal_data.retention_repository import DueBefore, RetentionRun
from gateway.personal_data.rules import RetentionPolicy, RetentionRule
from pnc import personal_data_service as contracts

BATCH: Final = 500
EVERY: Final = timedelta(days=1)
OVERDUE_AFTER: Final = timedelta(days=2)  # a run that is this old has failed to begin twice
_RUNS_KEPT: Final = timedelta(days=400)
_RECORDS: Final = "billing_record"
_CONTRACT: Final = "contract"
# Rules whose rows another job removes, by the periods in its own code; a test compares them.
BY_OTHER_JOBS: Final = frozenset({"decision", "contract_pool_event"})
# Rules whose rows go with what they are about.
WITH_THEIR_CAUSE: Final = frozenset({"ocpi_outbox", "task"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionLine:
    """A rule, how many of its rows are due now, and how many the last run removed."""

    rule: RetentionRule
    due: int | None  # null: another job removes them, or the law or their cause keeps them
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """What is due, kept and removed, and the run that ended last."""

    as_of: datetime
    last_run: RetentionRun | None
    lines: Sequence[RetentionLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionService:
    """Carries the policy out. `environment` names the contracts that are this system's."""

    policy: RetentionPolicy
    environment: str

    @property
    def rules(self) -> Sequence[str]:
        """The rules that are carried out here, in the order in which their rows may go."""
        return (*retention_repository.list_rules(), _RECORDS, _CONTRACT)

    async def report(self, connection: Connection, *, clock: Clock) -> RetentionReport:
        """What is due now; nothing is changed."""
        last = await retention_repository.find_latest_run(connection)
        lines = []
        for name, rule in self.policy.rules.items():
            due = await self._count_due(connection, name, clock=clock) if name in self.rules else None
            removed = last.removed.get(name, 0) if last is not None else 0
            lines.append(RetentionLine(rule=rule, due=due, removed=removed))
        return RetentionReport(as_of=clock.now(), last_run=last, lines=lines)

    async def remove_batch(self, connection: Connection, rule: str, *, clock: Clock) -> int:
        """Remove one batch of a rule's rows; returns how many were removed."""
        if rule == _RECORDS:
            return await retention_repository.blot_records(
                connection,
                limits=self.policy.legal_limits(clock.now()),
                now=clock.now(),
                limit=BATCH,
            )
        before = self._before(rule, clock)
        if rule == _CONTRACT:
            return await contracts.delete_expired(
                connection, environment=self.environment, before=before.business, limit=BATCH
            )
        return await retention_repository.remove_batch(connection, rule, before=before, limit=BATCH)

    async def run(self, pool: Pool, *, clock: Clock) -> RetentionRun | None:
        """Remove all that is due, batch after batch. Returns the run, once it has ended."""
        run_id = await start_run(pool, clock=clock)
        for rule in self.rules:
            while await self.run_batch(pool, run_id, rule, clock=clock) >= BATCH:
                continue
        await finish_run(pool, run_id, clock=clock)
        async with pool.acquire() as connection:
            return await retention_repository.find_latest_run(connection)

    async def run_batch(self, pool: Pool, run_id: UUID, rule: str, *, clock: Clock) -> int:
        """One batch of one rule, recorded with the run, in a transaction of its own."""
        async with transaction(pool) as connection:
            count = await self.remove_batch(connection, rule, clock=clock)
            if count:
                await retention_repository.record_removed(connection, run_id, rule=rule, count=count)
        return count

    async def _count_due(self, connection: Connection, rule: str, *, clock: Clock) -> int:
        if rule == _RECORDS:
            return await retention_repository.count_due_records(
                connection, limits=self.policy.legal_limits(clock.now())
            )
        before = self._before(rule, clock)
        if rule == _CONTRACT:
            return await contracts.count_due(connection, environment=self.environment, before=before.business)
        return await retention_repository.count_due(connection, rule, before=before)

    def _before(self, rule: str, clock: Clock) -> DueBefore:
        keep = self.policy.rules[rule].keep
        return DueBefore(business=keep.before(clock.now()), wall=keep.before(clock.wall_now()))


async def start_run(pool: Pool, *, clock: Clock) -> UUID:
    """Record that a run begins; its id."""
    run_id, now = new_id(), clock.wall_now()
    async with transaction(pool) as connection:
        await retention_repository.delete_old_runs(connection, before=now - _RUNS_KEPT)
        await retention_repository.start_run(connection, run_id, now=now)
    return run_id


async def finish_run(pool: Pool, run_id: UUID, *, clock: Clock) -> None:
    """Record that all that was due is removed."""
    async with transaction(pool) as connection:
        await retention_repository.finish_run(connection, run_id, now=clock.wall_now())


async def find_latest_run(connection: Connection) -> RetentionRun | None:
    """The run that ended last; None where none has."""
    return await retention_repository.find_latest_run(connection)


async def age_seconds(connection: Connection, *, now: datetime, wall_now: datetime) -> float:
    """Seconds since the last run ended; without one, since this system began; 0 before that."""
    last = await retention_repository.find_latest_run(connection)
    if last is not None:
        return max(0.0, (wall_now - last.finished_at).total_seconds())
    began = await retention_repository.find_beginning(connection)
    return 0.0 if began is None else max(0.0, (now - began).total_seconds())
