"""Agreements: who gets which part of a session's net, by which legal model, and to whom costs are charged.

Owns: the shape of terms, their validation, and reading them from JSON. Must not know: sessions, VAT, the
store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from clearing.errors import InvalidAgreementError
from clearing.money import exponent

BASIS_POINTS: Final = 10_000
MAX_SHARES: Final = 8
MAX_MARKUP_BPS: Final = 1000


class LegalModel(StrEnum):
    """Who sells to the driver."""

    RESELLER = (
        "reseller"  # CPO sells to the platform, the platform sells to the driver, both in their own name
    )
    DISCLOSED_AGENT = "disclosed_agent"  # the CPO sells to the driver; the platform's fee is its only revenue


class Role(StrEnum):
    """The role that receives a share. The session determines the party; the CPO receives what remains."""

    CPO = "cpo"
    PLATFORM = "platform"
    DEMAND_PARTNER = "demand_partner"
    EMSP = "emsp"
    SITE_HOST = "site_host"


class Deficit(StrEnum):
    """Who bears the deficit if fees exceed a session's net."""

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

    `fixed_minor`, `floor_minor` and `cap_minor` are minor units of the terms' currency; `per_kwh` is major
    units.
    """

    role: Role
    basis_points: int = 0
    fixed_minor: int = 0
    per_kwh: Decimal = Decimal(0)
    floor_minor: int | None = None
    cap_minor: int | None = None
    tiers: Sequence[Tier] = ()


class VatSource(StrEnum):
    """The VAT rate that applies if the tariff's rate and the tax jurisdiction's rate differ.

    The case is flagged.
    """

    TAX_JURISDICTION = "tax_jurisdiction"
    TARIFF = "tariff"


class UnregisteredSeller(StrEnum):
    """What happens to a sale whose seller has no proven VAT id in the charge point's tax jurisdiction."""

    FLAG = "flag"  # cleared and flagged: the VAT is set aside, the driver gets a receipt and no invoice
    EXCEPTION = "exception"  # waits, with the reason, until the registration is entered


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The money side of an agreement. Shares are deducted in their order; fixed amounts are in `currency`.

    A role that no party plays in a session is replaced by the platform. `refund_charged_to` and
    `dispute_charged_to`
    None mean that each party returns its own part; otherwise the others keep theirs, and the VAT stays
    with the seller, who owes it. Raises InvalidAgreementError with the field's path.
    """

    legal_model: LegalModel
    currency: str
    shares: Sequence[Share]
    deficit: Deficit = Deficit.CAP
    psp_cost_charged_to: Role = Role.PLATFORM
    refund_charged_to: Role | None = None
    dispute_charged_to: Role | None = None
    vat_source: VatSource = VatSource.TAX_JURISDICTION
    unregistered_seller: UnregisteredSeller = UnregisteredSeller.FLAG
    fx_markup_bps: int = 0

    @property
    def tiered(self) -> bool:
        """Whether the month's volume matters."""
        return any(share.tiers for share in self.shares)

    def __post_init__(self) -> None:
        exponent(self.currency)
        if not 0 <= self.fx_markup_bps <= MAX_MARKUP_BPS:
            raise InvalidAgreementError(
                "$.terms.fx_markup_bps", f"{self.fx_markup_bps} is not within 0 to {MAX_MARKUP_BPS}"
            )
        if len(self.shares) > MAX_SHARES:
            raise InvalidAgreementError(
                "$.terms.shares", f"{len(self.shares)} shares; at most {MAX_SHARES} are supported"
            )
        seen: set[Role] = set()
        for place, share in enumerate(self.shares):
            path = f"$.terms.shares[{place}]"
            _check_share(share, path)
            if share.role in seen:
                raise InvalidAgreementError(
                    f"{path}.role", f"{share.role} has two shares; add them up in one"
                )
            seen.add(share.role)
        if total_basis_points(self.shares) > BASIS_POINTS:
            raise InvalidAgreementError(
                "$.terms.shares",
                f"{total_basis_points(self.shares)} basis points are more than the whole of 10000",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A version of an agreement: valid from `valid_from` to before `valid_until` (both aware, at the sale).

    `demand_partner_id` None means every demand partner without an agreement of its own with this CPO.
    Raises InvalidAgreementError with the field's path.
    """

    id: str
    version: int
    cpo_id: str
    demand_partner_id: str | None = None
    valid_from: datetime
    valid_until: datetime | None = None
    terms: Terms

    def __post_init__(self) -> None:
        if not self.id:
            raise InvalidAgreementError("$.id", "is empty")
        if self.version < 1:
            raise InvalidAgreementError("$.version", f"{self.version} is not 1 or more")
        for name, value in (("valid_from", self.valid_from), ("valid_until", self.valid_until)):
            if value is not None and value.tzinfo is None:
                raise InvalidAgreementError(
                    f"$.{name}", "needs a time zone, for example 2026-01-01T00:00:00+01:00"
                )
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise InvalidAgreementError("$.valid_until", "is not after valid_from")

    def covers(self, at: datetime) -> bool:
        """Whether it is in force for a sale at `at`."""
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)


def choose(agreements: Sequence[Agreement], *, demand_partner_id: str, at: datetime) -> Agreement | None:
    """The agreement of one CPO that binds a sale.

    The partner's own before the general one, then the latest version.

    Of two agreements with different ids the one that began later binds.
    """
    in_force = [
        agreement
        for agreement in agreements
        if agreement.covers(at) and agreement.demand_partner_id in (demand_partner_id, None)
    ]
    if not in_force:
        return None
    return max(
        in_force,
        key=lambda agreement: (
            agreement.demand_partner_id is not None,
            agreement.valid_from,
            agreement.version,
            agreement.id,
        ),
    )


def total_basis_points(shares: Sequence[Share]) -> int:
    """The most that percentages can take of one session, every tier at its highest."""
    return sum(max([share.basis_points, *(tier.basis_points for tier in share.tiers)]) for share in shares)


def _check_share(share: Share, path: str) -> None:
    if share.role is Role.CPO:
        raise InvalidAgreementError(
            f"{path}.role", "the CPO gets what the other shares leave; it has no share of its own"
        )
    for name, points in (
        ("basis_points", share.basis_points),
        *((f"tiers[{place}]", tier.basis_points) for place, tier in enumerate(share.tiers)),
    ):
        if not 0 <= points <= BASIS_POINTS:
            raise InvalidAgreementError(f"{path}.{name}", f"{points} is not within 0 to {BASIS_POINTS}")
    for name, minor in (
        ("fixed_minor", share.fixed_minor),
        ("floor_minor", share.floor_minor),
        ("cap_minor", share.cap_minor),
    ):
        if minor is not None and minor < 0:
            raise InvalidAgreementError(f"{path}.{name}", f"{minor} is negative")
    if not share.per_kwh.is_finite() or share.per_kwh < 0:
        raise InvalidAgreementError(f"{path}.per_kwh", f"{share.per_kwh} is not a price of 0 or more")
    if share.floor_minor is not None and share.cap_minor is not None and share.floor_minor > share.cap_minor:
        raise InvalidAgreementError(
            f"{path}.floor_minor", f"the floor {share.floor_minor} is above the cap {share.cap_minor}"
        )
    starts = [tier.from_sessions for tier in share.tiers]
    if starts != sorted(set(starts)) or any(start < 1 for start in starts):
        raise InvalidAgreementError(f"{path}.tiers", "from_sessions must rise from tier to tier, from 1 on")
