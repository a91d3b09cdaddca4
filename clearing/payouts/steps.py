"""Amounts that a rail moves only in steps: what stays behind of a payment, and comes back the next day.

Owns: the steps, and both journal entries of a remainder. Must not know: the store, a rail's wire. The PSP
takes amounts of three-decimal currencies in whole tens (Stripe, "Supported currencies": the last digit of a
three-decimal amount is 0); a bank file has no such rule.
"""

from datetime import date, timedelta
from typing import Final
from uuid import UUID

from clearing.journal.ledger import (
    EntryKind,
    JournalEntry,
    Payable,
    Transfer,
    payable_account,
    reserve_account,
)
from clearing.money import exponent
from clearing.parties.party import Party
from clearing.session import lane_of

_THREE_DECIMALS: Final = 3
_IN_TENS: Final = 10


def step_minor(rail: str, currency: str) -> int:
    """Payments in `currency` over `rail` are multiples of this many minor units; 1: any amount will do."""
    return _IN_TENS if rail == "psp" and exponent(currency) == _THREE_DECIMALS else 1


def remainder(minor: int, *, rail: str, currency: str) -> int:
    """What of `minor` > 0 the rail can't move: 0 to its step less 1."""
    return minor % step_minor(rail, currency)


def comes_back_on(paid_on: date) -> date:
    """The day on which a remainder is due again: with whatever is due then, or alone once it makes a step."""
    return paid_on + timedelta(days=1)


def remainder_entries(
    party: Party, *, disbursement_id: UUID, currency: str, paid_on: date, due_minor: int, minor: int
) -> tuple[JournalEntry, JournalEntry]:
    """The `minor` that stays behind of the `due_minor` of a payment, and the same owed again the next day.

    The negative payable nets within the payment, the positive one is open: nothing is lost, and nothing is
    paid that is not owed. Named by the amount due, so that a second try at another amount is another pair.
    """
    there = Transfer(payable_account(party), reserve_account(party.id), minor, currency)
    held = Payable(party.id, party.kind.value, -minor, currency, paid_on)
    owed = Payable(party.id, party.kind.value, minor, currency, comes_back_on(paid_on))
    return (
        _entry(disbursement_id, EntryKind.REMAINDER_HOLD, due_minor, there, held),
        _entry(disbursement_id, EntryKind.REMAINDER_RELEASE, due_minor, there.reversed(), owed),
    )


def _entry(
    subject: UUID, kind: EntryKind, due_minor: int, transfer: Transfer, payable: Payable
) -> JournalEntry:
    return JournalEntry(
        lane=lane_of(subject),
        subject_id=subject,
        kind=kind,
        reference=f"of {due_minor}",
        currency=transfer.currency,
        gross_minor=transfer.amount_minor,
        transfers=(transfer,),
        payables=(payable,),
    )
