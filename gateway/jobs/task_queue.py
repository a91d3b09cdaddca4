"""The rows of `gateway.task`: leased one shard at a time, finished, postponed, or marked as exceptions.

Owns: these statements and when a task is tried again. Must not know what a task asks for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.retry_policy import RetryPolicy
from gateway.task_kinds import TaskKind

RETRY: Final = RetryPolicy.of_seconds(
    1, 5, 15, 60, 300, 900, 3600, 10_800, 21_600, 43_200, max_attempts=30
)  # thirteen days in all; then a person decides
_REASON_LENGTH: Final = 500
_tasks = named_queries("gateway", "tasks.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task: its shard and id, the session it is about, its payload, and the attempts with this one.

    Until `leased_until` nobody else does it; None: it was read without a lease.
    """

    shard: int
    id: UUID
    session_id: UUID | None
    payload: Mapping[str, Any]
    attempts: int
    leased_until: datetime | None = None


async def lease(
    connection: Connection,
    *,
    shard: int,
    fence: int,
    kind: TaskKind,
    wall_now: datetime,
    lease_s: int,
    batch: int,
) -> list[Task]:
    """Lease due tasks of a shard for `lease_s` seconds, the oldest first; after that another worker may.

    None where the shard's fencing number is another by now: somebody else owns it.
    """
    rows = _tasks.lease_tasks(
        connection,
        shard=shard,
        fence=fence,
        kind=kind.value,
        wall_now=wall_now,
        leased_until=wall_now + timedelta(seconds=lease_s),
        batch=batch,
    )
    return sorted([task_of(row) async for row in rows], key=lambda task: task.id)


async def finish(connection: Connection, tasks: Sequence[Task]) -> None:
    """Delete tasks that are done; skipped is what is deleted, or leased by another worker since."""
    await _tasks.finish_tasks(
        connection,
        shards=[task.shard for task in tasks],
        ids=[task.id for task in tasks],
        leases=[task.leased_until for task in tasks],
        attempts=[task.attempts for task in tasks],
    )


async def give_back(connection: Connection, tasks: Sequence[Task], *, shard: int) -> None:
    """End the leases of a shard's tasks that were not begun, as if there had been none."""
    await _tasks.give_back_tasks(
        connection,
        shard=shard,
        ids=[task.id for task in tasks],
        leases=[task.leased_until for task in tasks],
        attempts=[task.attempts for task in tasks],
    )


async def postpone(connection: Connection, task: Task, *, reason: str, wall_now: datetime) -> None:
    """Try a task again after a growing wait; after its last attempt mark it as an exception."""
    run_at = RETRY.next_attempt_at(task.attempts, now=wall_now)
    if run_at is None:
        await mark_exception(connection, task, reason=reason, wall_now=wall_now)
        return
    await _tasks.postpone_task(
        connection,
        shard=task.shard,
        id=task.id,
        attempts=task.attempts,
        leased_until=task.leased_until,
        run_at=run_at,
        reason=_storable(reason),
    )


async def mark_exception(connection: Connection, task: Task, *, reason: str, wall_now: datetime) -> None:
    """Stop trying a task: it waits for a person, with the reason."""
    await _tasks.mark_exception(
        connection,
        shard=task.shard,
        id=task.id,
        attempts=task.attempts,
        leased_until=task.leased_until,
        reason=_storable(reason),
        wall_now=wall_now,
    )


def task_of(row: Mapping[str, Any]) -> Task:
    """A row of the table as a task."""
    return Task(
        shard=row["shard"],
        id=row["id"],
        session_id=row["session_id"],
        payload=row["payload"],
        attempts=row["attempts"],
        leased_until=row["leased_until"],
    )


def _storable(reason: str) -> str:
    """A reason without what PostgreSQL can't store: an error may repeat the very character that caused it."""
    return reason.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")[:_REASON_LENGTH]
