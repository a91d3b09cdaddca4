"""What a caller asks of the payment service, and what it gets back.

Owns: the requests, the typed results and the error tree of this room. Must not know: HTTP status codes, SQL.

PaymentError                        a request that can't be carried out; the text says why and how to mend it
├── NotFoundError                   no such object, or not this party's
├── EvseNotFoundError               no CPO has pushed that EVSE
├── TariffMissingError              the EVSE has no tariff in force that prices anything
├── SessionAlreadyAuthorizedError   another authorization holds this session
├── SessionAlreadyCompletedError    a different CDR ended it
├── AccountLimitExceededError       the funded account can't bear the hold
├── VersionConflictError            the object changed since the caller read it
├── StateConflictError              the object's state does not allow that
├── CdrRefusedError                 the CDR can't be read or does not belong to this session
├── RefundBoundError                a refund of more than is left of the capture
├── InvalidOrderError               a field of the order is outside its bounds
└── PspUnavailableError             the PSP gave no answer; the same request again is safe
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from clearing.pricing.engine import PricedSession
from clearing.pricing.quote import Quote
from gateway.database import Connection
from gateway.payments.records import AuthorizationRecord, CaptureRecord, SessionRecord


class PaymentError(Exception):
    """Base of what this room refuses on purpose."""


class NotFoundError(PaymentError):
    """No such object, or not this party's: the same answer for both."""


class EvseNotFoundError(PaymentError):
    """No CPO has pushed that EVSE."""


class TariffMissingError(PaymentError):
    """The EVSE has no usable tariff in force."""


class SessionAlreadyAuthorizedError(PaymentError):
    """Another authorization holds this session."""


class SessionAlreadyCompletedError(PaymentError):
    """The session was ended by a different CDR."""


class AccountLimitExceededError(PaymentError):
    """The funded account can't bear the hold."""


class VersionConflictError(PaymentError):
    """The object changed since the caller read it."""


class StateConflictError(PaymentError):
    """The object's state does not allow that."""


class CdrRefusedError(PaymentError):
    """The CDR can't be read or does not belong to this session."""


class RefundBoundError(PaymentError):
    """A refund of more than is left of the capture."""


class InvalidOrderError(PaymentError):
    """A field of the order is outside its bounds."""


class PspUnavailableError(PaymentError):
    """The PSP gave no answer; the same request again is safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PspMethod:
    """Pay by a tokenized payment method at the PSP."""

    payment_method: str
    customer: str | None = None
    off_session: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerAccount:
    """Pay from a funded account: the caller's own, or that of `party_id` where a contract says so."""

    party_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the driver is expected to take: sets the hold."""

    energy_wh: int
    duration_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizeOrder:
    """Secure the payment of a session about to start.

    `authorization_id` is the caller's promise of idempotency: the same id is the same authorization.
    `amount_minor` overrides the estimate's hold; `max_amount_minor` bounds it (a contract's limit).
    """

    authorization_id: UUID
    party_id: str
    evse_id: str
    rail: str
    payment: PspMethod | PartnerAccount
    session_ref: str | None = None
    estimate: Estimate | None = None
    amount_minor: int | None = None
    max_amount_minor: int | None = None
    cpo_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationView:
    """An authorization with what the public object shows beside it."""

    authorization: AuthorizationRecord
    session: SessionRecord
    tariff_version: str
    tariff_display: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session with its current authorization and its capture."""

    session: SessionRecord
    authorization: AuthorizationRecord | None
    capture: CaptureRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """Which sessions are wanted; None leaves a field open. `metadata` pairs must all be there."""

    state: str | None = None
    session_ref: str | None = None
    evse_id: str | None = None
    created_from: datetime | None = None  # inclusive, aware
    created_before: datetime | None = None  # exclusive, aware
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceView:
    """A completed session's price, computed again from the stored originals."""

    session: SessionRecord
    priced: PricedSession


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargePoint:
    """An EVSE as its CPO published it, with the tariff in force: raw OCPI bytes and their version."""

    cpo_id: str
    location_id: str
    evse_id: str
    time_zone: str
    country: str
    territory: str
    max_power_w: int | None
    tariff_raw: bytes
    tariff_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteView:
    """An estimate before the start, by the tariff that an authorization would freeze now."""

    point: ChargePoint
    tariff_sha256: str
    tariff_display: Sequence[str]
    quote: Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class EvseUnknown:
    """No CPO has pushed that EVSE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffMissing:
    """The EVSE is known, but no tariff is in force for it."""

    cpo_id: str


class TariffSource(Protocol):
    """Where the public tariff of an EVSE comes from (the OCPI room)."""

    async def tariff_for(
        self, connection: Connection, *, evse_id: str, at: datetime, cpo_id: str | None = None
    ) -> ChargePoint | EvseUnknown | TariffMissing:
        """The charge point and the tariff in force at `at`."""
        ...
