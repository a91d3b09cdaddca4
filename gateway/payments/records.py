"""Rows of the payment's tables as values.

Owns: the shapes that the phases read. Must not know: SQL, the public API's names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal, Self
from uuid import UUID

from gateway.ids import format_id
from gateway.payments.payment import PaymentState


def last_known_cdr_id(session_id: UUID) -> str:
    """The id of the CDR that stands for a session's last update: nobody else's, for it names our session."""
    return f"last-known-{format_id('ses', session_id)}"


_NAMES: Final[dict[type, tuple[str, ...]]] = {}


class _FromRow:
    """A value whose fields are a row's columns."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Build the value from a row that has a column for each field."""
        names = _NAMES.get(cls)
        if names is None:
            names = _NAMES[cls] = tuple(field.name for field in fields(cls))  # type: ignore[arg-type]
        return cls(**{name: row[name] for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord(_FromRow):
    """One charging session. Amounts are minor units; `cdr` and its price are set together, once."""

    lane: int
    id: UUID
    demand_partner_id: str
    cpo_id: str
    evse_id: str
    location_id: str
    session_ref: str | None
    territory: str
    time_zone: str
    currency: str
    tariff_sha256: str
    state: str
    cdr_id: str | None
    cdr_version: str | None
    cdr: bytes | None
    price_minor: int | None
    price_net_minor: int | None
    energy_wh: int | None
    ended_at: datetime | None
    flags: Sequence[str]
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime

    @property
    def awaits_cdr(self) -> bool:
        """Whether it was ended at its last known cost: the CDR, should it come, takes that one's place."""
        return self.cdr_id == last_known_cdr_id(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRecord(_FromRow):
    """One authorization. `hold_minor` is what may be captured at most."""

    lane: int
    id: UUID
    session_id: UUID
    party_id: str
    rail: str
    funding: str
    account_party_id: str | None
    state: PaymentState
    version: int
    hold_minor: int
    currency: str
    payment_method: str | None
    customer: str | None
    off_session: bool
    psp_payment: str | None
    capture_before: datetime | None
    incrementable: bool
    max_capture_minor: int | None
    next_action: Mapping[str, Any] | None
    decline_code: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", PaymentState(self.state))


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRecord(_FromRow):
    """The single capture of a session."""

    lane: int
    session_id: UUID
    id: UUID
    authorization_id: UUID
    state: str
    amount_minor: int
    receivable_minor: int
    currency: str
    psp_charge: str | None
    fee_minor: int | None
    fee_currency: str | None
    collected_minor: int
    refunded_minor: int
    disputed_minor: int
    captured_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRecord(_FromRow):
    """Money given back from a capture."""

    lane: int
    id: UUID
    session_id: UUID
    state: Literal["requested", "succeeded", "failed"]
    amount_minor: int
    currency: str
    reason: str
    failure_code: str | None
    metadata: Mapping[str, str]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeRecord(_FromRow):
    """Money that a cardholder's bank takes back."""

    lane: int
    id: UUID
    session_id: UUID
    psp_dispute: str
    state: Literal["opened", "won", "lost"]
    amount_minor: int
    fee_minor: int
    currency: str
    reason: str
    opened_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord(_FromRow):
    """A call to the PSP: committed before it is made; its id gives the idempotency key."""

    lane: int
    id: UUID
    session_id: UUID
    authorization_id: UUID
    kind: str
    state: str
    amount_minor: int
    attempts: int
    created_at: datetime
    subject_id: UUID | None = None
    psp_payment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord(_FromRow):
    """A frozen tariff: canonical JSON and its hash."""

    sha256: str
    version: str
    canonical: bytes
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecord(_FromRow):
    """A partner's funded account in one currency; free to hold: balance - held + credit limit."""

    party_id: str
    currency: str
    balance_minor: int
    held_minor: int
    credit_limit_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpRecord(_FromRow):
    """Money on its way into the PSP balance; `asked_at` (wall time) is when the PSP's key counts from."""

    id: UUID
    currency: str
    amount_minor: int
    asked_at: datetime
    psp_object: str | None
