"""The entry of a PSP payout on its way to the bank, and of the bank line that settled it.

Owns: both entries, and which line bears a missing amount. Must not know: how lines are fetched or matched.
"""

from dataclasses import dataclass

from clearing.ledger.adjustments import bank_receipt, psp_payout
from clearing.ledger.journal_entry import JournalEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class UnbookedItem:
    """A PSP payout (`left`), or the bank line matched to one (`right`), that is not in the journal.

    `missing_minor` is the part of the payout that its bank lines lack; the first line bears it.
    """

    side: str
    source_id: str
    reference: str
    currency: str
    amount_minor: int
    match: str | None
    missing_minor: int | None
    bears_missing: bool


def transit_entry(item: UnbookedItem) -> JournalEntry | None:
    """A payout leaves the PSP, or its bank line arrives; None for an amount of 0."""
    if item.amount_minor == 0:
        return None
    if item.side == "left":
        return psp_payout(source_id=item.source_id, currency=item.currency, minor=item.amount_minor)
    missing = item.missing_minor or 0 if item.bears_missing else 0
    return bank_receipt(
        source_id=item.source_id,
        currency=item.currency,
        minor=item.amount_minor,
        expected_minor=item.amount_minor + missing,
    )
