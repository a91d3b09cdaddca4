"""The log of requests in PostgreSQL.

Owns: rows. Must not know HTTP, or when a batch is stored. `party_id` None is the platform, which sees
everybody's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "request_log.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord(FromRow):
    """One answered request of an API key: nothing of its body, its query or the values in its path."""

    id: UUID
    party_id: str
    key_prefix: str
    request_id: str
    method: str
    route: str
    status: int
    duration_ms: int
    error_code: str | None
    requested_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """Which requests a list shows; None: of any."""

    before: UUID | None = None
    request_id: str | None = None
    key_prefix: str | None = None
    failed: bool = False  # only answers of 400 and above


_FIRST_PROBLEM: Final = 400


async def insert_requests(connection: Connection, records: Sequence[RequestRecord]) -> None:
    """Add requests, all in one statement."""
    await _QUERIES.insert_requests(
        connection,
        ids=[one.id for one in records],
        party_ids=[one.party_id for one in records],
        key_prefixes=[one.key_prefix for one in records],
        request_ids=[one.request_id for one in records],
        methods=[one.method for one in records],
        routes=[one.route for one in records],
        statuses=[one.status for one in records],
        durations_ms=[one.duration_ms for one in records],
        error_codes=[one.error_code for one in records],
        requested_at=[one.requested_at for one in records],
    )


async def list_requests(
    connection: Connection, *, party_id: str | None, wanted: RequestFilter, limit: int
) -> list[RequestRecord]:
    """Requests, newest first."""
    found = _QUERIES.list_requests(
        connection,
        party_id=party_id,
        before=wanted.before,
        request_id=wanted.request_id,
        key_prefix=wanted.key_prefix,
        status_from=_FIRST_PROBLEM if wanted.failed else 0,
        limit=limit,
    )
    return [RequestRecord.from_row(row) async for row in found]


async def find_request(
    connection: Connection, entry_id: UUID, *, party_id: str | None
) -> RequestRecord | None:
    """One request; None where there is none or it is another party's."""
    row = await _QUERIES.find_request(connection, id=entry_id, party_id=party_id)
    return None if row is None else RequestRecord.from_row(row)
