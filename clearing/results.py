"""What clearing answers: values without behavior, for the gateway, the console and the demo.

Owns: the shapes. Must not know: how they came about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import msgspec


class OwedShare(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one session owes one party.

    Signed minor units of the party's settlement currency, due on a bank day.
    """

    party_id: str
    role: str
    amount_minor: int
    currency: str
    due_date: date


class ClearedSession(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A session in the journal.

    `vat_minor` is the driver's VAT within `gross_minor`, of territory `vat_of`, owed to the tax office by
    `vat_collected_by`; flags are stable codes.
    """

    session_id: UUID
    cpo_id: str
    demand_partner_id: str
    gross_minor: int
    net_minor: int
    vat_minor: int
    vat_of: str
    vat_collected_by: str
    platform_fee_minor: int
    currency: str
    shares: Sequence[OwedShare]
    flags: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedSession:
    """A session that could not be cleared: a stable reason code, and how to mend it."""

    session_id: UUID
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingBatch:
    """What became of a batch. `already` were in the journal before: nothing was posted for them again."""

    batch_id: UUID
    cleared: Sequence[ClearedSession]
    parked: Sequence[ParkedSession]
    already: Sequence[UUID]
    hash: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A refund, reversal, dispute or dispute won.

    `minor` of the capture, and what each party's balance changed by.

    `posted` is False when the same reference had been posted before and nothing was done.
    """

    session_id: UUID
    kind: str
    reference: str
    minor: int
    currency: str
    shares: Sequence[OwedShare]
    posted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """An account's balance: `minor` is credits minus debits, so what is owed to a party is positive."""

    account: str
    currency: str
    debit_minor: int
    credit_minor: int

    @property
    def minor(self) -> int:
        """Credits minus debits."""
        return self.credit_minor - self.debit_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class FxTotal:
    """What went through one position account.

    Sold of the captured currency, bought of the settlement currency.
    """

    base: str
    quote: str
    sold_minor: int
    bought_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The books in a few figures, each keyed by currency: what the demo and the console show."""

    captured: Mapping[str, int]
    vat_by_territory: Mapping[tuple[str, str], int]
    share_by_party: Mapping[tuple[str, str], int]
    platform_fee: Mapping[str, int]
    psp_fee: Mapping[str, int]
    paid: Mapping[str, int]
    open_payables: Mapping[str, int]
    fx: Sequence[FxTotal]
    sessions_cleared: int
    sessions_parked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofLine:
    """The proof of one currency, in minor units: `difference_minor` must be 0.

    captured + received + fx_bought + input_vat = vat + platform + paid + open + fx_sold + other (refunds and
    reversals are within each; received is what came in outside of captures).
    """

    currency: str
    captured_minor: int
    received_minor: int = 0
    input_vat_minor: int
    output_vat_minor: int
    platform_minor: int
    paid_minor: int
    open_minor: int
    fx_sold_minor: int
    fx_bought_minor: int
    other_minor: int
    difference_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: which check, which record, what was expected."""

    check: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """The proof recomputed from the stored rows.

    `ok` only if there is no finding and every difference is 0.
    """

    proof: Sequence[ProofLine]
    findings: Sequence[Finding]
    checks: Mapping[str, int]
    batches: int
    audited_at: datetime

    @property
    def ok(self) -> bool:
        """Whether the books prove themselves."""
        return not self.findings and all(line.difference_minor == 0 for line in self.proof)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One movement of an account: signed `amount_minor` (credit positive) and the balance after it."""

    booked_at: datetime
    subject_id: UUID
    kind: str
    reference: str
    ordinal: int
    counter_account: str
    amount_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedRate:
    """A session's FX lock as stored."""

    session_id: UUID
    base: str
    quote: str
    rate: Decimal
    source: str
    rate_date: date
    markup_bps: int
