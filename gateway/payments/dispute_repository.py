"""Disputes in PostgreSQL.

Owns: the translation between values and rows. Must not know: in which order the PSP reports them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.payments.records import DisputeRecord

_sql = named_queries("gateway", "disputes.sql")


async def load(connection: Connection, *, shard: int, dispute_id: UUID) -> DisputeRecord | None:
    """One dispute."""
    row = await _sql.load_dispute(connection, shard=shard, id=dispute_id)
    return None if row is None else DisputeRecord.from_row(row)


async def find_by_psp_id(connection: Connection, *, shard: int, psp_dispute: str) -> DisputeRecord | None:
    """The dispute that the PSP knows by its own id."""
    row = await _sql.dispute_by_psp_id(connection, shard=shard, psp_dispute=psp_dispute)
    return None if row is None else DisputeRecord.from_row(row)


async def list_disputes(
    connection: Connection, *, party_id: str | None, before: UUID | None, limit: int
) -> Sequence[DisputeRecord]:
    """Disputes of a party's sessions (None: all), newest first."""
    rows = _sql.list_disputes(connection, party_id=party_id, before=before, row_limit=limit)
    return [DisputeRecord.from_row(row) async for row in rows]


async def open_dispute(connection: Connection, **fields: Any) -> bool:
    """Record a new dispute; False when it is known, or its capture is not recorded yet."""
    return bool(await _sql.open_dispute(connection, **fields))


async def withdraw(connection: Connection, **fields: Any) -> bool:
    """Record what the PSP took, with its fee; False when that was recorded before."""
    return bool(await _sql.withdraw_dispute(connection, **fields))


async def update_dispute(connection: Connection, **fields: Any) -> bool:
    """Record what the card's bank claims and waits for; False where nothing has changed."""
    return bool(await _sql.update_dispute(connection, **fields))


async def stage_evidence(
    connection: Connection, *, shard: int, dispute_id: UUID, evidence: Mapping[str, str]
) -> None:
    """Keep the evidence that is about to be sent, while it is still accepted."""
    await _sql.stage_evidence(connection, shard=shard, id=dispute_id, evidence=dict(evidence))


async def announce_deadlines(
    connection: Connection, *, now: datetime, before: datetime, batch: int
) -> list[DisputeRecord]:
    """Disputes whose evidence is due by `before`, each once, at most `batch`."""
    rows = _sql.announce_deadlines(connection, now=now, before=before, batch=batch)
    return [DisputeRecord.from_row(row) async for row in rows]


async def record_fee(connection: Connection, **fields: Any) -> bool:
    """Record the PSP's fee where it has changed."""
    return bool(await _sql.record_dispute_fee(connection, **fields))


async def close_dispute(connection: Connection, **fields: Any) -> bool:
    """Record how a dispute ended; False when that was recorded before."""
    return bool(await _sql.close_dispute(connection, **fields))
