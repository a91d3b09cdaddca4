"""Which sessions are over, asked for many at once.

Owns: the query. Must not know: why somebody asks, or what follows.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.ids import lane_of

_QUERIES: Final[Any] = named_queries("gateway", "pnc_settlement.sql")


async def over(connection: Connection, authorization_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the authorizations whose session has ended or holds no money any more."""
    rows = _QUERIES.sessions_that_are_over(
        connection, lanes=[lane_of(identifier) for identifier in authorization_ids], ids=authorization_ids
    )
    return {row["id"] async for row in rows}
