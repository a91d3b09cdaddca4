"""Which sessions have ended and what they cost, looked up for many authorizations at once.

Owns: the queries. Must not know: who needs the answer and what follows from it.
"""

from collections.abc import Sequence
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


async def load_amounts(
    connection: Connection, authorization_ids: Sequence[UUID]
) -> dict[UUID, tuple[int, str]]:
    """Return what each authorization costs, in minor units, and its currency; unknown ones are left out."""
    rows = _QUERIES.amounts_of_authorizations(
        connection, shards=[shard_of(identifier) for identifier in authorization_ids], ids=authorization_ids
    )
    return {row["id"]: (row["amount_minor"], row["currency"]) async for row in rows}
