"""Rows of the payment's tables as values.

Owns: the shapes that the phases read. Must not know: SQL, the public API's names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from gateway.database import FromRow
from gateway.ids import format_id
from gateway.payments.state_machine import PaymentState
from gateway.schemas.api_schemas import SessionState


def session_name(cpo_id: str, session_ref: str) -> str:
    """The name by which a session of a CPO is found."""
    return f"{cpo_id}:{session_ref}"


def last_known_cdr_id(session_id: UUID) -> str:
    """The id of the CDR made where none came; no CPO uses it, because it names our session."""
    return f"last-known-{format_id('ses', session_id)}"


class PspRequestKind(StrEnum):
    """What a request to the PSP is for; a CHECK of gateway.psp_request repeats the kinds."""

    HOLD = "hold"
    INCREMENT = "increment"
    CAPTURE = "capture"
    VOID = "void"
    RESIDUAL_CHARGE = "residual_charge"
    REFUND = "refund"
    HOLD_RENEWAL = "hold_renewal"
    HOLD_RELEASE = "hold_release"


class PspRequestState(StrEnum):
    """How far a request has come; a CHECK of gateway.psp_request repeats the states."""

    INTENDED = "intended"  # committed, about to be sent
    UNKNOWN = "unknown"  # sent, not answered
    SUCCEEDED = "succeeded"
    DECLINED = "declined"


class UsageSource(StrEnum):
    """Who stated a session's usage; CHECKs of gateway.session and gateway.stated_usage repeat the sources."""

    OPERATOR_CDR = "operator_cdr"  # the CDR that its CPO sent by OCPI
    OPERATOR_SESSION = "operator_session"  # the CPO's last update of the running session
    OPERATOR_API = "operator_api"  # the CPO's own key, by the capture API
    PLATFORM = "platform"  # a key of the platform
    PAYER = "payer"  # the key of the party that pays


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord(FromRow):
    """One charging session. Amounts are minor units; `cdr` and its price are set together, once.

    `evse_power_w` is the most that a connector of the EVSE gives, None where it is not known. `stated_by` is
    who stated the usage that its price is for.
    """

    shard: int
    id: UUID
    demand_partner_id: str
    cpo_id: str
    evse_id: str
    location_id: str
    session_ref: str | None
    tax_jurisdiction: str
    time_zone: str
    currency: str
    tariff_sha256: str
    state: SessionState
    cdr_id: str | None
    cdr_version: str | None
    cdr: bytes | None
    price_minor: int | None
    price_net_minor: int | None
    energy_wh: int | None
    started_at: datetime | None
    ended_at: datetime | None
    flags: Sequence[str]
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    evse_uid: str | None = None
    evse_power_w: int | None = None
    power_type: str | None = None
    stated_by: UsageSource | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", SessionState(self.state))
        if self.stated_by is not None:
            object.__setattr__(self, "stated_by", UsageSource(self.stated_by))

    @property
    def awaits_cdr(self) -> bool:
        """Whether it was ended without a CDR, when none came in time: a CDR that comes later replaces it."""
        return self.cdr_id == last_known_cdr_id(self.id)

    @property
    def yields_to_operator(self) -> bool:
        """Whether a CDR of its CPO takes the place of what ended it: an update, or the payer's statement."""
        return self.awaits_cdr or self.stated_by is UsageSource.PAYER


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRecord(FromRow):
    """One authorization. `hold_minor` is what may be captured at most.

    `most_minor` bounds what updates of the running session raise the hold to (a contract's limit).
    """

    shard: int
    id: UUID
    session_id: UUID
    party_id: str
    authorization_method: str
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
    receipt_email: str | None = None
    return_url: str | None = None
    save_usage: str | None = None
    save_consent: str | None = None
    most_minor: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", PaymentState(self.state))


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRecord(FromRow):
    """The single capture of a session."""

    shard: int
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
    residual_charge_minor: int
    refunded_minor: int
    disputed_minor: int
    captured_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRecord(FromRow):
    """Money refunded from a capture. `unposted_minor` of it was above the price, and never in the ledger."""

    shard: int
    id: UUID
    session_id: UUID
    state: Literal["requested", "succeeded", "failed"]
    amount_minor: int
    currency: str
    reason: str
    failure_code: str | None
    metadata: Mapping[str, str]
    created_at: datetime
    unposted_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeRecord(FromRow):
    """Money that a cardholder's bank claims back."""

    shard: int
    id: UUID
    session_id: UUID
    psp_dispute: str
    state: Literal["inquiry", "opened", "won", "lost", "closed"]
    amount_minor: int
    withdrawn_minor: int
    fee_minor: int
    fee_currency: str
    currency: str
    reason: str
    response: Literal["none", "needed", "under_review"]
    respond_by: datetime | None
    submissions: int
    is_refundable: bool
    evidence: Mapping[str, str]
    opened_at: datetime
    withdrawn_at: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PspRequestRecord(FromRow):
    """A request to the PSP: committed before it is sent; its id gives the idempotency key."""

    shard: int
    id: UUID
    session_id: UUID
    authorization_id: UUID
    kind: PspRequestKind
    state: PspRequestState
    amount_minor: int
    attempts: int
    created_at: datetime
    subject_id: UUID | None = None
    psp_payment: str | None = None
    hold_features: Sequence[str] | None = None
    key_number: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", PspRequestKind(self.kind))
        object.__setattr__(self, "state", PspRequestState(self.state))


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecord(FromRow):
    """A partner's funded account in one currency; free to hold: balance - held + credit limit."""

    party_id: str
    currency: str
    balance_minor: int
    held_minor: int
    credit_limit_minor: int
    pending_minor: int  # on its way, and no part of the balance


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpRecord(FromRow):
    """Money on its way into the PSP balance; `requested_at` (wall time) is when the PSP's key counts from.

    `party_id` None: the platform's own money. `state` is `requested` until the PSP has it, then the PSP's.
    `overdrawn_minor`: what its party had spent of it when the bank took it back.
    """

    id: UUID
    subject: str
    party_id: str | None
    reference: str
    funding_id: UUID | None
    currency: str
    amount_minor: int
    state: str
    failure_code: str | None
    overdrawn_minor: int
    requested_at: datetime
    psp_object: str | None
    updated_at: datetime


class MissingCdrAction(StrEnum):
    """What is done with a session whose CDR never comes."""

    RELEASE = "release"  # nothing is provably owed: the hold is released
    LAST_KNOWN_COST = "last_known_cost"  # the last update priced by the frozen tariff, within the hold


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCdrPolicy:
    """What is done with sessions without a CDR, `after_days` (1 to 365) from their authorization."""

    action: MissingCdrAction
    after_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleSession:
    """A hold of a session for which no CDR came, and what is to be done with it."""

    shard: int
    authorization_id: UUID
    action: MissingCdrAction
