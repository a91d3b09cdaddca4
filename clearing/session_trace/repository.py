"""A session's entries with their proof, and its payables with their payments, read from PostgreSQL.

Owns: rows. Must not know: what a trace looks like, whether it holds.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from clearing.captured_session import shard_of
from clearing.connection import Connection, named_queries, rows
from clearing.ledger.account_statement import StatementBatch
from clearing.ledger.account_statement_repository import load_batch_rows, seal
from clearing.ledger.journal_entry import SESSION_TRANSIT

_sql = named_queries("session_trace")


async def load_batches(connection: Connection, session_id: UUID) -> list[StatementBatch]:
    """The batches that hold entries of a session, each with those entries and their way to the root."""
    batches: dict[UUID, Any] = {}
    keys: dict[UUID, set[tuple[UUID, str, str]]] = {}
    for row in await rows(_sql.entries_of(connection, shard=shard_of(session_id), session_id=session_id)):
        batches.setdefault(row["id"], row)
        keys.setdefault(row["id"], set()).add((session_id, row["kind"], row["reference"]))
    found = []
    for batch_id, batch in batches.items():
        content = await load_batch_rows(
            connection, batch_id, account=SESSION_TRANSIT, currency=batch["currency"]
        )
        found.append(seal(batch, content, only=keys[batch_id]))
    return found


async def find_cleared_at(connection: Connection, session_id: UUID) -> datetime | None:
    """When the sale of a session was booked; None: not yet."""
    found: datetime | None = await _sql.cleared_at(
        connection, shard=shard_of(session_id), session_id=session_id
    )
    return found


async def find_uncleared_at(connection: Connection, session_id: UUID) -> datetime | None:
    """When clearing first could not clear a session; None: never."""
    found: datetime | None = await _sql.uncleared_at(
        connection, shard=shard_of(session_id), session_id=session_id
    )
    return found


async def list_payables(connection: Connection, session_id: UUID) -> Sequence[Any]:
    """What a session's entries owe to parties, with the payment and the bank's line where there is one."""
    return await rows(_sql.payables_of(connection, shard=shard_of(session_id), session_id=session_id))
