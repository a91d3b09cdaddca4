"""Captured sessions to committed journal, a batch at a time: one transaction per batch.

Owns: gathering a batch over many shards, the hand-over to clearing, and the states and events that follow.
Must not know how clearing prices, taxes, converts or splits.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import structlog

from clearing.errors import ClosedPeriodError
from clearing.sessions.service import ClearingBatch, SessionClearingService
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.failure_log import is_transient, log_failure
from gateway.ids import format_id, new_id
from gateway.jobs import clearing_repository, task_queue
from gateway.jobs.clearing_repository import SessionMark
from gateway.jobs.task_queue import Task
from gateway.jobs.task_runner import is_permanent
from gateway.payments import presenters
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.task_kinds import TaskKind
from gateway.webhooks import events
from gateway.webhooks.events import EventType, NewEvent

IN_FLIGHT: Final = 3  # batches at once: one computes while PostgreSQL writes the others
_PORTION: Final = 32  # events made before the process turns to its other work
_ROUNDS: Final = 8  # batches one after another in one round of the job
# Trouble of the database itself, or books closed at this instant: the worker waits and tries again.
_NO_SESSIONS_FAULT: Final = (
    ClosedPeriodError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.TransactionRollbackError,
    asyncpg.exceptions.InsufficientResourcesError,
    OSError,
)
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class ClearingJob:
    """Clears what was captured. Several run side by side: rows locked by one are skipped by the others.

    With much to do, batches are in flight together, each in a transaction of its own: while one computes,
    PostgreSQL writes the others.
    """

    pool: Pool
    clock: Clock
    sessions: SessionClearingService
    batch_size: int
    chain: int
    tariffs: TariffSnapshotService = field(default_factory=TariffSnapshotService)
    name: str = TaskKind.CLEAR_SESSION.value
    _distributed: bool | None = field(default=None, init=False)

    async def run_once(self) -> int:
        """Clear what is due, some tens of batches at most. Returns how many sessions were leased."""
        async with self.pool.acquire() as connection:
            if self._distributed is None:
                self._distributed = await clearing_repository.is_distributed(connection)
            shards = await clearing_repository.list_shards_due(connection, wall_now=self.clock.wall_now())
        if not shards:
            return 0
        try:
            return await self._batches(shards)
        except Exception as error:  # a session that can't be cleared must not stop the others
            if _may_pass(error):
                raise
            log_failure(_log, "clearing_batch_failed", error)
        return await self._one_by_one(shards)

    async def _batches(self, shards: Sequence[int]) -> int:
        """Batches until less than half of one is found; another beside each that is not, up to the bound."""
        counts: list[int] = []

        async def work() -> None:
            for _ in range(_ROUNDS):
                count = await self._batch(shards, more=more)
                counts.append(count)
                if 2 * count < self.batch_size:
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
        return sum(counts)

    async def _batch(self, shards: Sequence[int], *, more: Callable[[], None]) -> int:
        async with transaction(self.pool) as connection:
            await clearing_repository.plan_by_index(connection)
            tasks = await self._lock(connection, shards)
            if 2 * len(tasks) >= self.batch_size:
                more()
            if tasks:
                await self._clear(connection, tasks)
        return len(tasks)

    async def _one_by_one(self, shards: Sequence[int]) -> int:
        """After a batch failed: each session by itself; the one at fault becomes an exception."""
        async with transaction(self.pool) as connection:
            tasks = await self._lock(connection, shards)
        done = 0
        for task in tasks:
            try:
                async with transaction(self.pool) as connection:
                    await self._clear(connection, [task])
                done += 1
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

    async def _lock(self, connection: Connection, shards: Sequence[int]) -> list[Task]:
        """Tasks of every shard, each with its share of the batch, locked until the transaction ends."""
        share = -(-self.batch_size // len(shards))
        return await clearing_repository.lock_due(
            connection,
            shards=shards,
            wall_now=self.clock.wall_now(),
            share=share,
            distributed=bool(self._distributed),
        )

    async def _clear(self, connection: Connection, tasks: Sequence[Task]) -> None:
        captured = await clearing_repository.load_captured_sessions(
            connection, tasks, distributed=bool(self._distributed)
        )
        batch = await self.sessions.clear_batch(
            connection, captured, now=self.clock.now(), batch_id=new_id(), chain=self.chain
        )
        await self._mark(connection, batch)
        await self._publish(connection, batch)
        await task_queue.finish(connection, tasks)
        _log.info(
            "cleared", sessions=len(batch.cleared), uncleared=len(batch.uncleared), again=len(batch.already)
        )

    async def _mark(self, connection: Connection, batch: ClearingBatch) -> None:
        marks = [SessionMark(session_id=one.session_id, state="cleared") for one in batch.cleared]
        marks += [
            SessionMark(session_id=one.session_id, state="exception", flag=one.reason)
            for one in batch.uncleared
        ]
        marks += [SessionMark(session_id=session_id, state="cleared") for session_id in batch.already]
        await clearing_repository.mark_sessions(connection, marks, now=self.clock.now())

    async def _publish(self, connection: Connection, batch: ClearingBatch) -> None:
        """An event about each session: three reads and one write for all of them."""
        kinds = {cleared.session_id: EventType.SESSION_CLEARED for cleared in batch.cleared}
        for uncleared in batch.uncleared:
            _log.error(
                "session_exception", session=format_id("ses", uncleared.session_id), reason=uncleared.reason
            )
            kinds[uncleared.session_id] = EventType.SESSION_EXCEPTION
        if not kinds:
            return
        views = await clearing_repository.load_session_views(connection, list(kinds), tariffs=self.tariffs)
        published: list[NewEvent] = []
        for place, (session_id, kind) in enumerate(kinds.items()):
            if session_id in views:
                published += presenters.session_events(kind, views[session_id])
            if place % _PORTION == 0:
                await asyncio.sleep(0)
        await events.record(connection, published, now=self.clock.now())


def _may_pass(error: Exception) -> bool:
    """Whether no session is at fault: the database is in trouble or the books are closed at this instant."""
    return is_transient(error) or (isinstance(error, _NO_SESSIONS_FAULT) and not is_permanent(error))
