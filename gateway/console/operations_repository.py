"""What the night shift looks at, in PostgreSQL: unknown outcomes, processes, throughput.

Owns: rows. Must not know: a page, or what counts as late.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "operations.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownOutcome(FromRow):
    """A request to the PSP whose outcome is not known; times are wall time."""

    id: UUID
    kind: str
    state: str
    amount_minor: int
    currency: str
    created_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    session_id: UUID
    shard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseProcess(FromRow):
    """Processes of one name that are connected to the database."""

    name: str
    connections: int
    active: int
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteFigure(FromRow):
    """What was captured and what failed in one minute of business time."""

    minute: datetime
    captured: int
    failed: int


async def list_unknown_outcomes(
    connection: Connection, *, limit: int, after: UnknownOutcome | None = None
) -> Sequence[UnknownOutcome]:
    """Requests whose outcome is not known, the oldest first, those after one."""
    rows = _QUERIES.unknown_outcomes(
        connection,
        limit=limit,
        after_at=None if after is None else after.created_at,
        after_shard=None if after is None else after.shard,
        after_id=None if after is None else after.id,
    )
    return [UnknownOutcome.from_row(row) async for row in rows]


async def list_processes(connection: Connection) -> Sequence[DatabaseProcess]:
    """Processes that are connected to the database, by name."""
    return [DatabaseProcess.from_row(row) async for row in _QUERIES.processes(connection)]


async def list_throughput(
    connection: Connection, *, since: datetime, until: datetime
) -> Sequence[MinuteFigure]:
    """What each minute of a span had; a minute without anything has no row."""
    rows = _QUERIES.throughput(connection, since=since, until=until)
    return [MinuteFigure.from_row(row) async for row in rows]
