"""The values of the ledger: account paths, transfers, journal entries, and what makes an entry acceptable.

Owns: which accounts exist, that money only moves between two of them, that transit ends at zero, exact
reversal.
Must not know: why money moves, the repository. A balance is credits minus debits: what is owed to a party is
positive.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from clearing.errors import ClearingInvariantViolation
from clearing.fx import FxLock
from clearing.money import MAX_MINOR
from clearing.parties.party import Party, PartyKind

PSP_RECEIVABLE: Final = "psp:stripe:receivable"
PSP_TRANSIT: Final = "psp:stripe:transit"
SESSION_TRANSIT: Final = "session:transit"
PLATFORM_FEE: Final = "platform:fee:revenue"
PSP_EXPENSE: Final = "platform:psp:expense"
TREASURY_FLOAT: Final = "platform:treasury:float"
DISPUTE_EXPENSE: Final = "platform:dispute:expense"
SUSPENSE: Final = "suspense"
BANK_SETTLEMENT: Final = "bank:settlement"
BANK_EXPENSE: Final = "platform:bank:expense"
WRITE_OFF_EXPENSE: Final = "platform:writeoff:expense"
RECEIVABLE_EXPENSE: Final = "platform:receivable:expense"

_ACCOUNT: Final = re.compile(
    r"psp:[a-z]+:(receivable|transit)|session:transit"
    r"|platform:(fee:revenue|treasury:float|(psp|dispute|bank|writeoff|receivable):expense)"
    r"|(cpo|partner|emsp|site):[A-Za-z0-9][A-Za-z0-9._-]{0,62}:payable|partner:[A-Za-z0-9][A-Za-z0-9._-]{0,62}:funds"
    r"|vat:[A-Z0-9-]+:(output|input|acquisition)|fx:[A-Z]{3}-[A-Z]{3}:(position|result)"
    r"|reserve:[A-Za-z0-9][A-Za-z0-9._:-]{0,80}|suspense|bank:settlement"
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
    """The account of what is owed to a party: one per party, whichever roles it plays in a session."""
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


def output_vat_account(tax_jurisdiction: str) -> str:
    """VAT that the platform owes in a tax jurisdiction."""
    return f"vat:{tax_jurisdiction}:output"


def input_vat_account(tax_jurisdiction: str) -> str:
    """VAT that the platform paid to a supplier and deducts."""
    return f"vat:{tax_jurisdiction}:input"


def acquisition_vat_account(tax_jurisdiction: str) -> str:
    """VAT that the platform declares itself on a supply from abroad.

    Deducted at once in the input account.
    """
    return f"vat:{tax_jurisdiction}:acquisition"


def position_account(base: str, quote: str) -> str:
    """The open position of a currency pair.

    What came in in `base` and what was credited for it in `quote`.
    """
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
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    DISPUTE = "dispute"
    DISPUTE_WON = "dispute_won"
    SALE_CANCELLED = "sale_cancelled"
    SALE_REISSUED = "sale_reissued"
    TOPUP = "topup"
    TOPUP_REVERSED = "topup_reversed"
    PARTNER_FUNDING = "partner_funding"
    DISBURSEMENT = "disbursement"
    DISBURSEMENT_RETURN = "disbursement_return"
    FX_RESULT = "fx_result"
    PSP_CONVERSION = "psp_conversion"
    RESERVE_WITHHELD = "reserve_withheld"
    RESERVE_RELEASE = "reserve_release"
    REMAINDER_CARRIED = "remainder_carried"
    REMAINDER_RELEASE = "remainder_release"
    PSP_PAYOUT = "psp_payout"
    BANK_RECEIPT = "bank_receipt"
    SUSPENSE = "suspense"
    SUSPENSE_CLEARED = "suspense_cleared"
    FEE = "fee"
    WRITE_OFF = "write_off"
    OWN_FUNDS = "own_funds"
    RECEIVABLE_PAYMENT = "receivable_payment"
    RECEIVABLE_SET_OFF = "receivable_set_off"
    RECEIVABLE_WRITE_OFF = "receivable_write_off"


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


class EntryLinks(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a session's entry is linked to, so that every cent is traced to its evidence.

    This and the entry are msgspec structs, as a CDR is: they are built for every session, at a tenth of the
    cost.
    """

    cpo_id: str
    demand_partner_id: str
    authorization_method: str
    tax_jurisdiction: str
    sale_at: datetime
    agreement_id: str
    agreement_version: int
    tariff_sha256: str
    cdr_id: str
    psp_object_id: str | None
    priced_minor: int
    energy_kwh: Decimal


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What happened to one subject (a session, a top-up, a disbursement).

    Transfers, payables and their evidence.

    `legs` are the supplies as a JSON array, whose very text is stored and hashed; `gross_minor` >= 0 is the
    amount that the event is about, `vat_minor` the VAT within a capture, not stored by itself.
    """

    shard: int
    subject_id: UUID
    kind: EntryKind
    reference: str = ""
    currency: str
    gross_minor: int
    vat_minor: int = 0
    transfers: Sequence[Transfer]
    payables: Sequence[Payable] = ()
    locks: Sequence[FxLock] = ()
    links: EntryLinks | None = None
    legs: str = "[]"
    flags: Sequence[str] = ()


@dataclass(slots=True)
class Deltas:
    """What a batch moved between each two accounts, and from it the debits and credits of every account.

    The one mutable value here: an accumulator.
    """

    _moved: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))

    def add(self, transfers: Iterable[Transfer]) -> None:
        """Add each transfer's amount."""
        moved = self._moved
        for debit, credit, minor, currency in transfers:
            moved[debit, credit, currency] += minor

    @property
    def sums(self) -> dict[tuple[str, str], list[int]]:
        """Debits and credits by account and currency."""
        found: dict[tuple[str, str], list[int]] = {}
        for (debit, credit, currency), minor in self._moved.items():
            found.setdefault((debit, currency), [0, 0])[0] += minor
            found.setdefault((credit, currency), [0, 0])[1] += minor
        return found


def check(transfers: Sequence[Transfer]) -> None:
    """An entry is acceptable: positive amounts within a bigint, two different accounts, transit back at zero.

    Raises ClearingInvariantViolation; the schema's CHECKs hold the same for each row.
    """
    transit: dict[str, int] = {}
    for debit, credit, minor, currency in transfers:
        if not 0 < minor <= MAX_MINOR:
            raise ClearingInvariantViolation(f"a transfer of {minor} {currency} from {debit} to {credit}")
        if debit == credit:
            raise ClearingInvariantViolation(f"a transfer from {debit} to itself")
        if credit == SESSION_TRANSIT:
            transit[currency] = transit.get(currency, 0) + minor
        elif debit == SESSION_TRANSIT:
            transit[currency] = transit.get(currency, 0) - minor
    left = {currency: minor for currency, minor in transit.items() if minor}
    if left:
        raise ClearingInvariantViolation(f"session transit is left with {left}")


def reversal(transfers: Sequence[Transfer]) -> tuple[Transfer, ...]:
    """The mirror of an entry: each amount back the way it came, in the same order."""
    return tuple(transfer.reversed() for transfer in transfers)
