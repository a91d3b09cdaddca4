"""Runs the tasks of one kind: leases them, hands each to its handler, records how it ended.

Owns: leasing, the boundary around one task, and which errors are final. Must not know what a handler does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog
from asyncpg.exceptions import _base as asyncpg_base
from typing_extensions import override

from clearing.errors import ClearingInvariantViolation
from gateway.failure_log import log_failure
from gateway.ids import format_id
from gateway.jobs import task_queue
from gateway.jobs.shard_job import ShardJob
from gateway.jobs.task_queue import Task
from gateway.task_kinds import TaskKind
from gateway.tracing import span
from pnc.errors import PncInvariantViolation

BATCH: Final = 50
TaskHandler = Callable[[Task], Awaitable[str | None]]
"""Does a task. Returns None when it is done, else why it can't be done yet; safe to repeat."""

# The same data gives the same error: a constraint violated, a value that can't be stored, a broken invariant.
_PERMANENT: Final = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
    asyncpg_base.DataError,
    ClearingInvariantViolation,
    PncInvariantViolation,
    UnicodeError,
)
_log = structlog.get_logger(__name__)


def is_permanent(error: Exception) -> bool:
    """Whether trying again can't help, so that a person has to look.

    A unique violation is not: two workers may have inserted the same row, and the next attempt finds it.
    """
    return isinstance(error, _PERMANENT) and not isinstance(error, asyncpg.UniqueViolationError)


@dataclass(slots=True, kw_only=True)
class TaskJob(ShardJob):
    """Leases tasks of one kind, shard by shard, and does each.

    A task that fails is tried again later; one whose error is permanent becomes an exception at once.
    """

    task_kind: TaskKind
    handle: TaskHandler
    lease_s: int
    parallel_shards: int

    @property
    @override
    def kind(self) -> str:
        """The kind of task, as the logs name this job."""
        return self.task_kind.value

    @override
    async def run_shards(self, fences: Mapping[int, int]) -> Mapping[int, int]:
        """One batch of each shard, begun within half a lease. Returns how many tasks of each were tried.

        So slow tasks hold up no others for long, and none is begun whose lease has ended.
        """
        gate = asyncio.Semaphore(self.parallel_shards)
        until = asyncio.get_running_loop().time() + self.lease_s / 2
        async with asyncio.TaskGroup() as group:
            rounds = {
                shard: group.create_task(self._run_shard(shard, fence, gate, until))
                for shard, fence in fences.items()
            }
        return {shard: done.result() for shard, done in rounds.items()}

    async def _run_shard(self, shard: int, fence: int, gate: asyncio.Semaphore, until: float) -> int:
        loop, done = asyncio.get_running_loop(), 0
        async with gate:
            if loop.time() >= until:
                return 0
            async with self.pool.acquire() as connection:
                leased = await task_queue.lease(
                    connection,
                    shard=shard,
                    fence=fence,
                    kind=self.task_kind,
                    wall_now=self.clock.wall_now(),
                    lease_s=self.lease_s,
                    batch=BATCH,
                )
            for task in leased:
                if loop.time() >= until:
                    break
                await self._run(task)
                done += 1
            if done < len(leased):
                async with self.pool.acquire() as connection:
                    await task_queue.give_back(connection, leased[done:], shard=shard)
        return done

    async def _run(self, task: Task) -> None:
        permanent = False
        named = {} if task.session_id is None else {"session_id": format_id("ses", task.session_id)}
        with structlog.contextvars.bound_contextvars(**named), span(f"task {self.name}"):
            try:
                reason = await self.handle(task)
            except Exception as error:  # noqa: BLE001 - the boundary of one task: the others must go on
                permanent = is_permanent(error)
                log_failure(
                    _log, "task_failed", error, kind=self.name, attempts=task.attempts, final=permanent
                )
                reason = f"{type(error).__name__}: {error}"
        wall_now = self.clock.wall_now()
        async with self.pool.acquire() as connection:
            if reason is None:
                await task_queue.finish(connection, [task])
            elif permanent:
                await task_queue.mark_exception(connection, task, reason=reason, wall_now=wall_now)
            else:
                await task_queue.postpone(connection, task, reason=reason, wall_now=wall_now)
