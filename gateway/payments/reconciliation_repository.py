"""What reconciliation compares of our payments with the PSP's record.

Owns: the rows that only the payments know. Must not know: how lines are matched.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries

_sql = named_queries("gateway", "reconciliation.sql")


async def list_residual_charges_since(connection: Connection, *, since: datetime) -> dict[str, str]:
    """Residual charges made since, each with the charge of the capture that it counts to."""
    rows = _sql.residual_charges_since(connection, since=since)
    return {row["charge"]: row["capture_charge"] async for row in rows}


def refunded_before_clearing(connection: Connection) -> AsyncIterator[Mapping[str, Any]]:
    """Amounts that were refunded before the session was cleared."""
    rows: AsyncIterator[Mapping[str, Any]] = _sql.refunded_before_clearing(connection)
    return rows


async def list_refunds_since(
    connection: Connection, *, since: datetime, after_at: datetime, after_id: UUID, limit: int
) -> list[Mapping[str, Any]]:
    """A page of the refunds that reached the PSP since, oldest first, after the one that ended the last."""
    rows = _sql.refunds_since(connection, since=since, after_at=after_at, after_id=after_id, limit=limit)
    return [row async for row in rows]
