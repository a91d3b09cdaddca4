"""PSP payouts on their way to the bank: booked when the PSP reports them, and again when the bank does.

Owns: which items are booked without a person, a page at a time. Must not know: how lines are fetched or
matched. Each entry is proved by the other side's own record; any difference is left to a person.
"""

from datetime import datetime
from typing import Final

from clearing.connection import Connection
from clearing.ledger import service as ledger_service
from clearing.reconciliation import cash_in_transit_repository as repository
from clearing.reconciliation.cash_in_transit import transit_entry

_PAGE: Final = 2_000


async def book_cash_in_transit(connection: Connection, *, now: datetime) -> int:
    """Book every payout that the journal lacks, and every bank line that settled one; returns how many."""
    booked = 0
    while True:
        page = await repository.list_unbooked(connection, limit=_PAGE)
        if not page:
            return booked
        entries = [entry for item in page if (entry := transit_entry(item)) is not None]
        if entries:
            await ledger_service.post_entries(connection, entries, now=now)
        await repository.mark_booked(connection, page, now=now)
        booked += len(page)
