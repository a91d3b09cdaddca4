"""Who owns which shard, and what is due in it: for `networkcore status`, the metrics and the console.

Owns: these figures. Must not know who shows them. Nothing is locked or changed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.database import Connection
from gateway.jobs import shard_lease_repository as rows
from gateway.jobs.webhook_delivery import NEW_EVENT


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOwner:
    """One shard: its owner's id and name (None: nobody, or its lease has ended), until when, and what is due.

    `due` gives by kind of work since when the oldest of it is due; events to fan out and deliveries count
    from now. `taken_over` is how often an owner did not give the shard back.
    """

    shard: int
    owner: UUID | None
    worker: str | None
    until: datetime
    fence: int
    taken_over: int
    due: Mapping[str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSummary:
    """All shards in a few figures: `owned` by the worker's name, `oldest_due_s` by kind of work."""

    owned: Mapping[str, int]
    without_owner: int
    taken_over: int
    oldest_due_s: Mapping[str, float]


async def list_shard_owners(connection: Connection, *, wall_now: datetime) -> list[ShardOwner]:
    """Every shard, in order."""
    names = {worker.id: worker.name for worker in await rows.list_workers(connection, wall_now=wall_now)}
    leases = await rows.list_leases(connection)
    found = await rows.find_due_work(
        connection, [lease.shard for lease in leases], owner=None, wall_now=wall_now
    )
    return [
        ShardOwner(
            shard=lease.shard,
            owner=None if lease.is_free(wall_now=wall_now) else lease.owner,
            worker=None
            if lease.owner is None or lease.is_free(wall_now=wall_now)
            else names.get(lease.owner, str(lease.owner)),
            until=lease.until,
            fence=lease.fence,
            taken_over=lease.taken_over,
            due={
                kind: times[lease.shard]
                for kind, times in sorted(found.items())
                if kind != NEW_EVENT and lease.shard in times and times[lease.shard] <= wall_now
            },
        )
        for lease in leases
    ]


def summarize(owners: Sequence[ShardOwner], *, wall_now: datetime) -> ShardSummary:
    """The figures of all shards."""
    oldest: dict[str, float] = {}
    for one in owners:
        for kind, since in one.due.items():
            oldest[kind] = max(oldest.get(kind, 0.0), (wall_now - since).total_seconds())
    owned = Counter(one.worker for one in owners if one.worker is not None)
    return ShardSummary(
        owned=dict(sorted(owned.items())),
        without_owner=sum(one.owner is None for one in owners),
        taken_over=sum(one.taken_over for one in owners),
        oldest_due_s=oldest,
    )
