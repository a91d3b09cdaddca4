"""Refunds in PostgreSQL, beside the requests that make them (psp_request_repository).

Owns: the translation between values and rows. Must not know: what may be refunded, the PSP.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.payments.records import RefundRecord

_sql = named_queries("gateway", "refunds.sql")


async def load(connection: Connection, *, shard: int, refund_id: UUID) -> RefundRecord | None:
    """One refund."""
    row = await _sql.load_refund(connection, shard=shard, id=refund_id)
    return None if row is None else RefundRecord.from_row(row)


async def lock(connection: Connection, *, shard: int, refund_id: UUID) -> RefundRecord | None:
    """One refund, which can't fail until the caller's transaction ends."""
    row = await _sql.lock_refund(connection, shard=shard, id=refund_id)
    return None if row is None else RefundRecord.from_row(row)


async def assign_left_out(connection: Connection, refund: RefundRecord) -> int:
    """How much of a locked refund refunds what clearing left out of its capture; kept with the refund."""
    named = {"shard": refund.shard}
    left_out = await _sql.lock_left_out(connection, session_id=refund.session_id, **named)
    if not left_out:
        return 0
    return int(await _sql.assign_left_out(connection, id=refund.id, left_out_minor=left_out, **named))


async def list_refunds(
    connection: Connection, *, party_id: str | None, session_id: UUID | None, before: UUID | None, limit: int
) -> Sequence[RefundRecord]:
    """Refunds of a party's sessions (None: all), newest first."""
    rows = _sql.list_refunds(
        connection, party_id=party_id, session_id=session_id, before=before, row_limit=limit
    )
    return [RefundRecord.from_row(row) async for row in rows]


async def find_by_psp_id(
    connection: Connection, *, shard: int, session_id: UUID, psp_refund: str
) -> RefundRecord | None:
    """The refund of a session that the PSP knows by its own id."""
    row = await _sql.refund_by_psp_id(connection, shard=shard, session_id=session_id, psp_refund=psp_refund)
    return None if row is None else RefundRecord.from_row(row)


async def is_residual_charge_due(connection: Connection, *, shard: int, session_id: UUID) -> bool:
    """Whether the residual charge of a session is still to come."""
    return bool(await _sql.is_residual_charge_due(connection, shard=shard, session_id=session_id))


async def find_residual_charge(
    connection: Connection, *, shard: int, session_id: UUID
) -> tuple[str | None, int] | None:
    """The residual charge at the PSP, and how much of it was refunded."""
    row = await _sql.residual_charge(connection, shard=shard, session_id=session_id)
    return None if row is None else (row["psp_charge"], row["refunded_minor"])


async def has_unanswered_refund(connection: Connection, *, shard: int, session_id: UUID) -> bool:
    """Whether the PSP has not answered a refund of the session yet."""
    return bool(await _sql.has_unanswered_refund(connection, shard=shard, session_id=session_id))


async def fail_refund(connection: Connection, **fields: Any) -> bool:
    """The card's bank returned a refund; False when that was recorded before."""
    return bool(await _sql.fail_refund(connection, **fields))


async def record_reversal(connection: Connection, **fields: Any) -> bool:
    """Record a refund that the PSP made without our request; False when it was recorded before."""
    return bool(await _sql.record_reversal(connection, **fields))


async def delete_unposted_tasks(
    connection: Connection, *, shard: int, session_id: UUID, refund_id: UUID
) -> None:
    """A refund that failed before it was posted is not posted at all."""
    await _sql.delete_unposted_refund_tasks(
        connection, shard=shard, session_id=session_id, refund_id=refund_id
    )
