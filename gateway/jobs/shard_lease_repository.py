"""The rows of `gateway.worker` and `gateway.shard_lease`, and what is due in the shards of one worker.

Owns: these statements. Must not know who takes which shard, or what is done with the work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries
from gateway.ids import first_id_at
from gateway.jobs.shard_share import ShardLease

_YOUNG: Final = timedelta(seconds=1)  # an event commits this long after its id was made
_sql: Final[Any] = named_queries("gateway", "shard_leases.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord(FromRow):
    """A worker process, here until a time unless it says so again. `name`: its machine and process."""

    id: UUID
    name: str
    started_at: datetime
    until: datetime


async def keep_worker(
    connection: Connection, *, worker: UUID, name: str, wall_now: datetime, until: datetime
) -> None:
    """Record that a worker is here until a time."""
    await _sql.keep_worker(connection, id=worker, name=name, wall_now=wall_now, until=until)


async def delete_workers(connection: Connection, *, worker: UUID, gone_before: datetime) -> None:
    """Delete a worker that ends, and those that are gone since before a time."""
    await _sql.delete_workers(connection, id=worker, gone_before=gone_before)


async def list_workers(connection: Connection, *, wall_now: datetime) -> list[WorkerRecord]:
    """The workers that are here, in the order of their ids."""
    return [WorkerRecord.from_row(row) async for row in _sql.list_workers(connection, wall_now=wall_now)]


async def list_leases(connection: Connection) -> list[ShardLease]:
    """The lease of every shard that had an owner once."""
    return [ShardLease(**dict(row)) async for row in _sql.list_leases(connection)]


async def renew_shards(connection: Connection, *, owner: UUID, until: datetime) -> dict[int, int]:
    """Renew what a worker owns: fencing numbers by shard."""
    return {
        row["shard"]: row["fence"] async for row in _sql.renew_shards(connection, owner=owner, until=until)
    }


async def take_shards(
    connection: Connection,
    shards: Sequence[int],
    *,
    owner: UUID,
    wall_now: datetime,
    until: datetime,
    distributed: bool,
) -> dict[int, int]:
    """Take those of the shards that are free: fencing numbers by shard."""
    query = _sql.take_shards_by_node if distributed else _sql.take_shards
    rows = query(connection, shards=list(shards), owner=owner, wall_now=wall_now, until=until)
    return {row["shard"]: row["fence"] async for row in rows}


async def give_back_shards(
    connection: Connection, shards: Sequence[int], *, owner: UUID, wall_now: datetime
) -> None:
    """Give back those of the shards that the worker owns: another may take them at once."""
    await _sql.give_back_shards(connection, shards=list(shards), owner=owner, wall_now=wall_now)


async def notify_of_work(connection: Connection, *, channel: str, sender: str) -> None:
    """Wake the workers that listen on a channel."""
    await _sql.notify_of_work(connection, channel=channel, sender=sender)


async def find_due_work(
    connection: Connection, shards: Sequence[int], *, owner: UUID | None, wall_now: datetime
) -> dict[str, dict[int, datetime]]:
    """When what is there of each kind of work is due, by kind and by shard that the worker still owns.

    Without an `owner`, in every shard that is named. A due time may lie ahead. One statement, without locks.
    """
    found: dict[str, dict[int, datetime]] = {}
    rows = _sql.find_due_work(
        connection,
        shards=list(shards),
        owner=owner,
        wall_now=wall_now,
        young=first_id_at(wall_now - _YOUNG),
    )
    async for row in rows:
        _gather(row, found)
    return found


def _gather(row: Mapping[str, Any], found: dict[str, dict[int, datetime]]) -> None:
    for kind, due_at in row.items():
        if due_at is not None and kind != "shard":
            found.setdefault(kind, {})[row["shard"]] = due_at
