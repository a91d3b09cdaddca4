"""Cancelled disbursements in PostgreSQL.

Owns: rows to values and back. Must not know: why a disbursement is cancelled.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.payouts.disbursement import Disbursement, DisbursementState

_sql = named_queries("cancellation")


async def lock_cancellable(connection: Connection, *, party_id: str | None) -> list[Disbursement]:
    """Planned disbursements that may have a reason for cancellation, locked; ten thousand at most."""
    query = (
        _sql.cancellable(connection)
        if party_id is None
        else _sql.cancellable_of_party(connection, party_id=party_id)
    )
    found = await rows(query)
    return [Disbursement(**{**dict(row.items()), "state": DisbursementState(row["state"])}) for row in found]


async def cancel(connection: Connection, reasons: Mapping[UUID, str], *, now: datetime) -> None:
    """Cancel planned disbursements for the given reasons; their payables are open again."""
    ids = list(reasons)
    await _sql.cancel(connection, ids=ids, failures=list(reasons.values()), now=now)
    await _sql.reopen(connection, ids=ids)
