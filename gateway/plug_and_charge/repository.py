"""Which sessions have ended, looked up for many authorizations at once, and the links to receipts.

Owns: the queries. Must not know: who needs the answer and what follows from it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.ids import shard_of

_QUERIES: Final[Any] = named_queries("gateway", "plug_and_charge.sql")


async def list_ended_sessions(connection: Connection, authorization_ids: Sequence[UUID]) -> set[UUID]:
    """Return the authorizations whose session has ended or has no hold left."""
    rows = _QUERIES.ended_sessions(
        connection, shards=[shard_of(identifier) for identifier in authorization_ids], ids=authorization_ids
    )
    return {row["id"] async for row in rows}


async def store_receipt_token(
    connection: Connection, *, shard: int, session_id: UUID, token: str, now: datetime
) -> str:
    """Store the token of a session's receipt; returns the one that is stored, which never changes."""
    stored = await _QUERIES.receipt_token(
        connection, shard=shard, session_id=session_id, token=token, now=now
    )
    return str(stored or token)


async def find_receipt_token(connection: Connection, *, shard: int, session_id: UUID) -> str | None:
    """The token of a session's receipt."""
    token: str | None = await _QUERIES.known_receipt_token(connection, shard=shard, session_id=session_id)
    return token
