"""The tokens in links to receipts as rows. Owns: these rows. Must not know: what is behind a link."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.ids import shard_of

_QUERIES: Final[Any] = named_queries("gateway", "receipt_links.sql")


async def store_token(connection: Connection, session_id: UUID, token: str, *, now: datetime) -> str:
    """Store the token of a session's receipt; returns the one that is stored, which never changes."""
    stored = await _QUERIES.receipt_token(
        connection, shard=shard_of(session_id), session_id=session_id, token=token, now=now
    )
    return str(stored or token)


async def find_token(connection: Connection, session_id: UUID) -> str | None:
    """The token of a session's receipt."""
    token: str | None = await _QUERIES.known_receipt_token(
        connection, shard=shard_of(session_id), session_id=session_id
    )
    return token
