"""Requests to the PSP in PostgreSQL: their intents, their outcomes, and those that are still open.

Owns: the translation between values and rows of gateway.psp_request and of what an outcome changes. Must not
know: what a request is for, or when it is sent. Every function is one statement and so one transaction.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.payments.records import PspRequestKind, PspRequestRecord

_sql = named_queries("gateway", "psp_requests.sql")


async def open_request(
    connection: Connection, *, shard: int, authorization_id: UUID
) -> PspRequestRecord | None:
    """The open request of an authorization."""
    row = await _sql.open_request(connection, shard=shard, authorization_id=authorization_id)
    return None if row is None else PspRequestRecord.from_row(row)


async def lease_requests(
    connection: Connection, *, shard: int, fence: int, wall_now: datetime, leased_until: datetime, batch: int
) -> list[PspRequestRecord]:
    """Requests of one shard that are due; nobody else sends them until the lease ends.

    None where the shard's fencing number is another by now.
    """
    rows = await _fetch(
        _sql.lease_requests(
            connection, shard=shard, fence=fence, wall_now=wall_now, leased_until=leased_until, batch=batch
        )
    )
    return [PspRequestRecord.from_row(row) for row in rows]


async def list_rejected_kinds(
    connection: Connection, *, shard: int, authorization_id: UUID
) -> frozenset[PspRequestKind]:
    """Kinds of requests that the PSP has declined for an authorization."""
    rows = await _fetch(_sql.rejected_kinds(connection, shard=shard, authorization_id=authorization_id))
    return frozenset(PspRequestKind(row["kind"]) for row in rows)


async def was_released(connection: Connection, *, shard: int, authorization_id: UUID) -> bool:
    """Whether a hold was released on purpose, as against the PSP ending it."""
    return bool(await _sql.was_released(connection, shard=shard, authorization_id=authorization_id))


async def postpone_request(connection: Connection, **fields: Any) -> None:
    """No answer: keep the request open, and the authorization `outcome_unknown` where it waits for it."""
    await _sql.postpone_request(connection, **fields)


async def ask_without_features(
    connection: Connection, *, shard: int, request_id: UUID, key_number: int
) -> None:
    """Record that a hold is sent without features under its key of that number."""
    await _sql.ask_without_features(connection, shard=shard, request_id=request_id, key_number=key_number)


async def request_end(connection: Connection, **fields: Any) -> UUID | None:
    """Phase 1 of capture or void: the capture's id; None when the authorization is in no state for it."""
    found: UUID | None = await _sql.request_end(connection, **fields)
    return found


async def request_increment(connection: Connection, **fields: Any) -> bool:
    """Phase 1 of an increment; False when the hold is not active or high enough."""
    return bool(await _sql.request_increment(connection, **fields))


async def record_increment(connection: Connection, **fields: Any) -> bool:
    """Phase 3 of an increment; False when the answer was recorded before."""
    return bool(await _sql.record_increment(connection, **fields))


async def request_residual_charge(connection: Connection, **fields: Any) -> bool:
    """Phase 1 of a residual charge; False when nothing is due or it was tried before."""
    return bool(await _sql.request_residual_charge(connection, **fields))


async def record_residual_charge(connection: Connection, **fields: Any) -> bool:
    """Phase 3 of a residual charge; False when the answer was recorded before."""
    return bool(await _sql.record_residual_charge(connection, **fields))


async def request_refund(connection: Connection, **fields: Any) -> bool:
    """Phase 1 of a refund, on a funded account the whole of it; False when less is left than it names."""
    return bool(await _sql.request_refund(connection, **fields))


async def record_refund(connection: Connection, **fields: Any) -> bool:
    """Phase 3 of a refund; False when the answer was recorded before."""
    return bool(await _sql.record_refund(connection, **fields))


async def request_hold_renewal(connection: Connection, **fields: Any) -> bool:
    """Phase 1 of a renewal; False when the hold is not active or was renewed before."""
    return bool(await _sql.request_hold_renewal(connection, **fields))


async def record_hold_renewal(connection: Connection, **fields: Any) -> bool:
    """Phase 3 of a renewal; False when the answer was recorded before."""
    return bool(await _sql.record_hold_renewal(connection, **fields))


async def record_hold_release(connection: Connection, **fields: Any) -> bool:
    """The replaced hold has ended; False when that was recorded before."""
    return bool(await _sql.record_hold_release(connection, **fields))


async def _fetch(rows: Any) -> list[Mapping[str, Any]]:
    """All rows of a many-row query, which aiosql hands over one by one."""
    return [row async for row in rows]
