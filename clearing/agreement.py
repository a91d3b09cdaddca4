"""Agreements: who gets which part of a session's net, by which legal model, and who bears which cost.

Owns: the shape of terms, their validation, and reading them from JSON. Must not know: sessions, VAT, the store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from clearing.errors import InvalidAgreementError
from clearing.money import exponent

BASIS_POINTS: Final = 10_000
MAX_SHARES: Final = 8


class LegalModel(StrEnum):
    """Who sells to the driver."""

    RESELLER = "reseller"  # CPO sells to the platform, the platform sells to the driver, both in their own name
    DISCLOSED_AGENT = "disclosed_agent"  # the CPO sells to the driver; the platform's fee is its only revenue


class Role(StrEnum):
    """Whose share it is. The session says which party plays the role; the CPO gets what no share takes."""

    CPO = "cpo"
    PLATFORM = "platform"
    DEMAND_PARTNER = "demand_partner"
    EMSP = "emsp"
    SITE_HOST = "site_host"


class Deficit(StrEnum):
    """What happens when fees exceed the net: never a surprise, always agreed."""

    CAP = "cap"  # shares are cut to what is left, in order of deduction; the CPO gets nothing
    CARRY = "carry"  # the CPO's share turns negative and is netted against its later sales


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """From the `from_sessions`-th session of the month on, this many basis points."""

    from_sessions: int
    basis_points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One role's part: basis points of net + fixed per session + per kWh, then bounded by floor and cap.

    `fixed_minor`, `floor_minor` and `cap_minor` are minor units of the terms' currency; `per_kwh` is major units.
    """

    role: Role
    basis_points: int = 0
    fixed_minor: int = 0
    per_kwh: Decimal = Decimal(0)
    floor_minor: int | None = None
    cap_minor: int | None = None
    tiers: Sequence[Tier] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The money side of an agreement. Shares are deducted in their order; amounts are in `currency`."""

    legal_model: LegalModel
    currency: str
    shares: Sequence[Share]
    deficit: Deficit = Deficit.CAP
    psp_cost_bearer: Role = Role.PLATFORM
    refund_bearer: Role | None = None  # None: each party gives its share back
    dispute_bearer: Role | None = None
    self_billing: bool = True
    vat_source: str = "territory"  # which rate splits the gross: the territory's, or the tariff's own
    fx_markup_bps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A version of an agreement: valid from `valid_from` to before `valid_until` (both aware, at the sale).

    `demand_partner_id` None stands for every demand partner without an agreement of its own with this CPO.
    """

    id: str
    version: int
    cpo_id: str
    demand_partner_id: str | None = None
    valid_from: datetime
    valid_until: datetime | None = None
    terms: Terms
    extra: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.version < 1:
            raise InvalidAgreementError("$.version", f"{self.version} is not 1 or more")
        if self.valid_from.tzinfo is None or (self.valid_until is not None and self.valid_until.tzinfo is None):
            raise InvalidAgreementError("$.valid_from", "needs a time zone, for example 2026-01-01T00:00:00+01:00")
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise InvalidAgreementError("$.valid_until", "is not after valid_from")
        exponent(self.terms.currency)
