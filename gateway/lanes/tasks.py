"""The errands table: leased one lane at a time, finished in the transaction that does the work.

Owns: leasing, postponing, parking. Must not know what an errand means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries

_tasks = named_queries("gateway", "tasks.sql")

# Waits between tries of an errand that can't be done yet, by tries made; then it is parked for a person.
_BACKOFF: Final = (1, 5, 15, 60, 300, 900, 3600, 10_800, 21_600, 43_200)
MAX_ATTEMPTS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One errand: its lane and id, the session it is about, and what else it needs to know."""

    lane: int
    id: UUID
    session_id: UUID | None
    payload: Mapping[str, Any]
    attempts: int


async def lanes_with_work(connection: Connection, *, kind: str, wall_now: datetime) -> list[int]:
    """Lanes in which an errand of this kind is due."""
    return [row["lane"] async for row in _tasks.lanes_with_tasks(connection, kind=kind, wall_now=wall_now)]


async def lease(
    connection: Connection, *, lane: int, kind: str, wall_now: datetime, lease_s: int, batch: int
) -> list[Task]:
    """Take due errands of a lane for `lease_s` seconds; after that another worker may."""
    rows = _tasks.lease_tasks(
        connection,
        lane=lane,
        kind=kind,
        wall_now=wall_now,
        leased_until=wall_now + timedelta(seconds=lease_s),
        batch=batch,
    )
    return [_task(row) async for row in rows]


async def lock(connection: Connection, *, lane: int, kind: str, wall_now: datetime, batch: int) -> list[Task]:
    """Take due errands of a lane until the caller's transaction ends."""
    rows = _tasks.lock_tasks(connection, lane=lane, kind=kind, wall_now=wall_now, batch=batch)
    return [_task(row) async for row in rows]


async def finish(connection: Connection, tasks: Sequence[Task]) -> None:
    """The errands are done."""
    await _tasks.finish_tasks(
        connection, lanes=[task.lane for task in tasks], ids=[task.id for task in tasks]
    )


async def postpone(connection: Connection, task: Task, *, reason: str, wall_now: datetime) -> None:
    """Not now: try again after a growing wait; after too many tries park it, with the reason."""
    if task.attempts >= MAX_ATTEMPTS:
        await park(connection, task, reason=reason, wall_now=wall_now)
        return
    wait = timedelta(seconds=_BACKOFF[min(task.attempts, len(_BACKOFF)) - 1])
    await _tasks.postpone_task(
        connection, lane=task.lane, id=task.id, run_at=wall_now + wait, reason=reason[:500]
    )


async def park(connection: Connection, task: Task, *, reason: str, wall_now: datetime) -> None:
    """No machine can do it: keep it with the reason until a person has looked."""
    await _tasks.park_task(connection, lane=task.lane, id=task.id, reason=reason[:500], wall_now=wall_now)


def _task(row: Mapping[str, Any]) -> Task:
    return Task(
        lane=row["lane"],
        id=row["id"],
        session_id=row["session_id"],
        payload=row["payload"],
        attempts=row["attempts"],
    )
