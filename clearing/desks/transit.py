"""Payouts of the PSP on their way to the bank: booked when the PSP tells them, and again when the bank does.

Owns: which items are booked without a person, a page at a time. Must not know: how lines are fetched or
matched. Both entries have the other side's own word as evidence; whatever differs is left to a person.
"""

from datetime import datetime
from typing import Any, Final

from clearing.connection import Connection, named_queries, rows
from clearing.journal.adjustments import bank_receipt, psp_payout
from clearing.journal.ledger import JournalEntry
from clearing.service import ClearingService

_sql = named_queries("reconciliation")
_PAGE: Final = 2_000


async def book_transit(connection: Connection, clearing: ClearingService, *, now: datetime) -> int:
    """Book every payout that the journal lacks, and every bank line that settled one; how many items."""
    booked = 0
    while True:
        page = await rows(_sql.unbooked(connection, limit=_PAGE))
        if not page:
            return booked
        entries = [made for row in page if (made := _entry(row)) is not None]
        if entries:
            await clearing.post_entries(connection, entries, now=now)
        await _sql.mark_booked(
            connection,
            now=now,
            sides=[row["side"] for row in page],
            sources=[row["source_id"] for row in page],
        )
        booked += len(page)


def _entry(row: Any) -> JournalEntry | None:
    """A payout leaves the PSP; its bank line arrives; the first of several bears coins that are missing."""
    if row["amount_minor"] == 0:
        return None
    if row["side"] == "left":
        return psp_payout(source_id=row["source_id"], currency=row["currency"], minor=row["amount_minor"])
    missing = row["missing_minor"] or 0 if row["bears_missing"] else 0
    return bank_receipt(
        source_id=row["source_id"],
        currency=row["currency"],
        minor=row["amount_minor"],
        expected_minor=row["amount_minor"] + missing,
    )
