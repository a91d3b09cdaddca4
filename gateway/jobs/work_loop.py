"""Finds the work of a worker's shards and runs the jobs that do it.

Owns: the look, the rounds under way and the wait between looks. Must not know what a job does, who owns which
shard, or how long the pauses are (work_schedule.py).
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from gateway.clock import Clock
from gateway.database import Pool
from gateway.jobs.job_acts import acting_as
from gateway.jobs.job_loops import JobLoops
from gateway.jobs.shard_job import ShardWork
from gateway.jobs.shard_lease_repository import find_due_work
from gateway.jobs.shard_ownership import ShardOwnership
from gateway.jobs.work_schedule import LONGEST_PAUSE_S, WorkSchedule
from gateway.work_signal import WorkSignal, wait_for

_NAME: Final = "work_loop"


@dataclass(slots=True, kw_only=True)
class WorkLoop:
    """One look at a time; rounds of different kinds run side by side."""

    pool: Pool
    clock: Clock
    shards: ShardOwnership
    jobs: Sequence[ShardWork]
    loops: JobLoops
    signal: WorkSignal
    schedule: WorkSchedule = field(default_factory=WorkSchedule)
    _busy: set[str] = field(default_factory=set)

    async def run(self, *, stop: asyncio.Event) -> None:
        """Do what is due until `stop` is set; returns when the rounds under way have ended."""
        structlog.contextvars.bind_contextvars(job=_NAME)
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                mark, looked_at = self.signal.mark(), loop.time()
                pause_s = await self._look(group)
                if await wait_for(mark, stop=stop, seconds=pause_s):
                    self.schedule.woken()
                    # Many signals in a row are one look.
                    early = looked_at + self.schedule.soonest_s - loop.time()
                    if early > 0:
                        await asyncio.sleep(early)
        self.loops.rounds.end(_NAME)

    async def _look(self, group: asyncio.TaskGroup) -> float:
        """Begin what is due; return how many seconds to pause."""
        fences = dict(self.shards.fences())
        if not fences:
            return LONGEST_PAUSE_S
        try:
            found = await self._find(fences)
        except Exception as error:  # noqa: BLE001 - the process boundary of the loop: it must go on
            return self.loops.turned(_NAME, error)
        self.loops.turned(_NAME, None)
        plan = self.schedule.plan(
            found,
            busy=self._busy,
            wall_now=self.clock.wall_now(),
            at=asyncio.get_running_loop().time(),
        )
        by_kind = {job.kind: job for job in self.jobs}
        for kind in plan.begin.keys() & by_kind.keys():
            self._busy.add(kind)
            given = {shard: fences[shard] for shard in plan.begin[kind]}
            group.create_task(self._round(by_kind[kind], given), name=f"round of {kind}")
        return plan.pause_s

    async def _find(self, fences: Mapping[int, int]) -> Mapping[str, Mapping[int, datetime]]:
        async with self.pool.acquire() as connection:
            return await find_due_work(
                connection, list(fences), owner=self.shards.owner, wall_now=self.clock.wall_now()
            )

    async def _round(self, job: ShardWork, fences: Mapping[int, int]) -> None:
        structlog.contextvars.bind_contextvars(job=job.kind)
        loop = asyncio.get_running_loop()
        self.loops.rounds.finish(job.kind, at=loop.time())  # from here on it may hang
        try:
            with acting_as(job.kind):
                done = await job.run_shards(fences)
        except Exception as error:  # noqa: BLE001 - the process boundary of a job: the others must go on
            self.schedule.failed(job.kind, until=loop.time() + self.loops.turned(job.kind, error))
        else:
            self.loops.turned(job.kind, None)
            shards = [shard for shard, count in done.items() if count]
            self.schedule.ended(job.kind, fences, done=shards, at=loop.time())
            if shards:
                self.signal.wake()  # it leaves work of other kinds, and more may be due
        finally:
            self._busy.discard(job.kind)
            self.loops.rounds.end(job.kind)
