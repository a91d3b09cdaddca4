"""Pages of the objects that we own and peers may read.

Owns: which query serves which list. Must not know: HTTP.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from gateway.database import Connection, named_queries

_sql = named_queries("gateway", "ocpi_lists.sql")


class SenderList(StrEnum):
    """What can be listed; the values name the queries."""

    LOCATIONS = "locations"
    TARIFFS = "tariffs"
    SESSIONS = "sessions"
    CDRS = "cdrs"
    TERMINALS = "terminals"
    ADVICES = "advices"


_BY_READER = frozenset({SenderList.SESSIONS, SenderList.CDRS})


async def read_list(
    connection: Connection,
    listed: SenderList,
    *,
    parties: Sequence[str],
    readers: Sequence[str],
    date_from: datetime | None,
    date_to: datetime | None,
    offset: int,
    limit: int,
) -> tuple[list[bytes], int]:
    """A page of JSON objects, oldest first, and how many there are.

    Args:
        connection: any; only reads.
        listed: which list.
        parties: slugs whose objects are listed.
        readers: slugs of the asking party; sessions and CDRs are shown to the token's owner only.
        date_from: inclusive bound of last_updated, or None.
        date_to: exclusive bound of last_updated, or None.
        offset: objects to leave out.
        limit: objects at most.
    """
    arguments: dict[str, Any] = {
        "parties": list(parties),
        "date_from": date_from,
        "date_to": date_to,
        "row_offset": offset,
        "row_limit": limit,
    }
    if listed in _BY_READER:
        arguments["readers"] = list(readers)
    query = getattr(_sql, listed.value)
    rows = [row async for row in query(connection, **arguments)]
    if not rows and offset:  # beyond the end: the total is still returned
        return [], (await _total(query, connection, arguments))
    return [row["object"] for row in rows], (rows[0]["total"] if rows else 0)


async def _total(query: Any, connection: Connection, arguments: dict[str, Any]) -> int:
    first = [row async for row in query(connection, **{**arguments, "row_offset": 0, "row_limit": 1})]
    return int(first[0]["total"]) if first else 0
