"""The rolling reserve: a part of a disbursement is withheld for some days against refunds and disputes.

Owns: how much is withheld, when it is released, and both journal entries. Must not know: the database.
"""

from dataclasses import dataclass
from datetime import date, timedelta
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
from clearing.money import half_away
from clearing.parties.party import Party

_WHOLE_BPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """What was withheld from a disbursement: `amount_minor` > 0, to be released on `release_on`."""

    disbursement_id: UUID
    party_id: str
    currency: str
    amount_minor: int
    held_on: date
    release_on: date


def withheld(*, sales_minor: int, held_minor: int, reserve_bps: int) -> int:
    """How much more to withhold from what is due.

    `reserve_bps` of the sales, half away from zero, less `held_minor` that an earlier attempt withheld
    from the same sum. Never negative, and never of receivables.
    """
    return max(0, half_away(max(0, sales_minor) * reserve_bps, _WHOLE_BPS) - held_minor)


def plan_reserve(
    party: Party, *, disbursement_id: UUID, currency: str, period: date, amount_minor: int
) -> Reserve:
    """The reserve of a disbursement planned on the party's local day `period`."""
    return Reserve(
        disbursement_id=disbursement_id,
        party_id=party.id,
        currency=currency,
        amount_minor=amount_minor,
        held_on=period,
        release_on=period + timedelta(days=party.payout_terms.reserve_days),
    )


def hold_entry(reserve: Reserve, party: Party) -> JournalEntry:
    """From what the party is owed to its reserve; the negative payable nets within the same disbursement."""
    return _entry(
        reserve,
        EntryKind.RESERVE_WITHHELD,
        Transfer(payable_account(party), reserve_account(party.id), reserve.amount_minor, reserve.currency),
        Payable(party.id, party.kind.value, -reserve.amount_minor, reserve.currency, reserve.held_on),
    )


def release_entry(reserve: Reserve, party: Party) -> JournalEntry:
    """From the reserve back to what the party is owed, due on the day of release."""
    return _entry(
        reserve,
        EntryKind.RESERVE_RELEASE,
        Transfer(reserve_account(party.id), payable_account(party), reserve.amount_minor, reserve.currency),
        Payable(party.id, party.kind.value, reserve.amount_minor, reserve.currency, reserve.release_on),
    )


def _entry(reserve: Reserve, kind: EntryKind, transfer: Transfer, payable: Payable) -> JournalEntry:
    return JournalEntry(
        shard=shard_of(reserve.disbursement_id),
        subject_id=reserve.disbursement_id,
        kind=kind,
        currency=reserve.currency,
        gross_minor=reserve.amount_minor,
        transfers=(transfer,),
        payables=(payable,),
    )
