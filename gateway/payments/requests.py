"""What a caller requests of the payment services, and where they find a tariff.

Owns: the requests and the port to the public tariffs. Must not know: HTTP, SQL, what follows from a request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from gateway.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class PspMethod:
    """Pay by a tokenized payment method at the PSP."""

    payment_method: str
    customer: str | None = None
    off_session: bool = False
    return_url: str | None = None
    save: "SavedUse | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedUse:
    """The payment method is saved by this payment: for which `usage`, and where the consent is recorded."""

    usage: str  # off_session or on_session
    consent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerAccount:
    """Pay from a funded account: the caller's own, or that of `party_id` where a contract says so."""

    party_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the driver is expected to use: sets the hold."""

    energy_wh: int
    duration_s: int


class TariffUse(StrEnum):
    """Whose tariff is wanted: of a driver who pays on the spot, or of one with a contract (TariffType)."""

    AD_HOC = "ad_hoc"  # a card at a terminal, or behind a QR code
    CONTRACT = "contract"  # an app under a contract, a token, Plug & Charge


class ChargingProfile(StrEnum):
    """The charging preference that a driver asks for: its tariff comes before any other (ProfileType)."""

    CHEAP = "cheap"
    FAST = "fast"
    GREEN = "green"


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffChoice:
    """For which use a tariff is wanted, and for which preference, if any.

    `connector_id` is the CPO's own id of one connector of the EVSE; None: any that has a tariff.
    """

    use: TariffUse = TariffUse.AD_HOC
    profile: ChargingProfile | None = None
    connector_id: str | None = None

    @classmethod
    def of_method(cls, method: str, profile: ChargingProfile | None = None) -> "TariffChoice":
        """By authorization method: a card pays ad hoc, an app and a vehicle stand for a contract."""
        return cls(use=TariffUse.AD_HOC if method == "card" else TariffUse.CONTRACT, profile=profile)


ANY_DRIVER: Final = TariffChoice()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """Secure the payment of a session about to start.

    The same `authorization_id` is the same authorization. `reuses_recent`: what the same payment method
    authorized at the same EVSE a moment ago is answered instead of holding again, as the party's policy says.
    `amount_minor` overrides the estimate's hold; `max_amount_minor` bounds it (a contract's limit).
    `tariff` None: by the method. `started_at`: the session has begun already, by the tariff then in force;
    `by_whitelist`: without a request, because the CPO accepted the token by whitelist.
    `buyer_id` is the business of the party that the session is sold to.
    """

    authorization_id: UUID
    party_id: str
    evse_id: str
    method: str
    payment: PspMethod | PartnerAccount
    session_ref: str | None = None
    estimate: Estimate | None = None
    amount_minor: int | None = None
    max_amount_minor: int | None = None
    cpo_id: str | None = None
    tariff: TariffChoice | None = None
    receipt_email: str | None = None
    buyer_id: str | None = None
    started_at: datetime | None = None
    reuses_recent: bool = False
    by_whitelist: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def tariff_choice(self) -> TariffChoice:
        """Which of the charge point's tariffs the driver pays."""
        return TariffChoice.of_method(self.method) if self.tariff is None else self.tariff


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilter:
    """Which sessions are wanted; None leaves a field open. `metadata` pairs must all be there.

    Amounts are the price with VAT, in minor units; a session without a price has none. `decline_code` is of
    any authorization of the session.
    """

    state: str | None = None
    session_ref: str | None = None
    evse_id: str | None = None
    created_from: datetime | None = None  # inclusive, aware
    created_before: datetime | None = None  # exclusive, aware
    amount_min_minor: int | None = None
    amount_max_minor: int | None = None
    currency: str | None = None
    decline_code: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationFilter:
    """Which authorizations are wanted; None leaves a field open. Amounts are what is held, in minor units."""

    state: str | None = None
    method: str | None = None
    evse_id: str | None = None
    created_from: datetime | None = None  # inclusive, aware
    created_before: datetime | None = None  # exclusive, aware
    amount_min_minor: int | None = None
    amount_max_minor: int | None = None
    currency: str | None = None
    decline_code: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargePoint:
    """An EVSE as its CPO published it, with the tariff in force: raw OCPI bytes and their version.

    `ad_hoc_for_contract`: the only tariff in force for a driver with a contract was the ad hoc one.
    `max_power_w` is the connector's, `evse_power_w` the most of the EVSE's connectors, None where unknown.
    """

    cpo_id: str
    location_id: str
    evse_id: str
    time_zone: str
    country: str
    tax_jurisdiction: str
    max_power_w: int | None
    tariff_raw: bytes
    tariff_version: str
    ad_hoc_for_contract: bool = False
    evse_uid: str | None = None
    evse_power_w: int | None = None
    power_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvseUnknown:
    """No CPO has pushed that EVSE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffMissing:
    """The EVSE is known, but no tariff is in force for it."""

    cpo_id: str


class TariffSource(Protocol):
    """Where the public tariff of an EVSE comes from (the OCPI package)."""

    async def tariff_for(
        self,
        connection: Connection,
        *,
        evse_id: str,
        at: datetime,
        cpo_id: str | None = None,
        choice: TariffChoice = ANY_DRIVER,
    ) -> ChargePoint | EvseUnknown | TariffMissing:
        """The charge point and the tariff in force at `at` for the driver that `choice` describes."""
        ...
