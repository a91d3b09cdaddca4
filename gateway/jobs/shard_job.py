"""What a job by shards is: one kind of work, done in the shards that a worker owns.

Owns: the shape that all of them have, and a round by hand. Must not know what the work is or how it is found.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import new_id
from gateway.jobs.shard_lease_repository import find_due_work
from gateway.jobs.shard_ownership import ShardOwnership

_THIS_PROCESS: Final = new_id()


class ShardWork(Protocol):
    """A kind of work that is found by shard. Rounds of one kind never overlap within a worker."""

    @property
    def kind(self) -> str:
        """The kind of work, as the look for work names it; the job's name in the logs."""
        ...

    async def run_shards(self, fences: Mapping[int, int]) -> Mapping[int, int]:
        """Do what is due in these shards, bounded, under the fencing number of each.

        Returns by shard how much was done. A shard without an entry, or with 0, rests: what is due there
        can't be done yet.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnShards:
    """What this process owns, and in which of its shards which kind of work is due: for rounds by hand."""

    fences: Mapping[int, int]
    due: Mapping[str, tuple[int, ...]]

    def fences_of(self, kind: str) -> dict[int, int]:
        """The fencing numbers of the shards in which a kind of work is due."""
        return {shard: self.fences[shard] for shard in self.due.get(kind, ())}


async def own_shards(pool: Pool, clock: Clock) -> OwnShards:
    """Take what is free for this process, whichever job asks, and find what is due there."""
    shards = ShardOwnership(pool=pool, clock=clock, owner=_THIS_PROCESS)
    await shards.renew()
    fences, wall_now = dict(shards.fences()), clock.wall_now()
    async with pool.acquire() as connection:
        found = await find_due_work(connection, list(fences), owner=_THIS_PROCESS, wall_now=wall_now)
    return OwnShards(
        fences=fences,
        due={
            kind: tuple(shard for shard, due_at in sorted(times.items()) if due_at <= wall_now)
            for kind, times in found.items()
        },
    )


@dataclass(slots=True, kw_only=True)
class ShardJob(ABC):
    """A job by shards that works with the database."""

    pool: Pool
    clock: Clock

    @property
    @abstractmethod
    def kind(self) -> str:
        """The kind of work, as the look for work names it."""

    @property
    def name(self) -> str:
        """The job's name in the logs."""
        return self.kind

    @abstractmethod
    async def run_shards(self, fences: Mapping[int, int]) -> Mapping[int, int]:
        """Do what is due in these shards; see `ShardWork`."""

    async def run_once(self) -> int:
        """One round by hand, without a worker: own what is free, do what is due there; how much was done."""
        fences = (await own_shards(self.pool, self.clock)).fences_of(self.kind)
        return sum((await self.run_shards(fences)).values()) if fences else 0
