"""Captured sessions to committed journal, a batch at a time: one transaction per batch.

Owns: gathering a batch over many shards, the hand-over to clearing, and the states and events that follow.
Must not know how clearing prices, taxes, converts or splits.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import asyncpg
import structlog
from typing_extensions import override

from clearing.errors import ClosedPeriodError
from clearing.sessions.service import ClearingBatch, SessionClearingService
from gateway.database import Connection, is_distributed, transaction
from gateway.failure_log import is_transient, log_failure
from gateway.ids import format_id, new_id
from gateway.jobs import clearing_repository, task_queue
from gateway.jobs.clearing_repository import SessionMark, ViewSources
from gateway.jobs.shard_job import ShardJob
from gateway.jobs.task_queue import Task
from gateway.jobs.task_runner import is_permanent
from gateway.payments import presenters
from gateway.payments.records import SessionRecord
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.stored_tariffs import StoredTariffs
from gateway.task_kinds import TaskKind
from gateway.webhooks import events
from gateway.webhooks.events import EventType, NewEvent

IN_FLIGHT: Final = 3  # batches at once: one computes while PostgreSQL writes the others
_PORTION: Final = 32  # events made before the process turns to its other work
_ROUNDS: Final = 8  # batches one after another in one round of the job
# Trouble of the database itself, or books closed at this instant: the worker waits and tries again. So too
# where data or an index is corrupt: nothing is written in another way.
_NO_SESSIONS_FAULT: Final = (
    ClosedPeriodError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.TransactionRollbackError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.DataCorruptedError,
    asyncpg.exceptions.IndexCorruptedError,
    OSError,
)
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class ClearingJob(ShardJob):
    """Clears what was captured.

    With much to do, batches are in flight together, each in a transaction of its own and in other shards:
    while one computes, PostgreSQL writes the others.
    """

    sessions: SessionClearingService
    batch_size: int
    chain: int
    tariffs: TariffSnapshotService = field(default_factory=TariffSnapshotService)
    stored_tariffs: StoredTariffs = field(default_factory=StoredTariffs)
    chance: random.Random = field(default_factory=random.SystemRandom)
    _copies_rejected: int = 0  # since the start of the process

    @property
    @override
    def kind(self) -> str:
        """The kind of its tasks."""
        return TaskKind.CLEAR_SESSION.value

    @override
    async def run_shards(self, fences: Mapping[int, int]) -> Mapping[int, int]:
        """Clear what is due, some tens of batches at most; how many sessions of each shard."""
        try:
            return await self._batches(fences)
        except Exception as error:  # a session that can't be cleared must not stop the others
            if _may_pass(error):
                raise
            log_failure(_log, "clearing_batch_failed", error)
        return await self._one_by_one(fences)

    async def _batches(self, fences: Mapping[int, int]) -> Mapping[int, int]:
        """Batches until less than half of one is found; another beside each that is not, up to the bound."""
        done: Counter[int] = Counter()
        choice = _BatchChoice(shards=tuple(fences), chance=self.chance)

        async def work() -> None:
            for _ in range(_ROUNDS):
                tasks = await self._choose(choice)
                full = 2 * len(tasks) >= self.batch_size
                if full:
                    more()
                try:
                    taken = await self._batch(tasks, fences)
                finally:
                    choice.end(tasks)
                done.update(task.shard for task in taken)
                if not full or not taken:
                    return

        def more() -> None:
            if len(workers) < IN_FLIGHT:
                workers.append(group.create_task(work()))

        workers: list[asyncio.Task[None]] = []
        try:
            async with asyncio.TaskGroup() as group:
                more()
        except ExceptionGroup as failed:
            passing = (error for error in failed.exceptions if _may_pass(error))
            raise next(passing, failed.exceptions[0]) from None
        return done

    async def _choose(self, choice: "_BatchChoice") -> list[Task]:
        """Tasks of a batch, in shards that no other batch in flight is in."""
        async with choice.lock:
            tasks: list[Task] = []
            for shards in choice.next():
                wanted = self.batch_size - len(tasks)
                async with self.pool.acquire() as connection:
                    tasks += await clearing_repository.find_due(
                        connection, shards=shards, wall_now=self.clock.wall_now(), batch=wanted
                    )
                if len(tasks) >= self.batch_size:
                    break
            choice.begin(tasks, full=len(tasks) >= self.batch_size)
            return tasks

    async def _batch(self, tasks: Sequence[Task], fences: Mapping[int, int]) -> Sequence[Task]:
        """Clear those of the tasks that can still be taken, and return them."""
        if not tasks:
            return tasks
        async with transaction(self.pool) as connection:
            await clearing_repository.plan_by_index(connection)
            taken = await clearing_repository.take(
                connection, tasks, fences=fences, wall_now=self.clock.wall_now()
            )
            if taken:
                await self._clear(connection, taken)
        return taken

    async def _one_by_one(self, fences: Mapping[int, int]) -> Mapping[int, int]:
        """After a batch failed: each session by itself; the one at fault becomes an exception."""
        async with self.pool.acquire() as connection:
            tasks = await clearing_repository.find_due(
                connection, shards=list(fences), wall_now=self.clock.wall_now(), batch=self.batch_size
            )
        done: Counter[int] = Counter()
        for task in tasks:
            try:
                done[task.shard] += len(await self._batch([task], fences))
            except Exception as error:  # the boundary of one session
                if _may_pass(error):
                    raise
                named = None if task.session_id is None else format_id("ses", task.session_id)
                log_failure(_log, "session_not_cleared", error, session_id=named)
                async with self.pool.acquire() as connection:
                    await task_queue.mark_exception(
                        connection,
                        task,
                        reason=f"{type(error).__name__}: {error}",
                        wall_now=self.clock.wall_now(),
                    )
        return done

    async def _clear(self, connection: Connection, tasks: Sequence[Task]) -> None:
        captured = await clearing_repository.load_captured_sessions(
            connection, tasks, tariffs=self.stored_tariffs, by_shard=is_distributed(self.pool)
        )
        batch = await self.sessions.clear_batch(
            connection, captured, now=self.clock.now(), batch_id=new_id(), chain=self.chain
        )
        if batch.copy_rejected is not None:
            self._copies_rejected += 1
            _log.warning(
                "clearing_copy_rejected", sqlstate=batch.copy_rejected, since_start=self._copies_rejected
            )
        marked = await self._mark(connection, batch)
        await self._publish(connection, batch, marked)
        _log.info(
            "cleared", sessions=len(batch.cleared), uncleared=len(batch.uncleared), again=len(batch.already)
        )

    async def _mark(self, connection: Connection, batch: ClearingBatch) -> Mapping[UUID, SessionRecord]:
        marks = [SessionMark(session_id=one.session_id, state="cleared") for one in batch.cleared]
        marks += [
            SessionMark(session_id=one.session_id, state="exception", flag=one.reason)
            for one in batch.uncleared
        ]
        marks += [SessionMark(session_id=session_id, state="cleared") for session_id in batch.already]
        return await clearing_repository.mark_sessions(connection, marks, now=self.clock.now())

    async def _publish(
        self, connection: Connection, batch: ClearingBatch, marked: Mapping[UUID, SessionRecord]
    ) -> None:
        """An event about each session: two reads and one write for all of them."""
        kinds = {cleared.session_id: EventType.SESSION_CLEARED for cleared in batch.cleared}
        for uncleared in batch.uncleared:
            _log.error(
                "session_exception", session=format_id("ses", uncleared.session_id), reason=uncleared.reason
            )
            kinds[uncleared.session_id] = EventType.SESSION_EXCEPTION
        if not kinds:
            return
        views = await clearing_repository.load_session_views(
            connection,
            list(kinds),
            marked=marked,
            sources=ViewSources(stored=self.stored_tariffs, shown=self.tariffs),
        )
        published: list[NewEvent] = []
        for place, (session_id, kind) in enumerate(kinds.items()):
            if session_id in views:
                published += presenters.session_events(kind, views[session_id])
            if place % _PORTION == 0:
                await asyncio.sleep(0)
        await events.record(connection, published, now=self.clock.now())


@dataclass(slots=True, kw_only=True)
class _BatchChoice:
    """In which shards the next batch of a round is looked for.

    As long as batches are full, each begins at another shard: the index gives one shard after the other, and
    the first ones would keep the last ones waiting.
    """

    shards: tuple[int, ...]
    chance: random.Random
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _busy: Counter[int] = field(default_factory=Counter)
    _full: bool = False

    def next(self) -> list[tuple[int, ...]]:
        """The shards to look in, in turn: those that no batch in flight is in."""
        free = sorted(shard for shard in self.shards if not self._busy[shard])
        begin = self.chance.randrange(len(free)) if self._full and free else 0
        return [part for part in (tuple(free[begin:]), tuple(free[:begin])) if part]

    def begin(self, tasks: Sequence[Task], *, full: bool) -> None:
        """A batch was found in these shards."""
        self._busy.update({task.shard for task in tasks})
        self._full = full

    def end(self, tasks: Sequence[Task]) -> None:
        """The batch has ended."""
        self._busy.subtract({task.shard for task in tasks})


def _may_pass(error: Exception) -> bool:
    """Whether no session is at fault: the database is in trouble or the books are closed at this instant."""
    return is_transient(error) or (isinstance(error, _NO_SESSIONS_FAULT) and not is_permanent(error))
