"""The journal entry of a resolved difference, and of a cleared suspense item: accounts and signs.

Owns: the account that bears a difference for each resolution. Must not know: who approves, the database.
"""

from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Final

from clearing.approvals.rules import OF_DIFFERENCES, OF_SUSPENSE, Resolution
from clearing.errors import ClearingConflictError
from clearing.ledger.adjustments import between, entry, party_share
from clearing.ledger.journal_entry import (
    BANK_EXPENSE,
    BANK_SETTLEMENT,
    PSP_EXPENSE,
    PSP_RECEIVABLE,
    PSP_TRANSIT,
    SUSPENSE,
    TREASURY_FLOAT,
    WRITE_OFF_EXPENSE,
    EntryKind,
    JournalEntry,
    payable_account,
)
from clearing.parties.party import Party
from clearing.reconciliation.comparison import ReconciliationPair

_KINDS: Final = MappingProxyType(
    {
        Resolution.MATCH: EntryKind.FEE,  # a match moves nothing but a difference of the fee
        Resolution.SUSPENSE: EntryKind.SUSPENSE,
        Resolution.FEE: EntryKind.FEE,
        Resolution.WRITE_OFF: EntryKind.WRITE_OFF,
        Resolution.OWN_FUNDS: EntryKind.OWN_FUNDS,
        Resolution.PSP_PAYOUT: EntryKind.PSP_PAYOUT,
        Resolution.RECEIVABLE_PAYMENT: EntryKind.RECEIVABLE_PAYMENT,
    }
)
_TARGETS: Final = MappingProxyType(
    {
        Resolution.SUSPENSE: SUSPENSE,
        Resolution.WRITE_OFF: WRITE_OFF_EXPENSE,
        Resolution.OWN_FUNDS: TREASURY_FLOAT,
        Resolution.PSP_PAYOUT: PSP_TRANSIT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceSides:
    """Signed sums of each side, money received positive; `fee` is what the PSP charged beside them."""

    left_minor: int
    right_minor: int
    left_fee_minor: int = 0
    right_fee_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingChoice:
    """How to resolve: `party` is credited for a receivable payment, with the due date `due`."""

    resolution: Resolution
    party: Party | None
    due: date


def settle(
    pair: ReconciliationPair, sides: DifferenceSides, choice: BookingChoice, *, named: str, currency: str
) -> tuple[JournalEntry | None, int]:
    """The entry that makes our books agree with the other side, and the amount debited to the target account.

    None if nothing moves. Raises ClearingConflictError if the resolution does not fit the difference.
    """
    if choice.resolution not in OF_DIFFERENCES:
        raise ClearingConflictError(f"a difference can't be resolved as {choice.resolution}")
    missing = sides.left_minor - sides.right_minor
    fee = sides.right_fee_minor - sides.left_fee_minor
    if choice.resolution is Resolution.MATCH and missing != 0:
        raise ClearingConflictError(f"the sides differ by {missing} {currency}: they do not match")
    moves: dict[str, int] = {}
    _add(moves, _target(pair, choice), missing)
    match pair:
        case ReconciliationPair.BOOK_PSP:
            _add(moves, PSP_RECEIVABLE, -missing - fee)
            _add(moves, PSP_EXPENSE, fee)
        case ReconciliationPair.PSP_BANK:
            _add(moves, BANK_SETTLEMENT, sides.right_minor)
            _add(moves, PSP_TRANSIT, -sides.left_minor)
        case ReconciliationPair.BOOK_BANK | ReconciliationPair.BANK_BALANCE:
            _add(moves, BANK_SETTLEMENT, -missing)
    return _entry(_kind(pair, choice.resolution), moves, choice, missing, named=named, currency=currency)


def clear_suspense(
    pair: ReconciliationPair, minor: int, choice: BookingChoice, *, named: str, currency: str
) -> JournalEntry:
    """The entry that clears `minor` (positive: money received) out of suspense.

    Raises ClearingConflictError if the resolution does not fit.
    """
    if choice.resolution not in OF_SUSPENSE:
        raise ClearingConflictError(f"a suspense item can't be cleared as {choice.resolution}")
    moves: dict[str, int] = {}
    _add(moves, SUSPENSE, minor)
    _add(moves, _target(pair, choice), -minor)
    # The party's settlement statement shows the payment of its receivable, not where the money was before.
    repaid = choice.resolution is Resolution.RECEIVABLE_PAYMENT
    kind = EntryKind.RECEIVABLE_PAYMENT if repaid else EntryKind.SUSPENSE_CLEARED
    cleared, _ = _entry(kind, moves, choice, -minor, named=named, currency=currency)
    if cleared is None:
        raise ClearingConflictError("nothing of the item remains in suspense")
    return cleared


def _target(pair: ReconciliationPair, choice: BookingChoice) -> str:
    """The account that bears the difference."""
    if choice.resolution is Resolution.RECEIVABLE_PAYMENT:
        if choice.party is None:
            raise ClearingConflictError("receivable_payment: name the party that paid")
        return payable_account(choice.party)
    if choice.party is not None:
        raise ClearingConflictError(f"{choice.resolution}: a party is named only for a receivable payment")
    if choice.resolution in {Resolution.FEE, Resolution.MATCH}:
        return PSP_EXPENSE if pair is ReconciliationPair.BOOK_PSP else BANK_EXPENSE
    return _TARGETS[choice.resolution]


def _kind(pair: ReconciliationPair, resolution: Resolution) -> EntryKind:
    if pair is ReconciliationPair.PSP_BANK and resolution in {Resolution.MATCH, Resolution.PSP_PAYOUT}:
        return EntryKind.BANK_RECEIPT
    return _KINDS[resolution]


def _entry(
    kind: EntryKind, moves: dict[str, int], choice: BookingChoice, debited: int, *, named: str, currency: str
) -> tuple[JournalEntry | None, int]:
    transfers = between(moves, currency)
    if not transfers:
        return None, debited
    payables = []
    if choice.party is not None:
        if debited >= 0:
            raise ClearingConflictError("receivable_payment: only money received can be credited to a party")
        payables = [party_share(choice.party, moved_minor=debited, currency=currency, due=choice.due)]
    return entry(kind, named, transfers, payables=payables), debited


def _add(moves: dict[str, int], account: str, minor: int) -> None:
    moves[account] = moves.get(account, 0) + minor
