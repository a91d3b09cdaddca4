"""The minimum increment of a rail: the remainder that it can't pay is carried forward to the next day.

Owns: the increments, and both journal entries of a remainder. Must not know: the database, a rail's API.
The PSP accepts amounts of three-decimal currencies in whole tens (Stripe, "Supported currencies": the last
digit of a three-decimal amount is 0); a bank file has no such rule.
"""

from datetime import date, timedelta
from typing import Final
from uuid import UUID

from clearing.captured_session import shard_of
from clearing.ledger.journal_entry import (
    EntryKind,
    JournalEntry,
    Payable,
    Transfer,
    payable_account,
    reserve_account,
)
from clearing.money import exponent
from clearing.parties.party import Party

_THREE_DECIMALS: Final = 3
_IN_TENS: Final = 10


def minimum_increment_minor(rail: str, currency: str) -> int:
    """Disbursements in `currency` over `rail` are multiples of this many minor units; 1: any amount."""
    return _IN_TENS if rail == "psp" and exponent(currency) == _THREE_DECIMALS else 1


def unpayable_remainder_minor(minor: int, *, rail: str, currency: str) -> int:
    """The part of `minor` > 0 that the rail can't pay: less than its increment."""
    return minor % minimum_increment_minor(rail, currency)


def carry_forward_date(paid_on: date) -> date:
    """The day on which a remainder is due again."""
    return paid_on + timedelta(days=1)


def remainder_entries(
    party: Party, *, disbursement_id: UUID, currency: str, paid_on: date, due_minor: int, minor: int
) -> tuple[JournalEntry, JournalEntry]:
    """The remainder `minor` of the `due_minor` of a disbursement, and the same owed again the next day.

    The negative payable nets within the disbursement, the positive one is open: nothing is lost, and
    nothing is paid that is not owed. Named by the amount due, so that an attempt at another amount is
    another pair.
    """
    withheld = Transfer(payable_account(party), reserve_account(party.id), minor, currency)
    carried = Payable(party.id, party.kind.value, -minor, currency, paid_on)
    owed = Payable(party.id, party.kind.value, minor, currency, carry_forward_date(paid_on))
    return (
        _entry(disbursement_id, EntryKind.REMAINDER_CARRIED, due_minor, withheld, carried),
        _entry(disbursement_id, EntryKind.REMAINDER_RELEASE, due_minor, withheld.reversed(), owed),
    )


def _entry(
    subject: UUID, kind: EntryKind, due_minor: int, transfer: Transfer, payable: Payable
) -> JournalEntry:
    return JournalEntry(
        shard=shard_of(subject),
        subject_id=subject,
        kind=kind,
        reference=f"of {due_minor}",
        currency=transfer.currency,
        gross_minor=transfer.amount_minor,
        transfers=(transfer,),
        payables=(payable,),
    )
