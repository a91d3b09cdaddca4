"""The ledger's grammar: account paths, transfers, journal entries, and what makes an entry acceptable.

Owns: which accounts exist, that money only moves between two of them, that transit ends at zero, exact
reversal.
Must not know: why money moves, the store. A balance is credits minus debits: what is owed to a party is
positive.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

from clearing.errors import InvariantViolation
from clearing.fx import FxLock
from clearing.money import MAX_MINOR
from clearing.parties.party import Party, PartyKind

PSP_RECEIVABLE: Final = "psp:stripe:receivable"
SESSION_TRANSIT: Final = "session:transit"
PLATFORM_FEE: Final = "platform:fee:revenue"
PSP_EXPENSE: Final = "platform:psp:expense"
TREASURY_FLOAT: Final = "platform:treasury:float"
DISPUTE_EXPENSE: Final = "platform:dispute:expense"
DRIVER_RECEIVABLE: Final = "driver:receivable"
SUSPENSE: Final = "suspense"
BANK_SETTLEMENT: Final = "bank:settlement"

_ACCOUNT: Final = re.compile(
    r"psp:[a-z]+:receivable|session:transit|platform:(fee:revenue|psp:expense|treasury:float|dispute:expense)"
    r"|(cpo|partner|emsp|site):[A-Za-z0-9][A-Za-z0-9._-]{0,62}:payable|partner:[A-Za-z0-9][A-Za-z0-9._-]{0,62}:funds"
    r"|vat:[A-Z0-9-]+:(output|input|acquisition)|fx:[A-Z]{3}-[A-Z]{3}:(position|result)"
    r"|reserve:[A-Za-z0-9][A-Za-z0-9._:-]{0,80}|driver:receivable|suspense|bank:settlement"
)
_PAYABLE_PREFIX: Final = MappingProxyType(
    {
        PartyKind.CPO: "cpo",
        PartyKind.DEMAND_PARTNER: "partner",
        PartyKind.EMSP: "emsp",
        PartyKind.SITE_HOST: "site",
    }
)


def payable_account(party: Party) -> str:
    """Where what is owed to a party stands: one account per party, whichever roles it plays in a session."""
    return payable_path(party.kind, party.id)


def payable_path(kind: PartyKind, party_id: str) -> str:
    """The payable account of a party of that kind; the platform's own is its fee."""
    return PLATFORM_FEE if kind is PartyKind.PLATFORM else f"{_PAYABLE_PREFIX[kind]}:{party_id}:payable"


def funds_account(partner_id: str) -> str:
    """A demand partner's prefunded money, held for it."""
    return f"partner:{partner_id}:funds"


def reserve_account(party_id: str) -> str:
    """What is withheld of a party's payments until its day of release."""
    return f"reserve:{party_id}"


def output_vat_account(territory: str) -> str:
    """VAT that the platform owes to a territory's tax office."""
    return f"vat:{territory}:output"


def input_vat_account(territory: str) -> str:
    """VAT that the platform paid to a supplier and deducts."""
    return f"vat:{territory}:input"


def acquisition_vat_account(territory: str) -> str:
    """VAT that the platform declares itself on a supply from abroad.

    Deducted at once in the input account.
    """
    return f"vat:{territory}:acquisition"


def position_account(base: str, quote: str) -> str:
    """The open position of a currency pair: what was taken in `base` and given in `quote`."""
    return f"fx:{base}-{quote}:position"


def result_account(base: str, quote: str) -> str:
    """Gain (positive) and loss of executed exchanges against the locks of a pair."""
    return f"fx:{base}-{quote}:result"


def is_account(path: str) -> bool:
    """Whether `path` is an account of this chart."""
    return _ACCOUNT.fullmatch(path) is not None


class EntryKind(StrEnum):
    """Why an entry was written."""

    CAPTURE = "capture"
    REVERSAL = "reversal"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    DISPUTE = "dispute"
    DISPUTE_WON = "dispute_won"
    TOPUP = "topup"
    PARTNER_FUNDING = "partner_funding"
    DISBURSEMENT = "disbursement"
    DISBURSEMENT_RETURN = "disbursement_return"
    FX_RESULT = "fx_result"
    RESERVE_HOLD = "reserve_hold"
    RESERVE_RELEASE = "reserve_release"
    PSP_PAYOUT = "psp_payout"


class Transfer(NamedTuple):
    """A positive amount of one currency from the debited to the credited account.

    A tuple, not a dataclass: ten of them are built for every session, at a third of the cost.
    """

    debit_account: str
    credit_account: str
    amount_minor: int
    currency: str

    def reversed(self) -> "Transfer":
        """The same amount back."""
        return Transfer(self.credit_account, self.debit_account, self.amount_minor, self.currency)


class Payable(NamedTuple):
    """What an entry owes a party: signed minor units, due on a clearing day."""

    party_id: str
    role: str
    amount_minor: int
    currency: str
    due_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLinks:
    """What a session's entry is linked to, so that every cent is traced to its evidence."""

    cpo_id: str
    demand_partner_id: str
    rail: str
    territory: str
    sale_at: datetime
    agreement_id: str
    agreement_version: int
    tariff_sha256: str
    cdr_id: str
    psp_object_id: str | None
    priced_minor: int
    energy_kwh: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """What happened to one subject (a session, a top-up, a disbursement).

    Transfers, payables and their evidence.

    `legs` are the supplies as a JSON array, whose very text is stored and hashed; `gross_minor` >= 0 is the
    amount that the event is about.
    """

    lane: int
    subject_id: UUID
    kind: EntryKind
    reference: str = ""
    currency: str
    gross_minor: int
    transfers: Sequence[Transfer]
    payables: Sequence[Payable] = ()
    locks: Sequence[FxLock] = ()
    links: EntryLinks | None = None
    legs: str = "[]"
    flags: Sequence[str] = ()


@dataclass(slots=True)
class Deltas:
    """Debits and credits per account and currency, summed over a batch.

    The one mutable value here: an accumulator.
    """

    sums: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, transfers: Iterable[Transfer]) -> None:
        """Add each transfer's amount to both of its accounts."""
        sums = self.sums
        for debit, credit, minor, currency in transfers:
            debited = sums.get((debit, currency))
            if debited is None:
                sums[debit, currency] = [minor, 0]
            else:
                debited[0] += minor
            credited = sums.get((credit, currency))
            if credited is None:
                sums[credit, currency] = [0, minor]
            else:
                credited[1] += minor


def check(transfers: Sequence[Transfer]) -> None:
    """An entry is acceptable: positive amounts within a bigint, two different accounts, transit back at zero.

    Raises InvariantViolation; the store's CHECKs hold the same for each row.
    """
    transit: dict[str, int] = {}
    for debit, credit, minor, currency in transfers:
        if not 0 < minor <= MAX_MINOR:
            raise InvariantViolation(f"a transfer of {minor} {currency} from {debit} to {credit}")
        if debit == credit:
            raise InvariantViolation(f"a transfer from {debit} to itself")
        if credit == SESSION_TRANSIT:
            transit[currency] = transit.get(currency, 0) + minor
        elif debit == SESSION_TRANSIT:
            transit[currency] = transit.get(currency, 0) - minor
    left = {currency: minor for currency, minor in transit.items() if minor}
    if left:
        raise InvariantViolation(f"session transit is left with {left}")


def reversal(transfers: Sequence[Transfer]) -> tuple[Transfer, ...]:
    """The mirror of an entry: each amount back the way it came, in the same order."""
    return tuple(transfer.reversed() for transfer in transfers)
