"""The public objects: what the API answers and what webhooks carry, one shape for both.

Owns the names and types that partners program against; amounts are integer minor units beside an ISO 4217
currency, times are RFC 3339 in UTC, ids are prefixed text. Must not know SQL, HTTP, or who may see an object.
A field is only ever added; a removal or a change of meaning is a new API version.
"""

import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    computed_field,
)

from clearing.captured_session import AuthorizationMethod

_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})")


def _written(value: Any) -> Any:
    """Text is a whole time; a number in it would else be read as seconds since 1970.

    It is read here: after a validator of ours, a strict body takes no text for a time.
    """
    if not isinstance(value, str):
        return value
    try:
        if _RFC3339.fullmatch(value) is not None:
            return datetime.fromisoformat(value.upper())
    except ValueError:  # the 30th of February
        pass
    raise ValueError("expected a time with its offset, such as 2026-10-29T08:00:00Z")


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("expected a time with its offset, such as 2026-10-29T08:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected a time whose offset stays within the calendar") from None


def _rfc3339(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    BeforeValidator(_written),
    AfterValidator(_aware),
    PlainSerializer(_rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code", examples=["EUR"])]
Minor = Annotated[int, Field(description="amount in the currency's minor unit", examples=[2450])]
Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=40)],
        Annotated[str, Field(max_length=500)],
    ],
    Field(max_length=50, description="your own key-value pairs, returned unchanged"),
]


def public_name(model: type) -> str:
    """The name of a model in the published schemas: without the ending that marks answers in code."""
    return model.__name__.removesuffix("Schema")


class PublicSchema(BaseModel):
    """A public object; unknown fields can't slip in by mistake. Its title is its public name."""

    model_config = ConfigDict(frozen=True, extra="forbid", model_title_generator=public_name)

    def as_json(self) -> dict[str, Any]:
        """The object as JSON-ready values: for `gateway.event.data` and for answers."""
        return self.model_dump(mode="json")


class AuthorizationState(StrEnum):
    """State of an authorization; the diagram is in docs/state_machines.md."""

    REQUIRES_AUTHORIZATION = "requires_authorization"
    REQUIRES_ACTION = "requires_action"
    AUTHORIZED = "authorized"
    CAPTURE_REQUESTED = "capture_requested"
    CAPTURED = "captured"
    VOIDED = "voided"
    FAILED = "failed"
    OUTCOME_UNKNOWN = "outcome_unknown"


class SessionState(StrEnum):
    """State of a session: authorized, cancelled, priced, cleared, or waiting for a person."""

    ACTIVE = "active"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    CLEARED = "cleared"
    EXCEPTION = "exception"


class CaptureState(StrEnum):
    """State of the single capture."""

    REQUESTED = "requested"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class TariffReferenceSchema(PublicSchema):
    """The public tariff that was frozen for this session; the capture uses its prices."""

    sha256: str = Field(description="hash of the canonical tariff", min_length=64, max_length=64)
    version: str | None = Field(None, description="OCPI version of the tariff", examples=["2.2.1"])
    display: list[str] = Field(
        default_factory=list,
        description="price components to show before the start, kWh first",
        examples=[["0.49 EUR/kWh"]],
    )


