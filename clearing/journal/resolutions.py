"""How a difference between two sides is booked, and how money leaves suspense: accounts and signs.

Owns: which account bears a difference for each way to resolve it. Must not know: who decides, the store.
"""

from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Final

from clearing.errors import StateConflictError
from clearing.journal.adjustments import between, entry, party_share
from clearing.journal.ledger import (
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
from clearing.reconciliation.comparing import Leg
from clearing.reconciliation.deciding import OF_DIFFERENCES, OF_SUSPENSE, Resolution

_KINDS: Final = MappingProxyType(
    {
        Resolution.MATCH: EntryKind.FEE,  # a match moves nothing but a fee that the sides knew differently
        Resolution.SUSPENSE: EntryKind.SUSPENSE,
        Resolution.FEE: EntryKind.FEE,
        Resolution.WRITE_OFF: EntryKind.WRITE_OFF,
        Resolution.OWN_FUNDS: EntryKind.OWN_FUNDS,
        Resolution.PSP_PAYOUT: EntryKind.PSP_PAYOUT,
        Resolution.COLLECTION: EntryKind.DEBT_COLLECTION,
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
class Sides:
    """Signed sums of what each side says, money in positive; `fee` is what the PSP kept beside them."""

    left_minor: int
    right_minor: int
    left_fee_minor: int = 0
    right_fee_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How to resolve: `party` is who is credited where the resolution is a collection, due on `due`."""

    resolution: Resolution
    party: Party | None
    due: date


def settle(
    leg: Leg, sides: Sides, choice: Choice, *, named: str, currency: str
) -> tuple[JournalEntry | None, int]:
    """The entry after which our books say what the other side says, and what the target is debited.

    None where nothing moves. Raises StateConflictError where the resolution does not fit the difference.
    """
    if choice.resolution not in OF_DIFFERENCES:
        raise StateConflictError(f"a difference can't be resolved as {choice.resolution}")
    missing = sides.left_minor - sides.right_minor
    fee = sides.right_fee_minor - sides.left_fee_minor
    if choice.resolution is Resolution.MATCH and missing != 0:
        raise StateConflictError(f"the sides differ by {missing} {currency}: they are no match")
    moves: dict[str, int] = {}
    _add(moves, _target(leg, choice), missing)
    match leg:
        case Leg.BOOK_PSP:
            _add(moves, PSP_RECEIVABLE, -missing - fee)
            _add(moves, PSP_EXPENSE, fee)
        case Leg.PSP_BANK:
            _add(moves, BANK_SETTLEMENT, sides.right_minor)
            _add(moves, PSP_TRANSIT, -sides.left_minor)
        case Leg.BOOK_BANK | Leg.BANK_BALANCE:
            _add(moves, BANK_SETTLEMENT, -missing)
    return _entry(_kind(leg, choice.resolution), moves, choice, missing, named=named, currency=currency)


def clear_suspense(leg: Leg, minor: int, choice: Choice, *, named: str, currency: str) -> JournalEntry:
    """`minor` of what stands in suspense (positive: money that came in) goes where it belongs.

    Raises StateConflictError where the resolution does not fit.
    """
    if choice.resolution not in OF_SUSPENSE:
        raise StateConflictError(f"money can't leave suspense as {choice.resolution}")
    moves: dict[str, int] = {}
    _add(moves, SUSPENSE, minor)
    _add(moves, _target(leg, choice), -minor)
    # On its statement a party reads that its debt was paid, wherever the money had stood.
    collected = choice.resolution is Resolution.COLLECTION
    kind = EntryKind.DEBT_COLLECTION if collected else EntryKind.SUSPENSE_CLEARED
    made, _ = _entry(kind, moves, choice, -minor, named=named, currency=currency)
    if made is None:
        raise StateConflictError("nothing is left of it in suspense")
    return made


def _target(leg: Leg, choice: Choice) -> str:
    """The account that bears the difference."""
    if choice.resolution is Resolution.COLLECTION:
        if choice.party is None:
            raise StateConflictError("collection: name the party that paid")
        return payable_account(choice.party)
    if choice.party is not None:
        raise StateConflictError(f"{choice.resolution}: a party is named for a collection only")
    if choice.resolution in {Resolution.FEE, Resolution.MATCH}:
        return PSP_EXPENSE if leg is Leg.BOOK_PSP else BANK_EXPENSE
    return _TARGETS[choice.resolution]


def _kind(leg: Leg, resolution: Resolution) -> EntryKind:
    if leg is Leg.PSP_BANK and resolution in {Resolution.MATCH, Resolution.PSP_PAYOUT}:
        return EntryKind.BANK_RECEIPT
    return _KINDS[resolution]


def _entry(
    kind: EntryKind, moves: dict[str, int], choice: Choice, debited: int, *, named: str, currency: str
) -> tuple[JournalEntry | None, int]:
    transfers = between(moves, currency)
    if not transfers:
        return None, debited
    payables = []
    if choice.party is not None:
        if debited >= 0:
            raise StateConflictError("collection: only money that came in can be credited to a party")
        payables = [party_share(choice.party, moved_minor=debited, currency=currency, due=choice.due)]
    return entry(kind, named, transfers, payables=payables), debited


def _add(moves: dict[str, int], account: str, minor: int) -> None:
    moves[account] = moves.get(account, 0) + minor
