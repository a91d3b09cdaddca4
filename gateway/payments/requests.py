"""What a caller requests of the payment services, and where they find a tariff.

Owns: the requests and the port to the public tariffs. Must not know: HTTP, SQL, what follows from a request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from gateway.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class PspMethod:
    """Pay by a tokenized payment method at the PSP."""

    payment_method: str
    customer: str | None = None
    off_session: bool = False
    return_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerAccount:
    """Pay from a funded account: the caller's own, or that of `party_id` where a contract says so."""

    party_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the driver is expected to use: sets the hold."""

    energy_wh: int
    duration_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """Secure the payment of a session about to start.

    The same `authorization_id` is the same authorization. `reuses_recent`: what the same payment method
    authorized at the same EVSE a moment ago is answered instead of holding again, as the party's policy says.
    `amount_minor` overrides the estimate's hold; `max_amount_minor` bounds it (a contract's limit).
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
    receipt_email: str | None = None
    reuses_recent: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)


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
class ChargePoint:
    """An EVSE as its CPO published it, with the tariff in force: raw OCPI bytes and their version."""

    cpo_id: str
    location_id: str
    evse_id: str
    time_zone: str
    country: str
    tax_jurisdiction: str
    max_power_w: int | None
    tariff_raw: bytes
    tariff_version: str


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
        self, connection: Connection, *, evse_id: str, at: datetime, cpo_id: str | None = None
    ) -> ChargePoint | EvseUnknown | TariffMissing:
        """The charge point and the tariff in force at `at`."""
        ...
