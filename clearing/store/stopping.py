"""Planned payments that are withdrawn, in PostgreSQL.

Owns: rows to values and back. Must not know: why a payment is stopped.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.payouts.disbursement import Disbursement, DisbursementState

_sql = named_queries("stopping")


async def suspects(connection: Connection, *, party_id: str | None) -> list[Disbursement]:
    """Planned payments that something may speak against, held for this transaction; ten thousand at most."""
    asked = _sql.suspects(connection) if party_id is None else _sql.suspects_of(connection, party_id=party_id)
    found = await rows(asked)
    return [Disbursement(**{**dict(row.items()), "state": DisbursementState(row["state"])}) for row in found]


async def withdraw(connection: Connection, reasons: Mapping[UUID, str], *, now: datetime) -> None:
    """End planned payments with their reasons; their payables are open again."""
    ids = list(reasons)
    await _sql.withdraw(connection, ids=ids, failures=list(reasons.values()), now=now)
    await _sql.reopen(connection, ids=ids)
