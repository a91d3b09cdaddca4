"""The shards that one worker owns: leased, renewed, taken over, given back.

Owns: the lease's length, the rounds of renewal, and until when this process may act. Must not know the
rules of who gets which shard (shard_share.py), or what is done in a shard.

A worker acts in a shard only with the lease's fencing number, which the statements that take work compare.
So a process that was paused and wakes after its lease went to another takes nothing, whatever its clock
says.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from gateway.clock import Clock
from gateway.database import Pool, is_distributed
from gateway.ids import ALL_SHARDS, new_id
from gateway.jobs import shard_lease_repository as rows
from gateway.jobs.job_loops import JobLoops, rest
from gateway.jobs.shard_share import SharePlan, plan_shares
from gateway.work_signal import WorkSignal

LEASE: Final = timedelta(seconds=15)
RENEW_S: Final = 5.0
WAITING_S: Final = 1.0  # a worker that waits for its share asks more often
_MARGIN_S: Final = 1.0  # this process stops acting before its leases end
_GONE: Final = timedelta(days=1)
_NAME: Final = "shard_ownership"
_log = structlog.get_logger(__name__)


def this_process() -> str:
    """The machine and the process, for people."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(slots=True, kw_only=True)
class ShardOwnership:
    """What one worker owns. `renew` is one round; `run` repeats it until it has to stop.

    `signal` wakes the loops when the shards change.
    """

    pool: Pool
    clock: Clock
    owner: UUID = field(default_factory=new_id)
    name: str = field(default_factory=this_process)
    signal: WorkSignal = field(default_factory=WorkSignal)
    monotonic: Callable[[], float] = time.monotonic
    _fences: dict[int, int] = field(default_factory=dict)
    _acts_until: float = 0.0

    def fences(self) -> Mapping[int, int]:
        """The fencing number of each shard that this process may act in now."""
        return self._fences if self.monotonic() < self._acts_until else {}

    async def renew(self) -> SharePlan:
        """Renew what is owned, take or give back what the fair share says. Returns what was planned."""
        begun, wall_now = self.monotonic(), self.clock.wall_now()
        until = wall_now + LEASE
        async with self.pool.acquire() as connection:
            await rows.keep_worker(
                connection, worker=self.owner, name=self.name, wall_now=wall_now, until=until
            )
            held = await rows.renew_shards(connection, owner=self.owner, until=until)
            leases = await rows.list_leases(connection)
            workers = [worker.id for worker in await rows.list_workers(connection, wall_now=wall_now)]
            plan = plan_shares(leases, worker=self.owner, workers=workers, wall_now=wall_now)
            self._note_losses(held)
            # No round begins in what is about to be given back.
            self._set({shard: fence for shard, fence in held.items() if shard not in plan.give_back}, begun)
            if plan.give_back:
                await rows.give_back_shards(connection, plan.give_back, owner=self.owner, wall_now=wall_now)
            if plan.take:
                taken = await rows.take_shards(
                    connection,
                    plan.take,
                    owner=self.owner,
                    wall_now=wall_now,
                    until=until,
                    distributed=is_distributed(self.pool),
                )
                self._set(self._fences | taken, begun)
        return plan

    async def give_back_all(self) -> None:
        """Give everything back: the others take it at their next round and wait for no lease to end."""
        self._fences = {}
        wall_now = self.clock.wall_now()
        async with self.pool.acquire() as connection:
            await rows.give_back_shards(connection, ALL_SHARDS, owner=self.owner, wall_now=wall_now)
            await rows.delete_workers(connection, worker=self.owner, gone_before=wall_now - _GONE)

    async def run(self, *, stop: asyncio.Event, loops: JobLoops) -> None:
        """Renew until `stop` is set. Giving back is the caller's, once nothing acts any more."""
        structlog.contextvars.bind_contextvars(job=_NAME)
        while not stop.is_set():
            try:
                plan = await self.renew()
            except Exception as error:  # noqa: BLE001 - the process boundary of a job: it must go on
                pause = loops.turned(_NAME, error)
            else:
                loops.turned(_NAME, None)
                pause = WAITING_S if plan.waits else RENEW_S
            await rest(stop, pause)
        loops.rounds.end(_NAME)

    def _set(self, fences: dict[int, int], begun: float) -> None:
        self._acts_until = begun + LEASE.total_seconds() - _MARGIN_S
        if fences != self._fences:
            self._fences = fences
            self.signal.wake()

    def _note_losses(self, held: Mapping[int, int]) -> None:
        lost = sorted(shard for shard, fence in self._fences.items() if held.get(shard) != fence)
        if lost:
            _log.warning("shard_leases_lost", shards=lost, worker=self.name)
