"""Several workers of one system: each owns shards, looks, and acts on what it saw, however long ago that was.

Owns: coming, renewing, looking, acting late, stopping and dying, and the rule that who has lost a shard
does nothing in it. Must not know: what the jobs do. A worker whose process was paused is one that looks,
and acts after its leases went to another: its own clock never stops it here, only the fencing numbers do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.clock import Clock
from gateway.database import Pool
from gateway.jobs import shard_lease_repository as rows
from gateway.jobs.shard_job import ShardWork
from gateway.jobs.shard_ownership import ShardOwnership
from tests.simulation.checks import BrokenRuleError

MOST_WORKERS = 3


def _never() -> float:
    return 0.0  # no time passes for a paused process: it believes in its leases for ever


@dataclass(slots=True, kw_only=True)
class SimulatedWorker:
    """One worker process and what it saw at its last look: fencing numbers by kind of work and shard."""

    name: str
    shards: ShardOwnership
    saw: dict[str, dict[int, int]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class SimulatedWorkers:
    """The workers that live; one that is asked for and is not there comes."""

    pool: Pool
    clock: Clock
    counts: dict[str, int] = field(default_factory=dict)
    _alive: dict[str, SimulatedWorker] = field(default_factory=dict)

    async def renew(self, name: str) -> None:
        """A round of its leases: takes what is free, gives back what is too much."""
        worker = await self._worker(name)
        await worker.shards.renew()

    async def look(self, name: str) -> None:
        """It sees what is due in its shards. What it does about it comes later."""
        worker = await self._worker(name)
        fences, now = dict(worker.shards.fences()), self.clock.wall_now()
        async with self.pool.acquire() as connection:
            found = await rows.find_due_work(
                connection, list(fences), owner=worker.shards.owner, wall_now=now
            )
        worker.saw = {
            kind: {shard: fences[shard] for shard, due_at in times.items() if due_at <= now}
            for kind, times in found.items()
        }

    async def act(self, name: str, job: ShardWork) -> int:
        """It does what it saw.

        Raises:
            BrokenRuleError: it did something in a shard that it had lost.
        """
        worker = await self._worker(name)
        if not worker.saw:
            await self.look(name)
        seen = worker.saw.pop(job.kind, {})
        async with self.pool.acquire() as connection:
            standing = {lease.shard: lease.fence for lease in await rows.list_leases(connection)}
        late = {shard: fence for shard, fence in seen.items() if standing.get(shard) != fence}
        if late:
            self._count("late_owner")
            done = await job.run_shards(late)
            if any(done.values()):
                raise BrokenRuleError(f"{name} did {job.kind} in shards that it had lost: {dict(done)}")
        own: Mapping[int, int] = {shard: fence for shard, fence in seen.items() if shard not in late}
        return sum((await job.run_shards(own)).values()) if own else 0

    async def stop(self, name: str) -> None:
        """It ends in peace: everything is given back."""
        worker = self._alive.pop(name, None)
        if worker is not None:
            await worker.shards.give_back_all()

    def die(self, name: str) -> None:
        """It is gone without a word; its leases end by themselves."""
        if self._alive.pop(name, None) is not None:
            self._count("worker_died")

    async def stop_all(self) -> None:
        """Every worker ends in peace."""
        for name in sorted(self._alive):
            await self.stop(name)

    async def _worker(self, name: str) -> SimulatedWorker:
        if name not in self._alive:
            shards = ShardOwnership(pool=self.pool, clock=self.clock, name=name, monotonic=_never)
            self._alive[name] = SimulatedWorker(name=name, shards=shards)
            await shards.renew()
        return self._alive[name]

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