class AuthorizationSchema(PublicSchema):
    """The commitment that a session will be paid, by card, app or Plug & Charge."""

    id: str = Field(examples=["auth_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["authorization"] = "authorization"
    session: str = Field(examples=["ses_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    state: AuthorizationState
    method: AuthorizationMethod
    amount: Minor = Field(description="what is held, minor units")
    currency: Currency
    cost_limit: Minor = Field(description="stop the session before its running cost passes this, minor units")
    capture_before: Instant | None = Field(
        description="when the hold ends; the gateway captures or renews it earlier"
    )
    next_action: dict[str, Any] | None = Field(
        description="pass this to the driver's app when state is requires_action; whole in the answer to the "
        "authorization's own requests, only its type in lists and events; hosted_page: the driver of a "
        "driver page pays on the PSP's own page"
    )
    client_secret: str | None = Field(
        None,
        description="pass this to the driver's app when state is requires_action; a secret: whoever holds it "
        "may finish the payment, so never log or store it; null in lists and events",
    )
    redirect_url: str | None = Field(
        None, description="where the driver confirms the payment; null where the PSP's script shows it"
    )
    return_url: str | None = Field(None, description="where the driver returns to afterwards")
    publishable_key: str | None = Field(None, description="for the PSP's script in an app; no secret")
    decline_code: str | None = Field(description="the issuer's reason when state is failed")
    version: int = Field(description="also the ETag", ge=1)
    created: Instant
    evse_id: str
    session_ref: str | None
    metadata: dict[str, str]
    tariff: TariffReferenceSchema


class SessionPriceSchema(PublicSchema):
    """The session's price from the frozen tariff, minor units of the session's currency."""

    incl_vat: Minor
    excl_vat: Minor | None


class CaptureSchema(PublicSchema):
    """The single capture of a session."""

    id: str = Field(examples=["cap_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["capture"] = "capture"
    session: str
    authorization: str
    state: CaptureState
    amount: Minor
    receivable: Minor = Field(description="priced but not collected, minor units")
    refunded: Minor = Field(0, description="refunded so far, minor units")
    disputed: Minor = Field(0, description="reclaimed by the cardholder's bank, minor units")
    currency: Currency
    fee: Minor | None = Field(description="PSP fee, minor units of `fee_currency`")
    fee_currency: Currency | None = None
    captured_at: Instant | None


class QuoteSchema(PublicSchema):
    """What an expected session would cost by the public tariff in force, before it starts."""

    object: Literal["quote"] = "quote"
    evse_id: str
    cpo: str
    currency: Currency
    incl_vat: Minor
    excl_vat: Minor
    hold: Minor = Field(description="what an authorization would hold")
    tariff: TariffReferenceSchema
    explained: list[str] = Field(description="the price, line by line")


class RefundSchema(PublicSchema):
    """Money returned from a capture to the driver."""

    id: str = Field(examples=["ref_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["refund"] = "refund"
    session: str
    state: Literal["requested", "succeeded", "failed"]
    amount: Minor
    currency: Currency
    reason: str
    failure_code: str | None
    metadata: dict[str, str]
    created: Instant


class DisputeSchema(PublicSchema):
    """What a cardholder's bank asks about or reclaims.

    An `inquiry` moves no money, nor does a dispute that is `closed`; a `won` dispute returns what was
    withdrawn, a `lost` one does not, unless an appeal wins it.
    """

    id: str = Field(examples=["dsp_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["dispute"] = "dispute"
    session: str
    state: Literal["inquiry", "opened", "won", "lost", "closed"]
    amount: Minor = Field(description="what is claimed, minor units; 0 after a full refund")
    withdrawn: Minor = Field(description="what the PSP has taken of it, minor units")
    fee: Minor = Field(description="what the PSP charged for it, minor units of fee_currency")
    fee_currency: Currency
    currency: Currency
    reason: str
    response: Literal["none", "needed", "under_review"] = Field(
        description="what the cardholder's bank waits for: evidence, or its own review"
    )
    respond_by: Instant | None
    submissions: int
    refundable: bool = Field(description="whether a refund of the charge still ends it")
    opened_at: Instant
    closed_at: Instant | None


class SiteHostSchema(PublicSchema):
    """Who hosts a location."""

    object: Literal["site_host"] = "site_host"
    cpo: str
    location_id: str
    party: str


class CommandSchema(PublicSchema):
    """A command to a CPO: its answer at once, the station's result later."""

    id: str = Field(examples=["cmd_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["command"] = "command"
    session: str
    command: str = Field(examples=["START_SESSION"])
    state: str
    response: str | None = Field(description="the CPO's answer (OCPI CommandResponseType)")
    result: str | None = Field(description="the station's result (OCPI CommandResultType)")
    reason: str | None
    created: Instant


class PriceLineSchema(PublicSchema):
    """One line of a price: which period, which component, how much of it, and why. Decimals are text."""

    dimension: str = Field(examples=["ENERGY"])
    period: int | None = Field(None, description="index of the charging period, from 0")
    element: int | None = Field(None, description="index of the tariff element, from 0")
    component: int | None = Field(None, description="index of the price component, from 0")
    volume: str | None = Field(None, description="as measured, in `unit`")
    billed_volume: str | None = Field(None, description="after step_size, in `unit`")
    unit: str = Field(description="kWh, s or session", examples=["kWh"])
    unit_price: str | None = Field(None, description="per kWh, per hour or per session, major units")
    excl_vat: str = Field(description="major units, before the one rounding")
    incl_vat: str = Field(description="major units, before the one rounding")
    vat_rate: str | None = Field(None, description="percent")
    why: str = Field(examples=["stepped"])


class PriceTaxSchema(PublicSchema):
    """One tax within a price, minor units."""

    name: str
    rate: str | None = Field(description="percent, decimal text")
    excl_vat: Minor | None = None
    amount: Minor


class PriceSchema(PublicSchema):
    """A session's price, line by line."""

    object: Literal["price"] = "price"
    session: str
    currency: Currency
    excl_vat: Minor | None
    incl_vat: Minor
    lines: list[PriceLineSchema]
    taxes: list[PriceTaxSchema]
    notes: list[str]
    policy: str | None = Field(None, description="name and version of the rounding policy")
    explained: list[str] = Field(description="the same data as text, one line each")


UsageSourceName = Literal["operator_cdr", "operator_session", "operator_api", "platform", "payer"]


class StatedUsageSchema(PublicSchema):
    """Usage of a session that a check found odd: a person decides, until then nothing is captured."""

    state: Literal["exception", "accepted", "rejected", "replaced"] = Field(
        description="exception while it waits; replaced when its CDR was credited"
    )
    source: UsageSourceName = Field(description="who stated it")
    cdr_id: str
    reasons: list[str] = Field(description="codes of what was found, such as energy_above_power")
    detail: str = Field(description="the same in words")


class ProvisionalUsageSchema(PublicSchema):
    """Usage that the payer stated of a session whose billing record is its operator's CDR."""

    state: Literal["awaiting_cdr", "captured", "confirmed", "replaced"] = Field(
        description="captured: no CDR came in time; confirmed: the CDR says the same; replaced: it differs"
    )
    party: str = Field(description="whose key stated it")
    energy_wh: int
    started_at: Instant
    ended_at: Instant
    price: Minor = Field(description="by the frozen tariff, VAT included")
    stated_at: Instant = Field(description="when it was stated last")


class SessionSchema(PublicSchema):
    """A charging session: priced once, captured at most once."""

    id: str = Field(examples=["ses_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["session"] = "session"
    state: SessionState
    cpo: str = Field(examples=["NL-ABC"])
    evse_id: str
    location_id: str
    session_ref: str | None
    authorization_method: AuthorizationMethod | None
    currency: Currency
    price: SessionPriceSchema | PriceSchema | None = Field(
        description="null until completed; ?expand=price for its lines"
    )
    authorization: str | None = Field(description="the latest authorization")
    capture: CaptureSchema | None
    energy_wh: int | None
    started_at: Instant | None = Field(description="as the CPO reports it; null until then")
    ended_at: Instant | None
    flags: list[str] = Field(description="codes of findings, such as cpo_total_differs")
    cdr_id: str | None
    stated_by: UsageSourceName | None = Field(
        None, description="who stated the usage that the price is for; null until completed"
    )
    provisional_usage: ProvisionalUsageSchema | None = Field(
        None,
        description="what the payer stated where the operator's CDR decides; null in lists",
    )
    usage: StatedUsageSchema | None = Field(
        None, description="what was stated and waits for a person; null where nothing waits, and in lists"
    )
    tariff: TariffReferenceSchema
    metadata: dict[str, str]
    created: Instant


class DisbursementSchema(PublicSchema):
    """One payment to one party in one currency, netting its due payables."""

    id: str = Field(examples=["dis_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["disbursement"] = "disbursement"
    party: str
    state: str
    amount: Minor
    currency: Currency
    due_date: date | None
    end_to_end_id: str | None = Field(description="the reference in the bank's line")
    payables: int | None = Field(None, description="how many payables it nets")
    created: Instant | None = None
    paid_at: Instant | None = None
    failure_reason: str | None = None

    @computed_field(description="path of its settlement statement, once it is paid")  # type: ignore[prop-decorator]
    @property
    def statement(self) -> str | None:
        """The path of the statement."""
        return f"/v1/disbursements/{self.id}/statement" if self.state in {"paid", "returned"} else None


class PayoutHoldSchema(PublicSchema):
    """Why a party's payouts are on hold: from `since` to before `until`, or until it is lifted."""

    id: str = Field(examples=["hld_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["payout_hold"] = "payout_hold"
    party: str
    reason: str
    since: date
    until: date | None
    placed_by: str = Field(description="the API key's principal, bank, or psp")
    lifted: Instant | None = None
    lifted_by: str | None = None


class BankDetailsSchema(PublicSchema):
    """A version of where a party is paid by bank. The IBAN is shown masked."""

    id: str = Field(examples=["NL-ABC/2"])
    object: Literal["bank_details"] = "bank_details"
    party: str
    version: int
    state: Literal["pending", "approved", "rejected", "retired"]
    name: str
    iban: str = Field(examples=["NL91...4300"])
    country: str = Field(description="of the account")
    bic: str | None
    reference: str | None
    submitted: Instant
    submitted_by: str
    decided: Instant | None = None
    decided_by: str | None = None


class BankMessageSchema(PublicSchema):
    """A status report or statement of the bank, and what it did."""

    id: str = Field(description="the SHA-256 of its bytes")
    object: Literal["bank_message"] = "bank_message"
    name: str
    kind: str = Field(examples=["camt.053"])
    state: Literal["imported", "rejected"]
    reason: str | None = Field(description="why it was rejected")
    settled: int
    rejected: int
    returned: int
    new_lines: int
    received: Instant
    repeated: bool = Field(
        default=False, description="true if the message was imported earlier; it changed nothing now"
    )


class EventFilterSchema(PublicSchema):
    """Which events an endpoint receives; an empty field allows all."""

    sessions: list[str] = Field(description="events of these sessions")
    evse_prefixes: list[str] = Field(
        description="events of sessions at EVSEs whose id begins like one of these", examples=[["DE*RHN*E1"]]
    )
    locations: list[str] = Field(description="events of sessions at these locations")
    metadata: dict[str, str] = Field(description="events of objects or sessions with these values")


class WebhookEndpointSchema(PublicSchema):
    """Where a party's events are sent."""

    id: str = Field(examples=["whe_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    events: list[str] = Field(description="event types, or * for all")
    filter: EventFilterSchema | None = Field(None, description="null: all events of these types")
    state: Literal["enabled", "disabled"]
    disabled_reason: str | None
    failing_since: Instant | None
    disables_at: Instant | None = Field(description="when it is disabled unless a delivery succeeds before")
    signature: Literal["v1", "v1a"] = Field(description="v1: shared secret; v1a: Ed25519, by its public key")
    public_key: str | None = Field(description="proves v1a signatures; null with v1")
    previous_public_key: str | None = Field(description="the public key before the last rotation")
    previous_key_until: Instant | None = Field(description="until when the key before signs as well")
    headers: dict[str, str] = Field(description="own headers by name; values are masked")
    api_version: str = Field(description="version of the objects that it is sent")
    created: Instant
    secret: str | None = Field(None, description="shared secret; only in the response that created it")


class EventSchema(PublicSchema):
    """A record of a change to one of your objects."""

    id: str = Field(examples=["evt_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["event"] = "event"
    type: str = Field(examples=["capture.succeeded"])
    api_version: str
    created: Instant
    timestamp: Instant | None = Field(None, description="in a webhook: the same as created")
    object_id: str
    data: dict[str, Any] = Field(description="the object at the time of the event")
