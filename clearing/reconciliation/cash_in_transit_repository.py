"""Reconciliation items of PSP payouts that the journal lacks, in PostgreSQL.

Owns: rows to values and back. Must not know: how an item is booked.
"""

from collections.abc import Sequence
from datetime import datetime

from clearing.connection import Connection, named_queries, rows
from clearing.reconciliation.cash_in_transit import UnbookedItem

_sql = named_queries("cash_in_transit")


async def list_unbooked(connection: Connection, *, limit: int) -> list[UnbookedItem]:
    """A page of items to book."""
    found = await rows(_sql.unbooked(connection, limit=limit))
    return [UnbookedItem(**dict(row.items())) for row in found]


async def mark_booked(connection: Connection, items: Sequence[UnbookedItem], *, now: datetime) -> None:
    """Record that these items are in the journal."""
    await _sql.mark_booked(
        connection,
        now=now,
        sides=[item.side for item in items],
        sources=[item.source_id for item in items],
    )
