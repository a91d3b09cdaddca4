"""Which shards a worker takes and which it gives back, so that each shard has an owner and all own alike.

Owns: the fair share, and the choice. Pure: must not know the database or a clock; `wall_now` is given.

Workers decide by themselves, each from the same rows: the leases and the workers that are here. Each has a
rank among them, and thereby a share that all agree on; who has more gives back, who has less takes what is
free. A worker whose row has ended is not counted, and what it owned is free once its lease has ended.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.ids import ALL_SHARDS, SHARD_COUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLease:
    """A shard's lease: its owner until a time; the fencing number grows with each change of owner."""

    shard: int
    owner: UUID | None
    until: datetime
    fence: int
    taken_over: int = 0

    def is_free(self, *, wall_now: datetime) -> bool:
        """Whether a worker may take it: nobody owns it, or its lease has ended."""
        return self.owner is None or self.until <= wall_now


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePlan:
    """What a worker does now. `waits` says that it has less than its share and nothing is free yet."""

    take: tuple[int, ...] = ()
    give_back: tuple[int, ...] = ()
    waits: bool = False


def fair_share(worker: UUID, workers: Collection[UUID]) -> int:
    """How many shards a worker owns: all alike, but the first ones by id one more for what is left.

    A worker that is not among the workers owns none.
    """
    if worker not in workers:
        return 0
    each, rest = divmod(SHARD_COUNT, len(workers))
    return each + (sorted(workers).index(worker) < rest)


def plan_shares(
    leases: Sequence[ShardLease], *, worker: UUID, workers: Collection[UUID], wall_now: datetime
) -> SharePlan:
    """What `worker` takes or gives back. `leases` may lack shards that nobody has ever owned.

    What it takes begins at another shard for each worker, so that workers that start together meet less.
    """
    share = fair_share(worker, workers)
    known = {lease.shard: lease for lease in leases}
    own = [lease.shard for lease in leases if lease.owner == worker]
    if len(own) > share:
        return SharePlan(give_back=tuple(sorted(own)[share:]))
    free = [
        shard
        for shard in ALL_SHARDS
        if shard not in known or (known[shard].owner != worker and known[shard].is_free(wall_now=wall_now))
    ]
    rank = sorted(workers).index(worker) if worker in workers else 0
    begin = rank * SHARD_COUNT // max(len(workers), 1)
    free.sort(key=lambda shard: (shard - begin) % SHARD_COUNT)
    take = tuple(free[: share - len(own)])
    return SharePlan(take=take, waits=len(own) + len(take) < share)
