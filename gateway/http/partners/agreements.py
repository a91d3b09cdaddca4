"""Agreements: which part of a session's net goes to whom.

Owns: the wire form. Must not know how a split is computed. A version never changes once it is stored.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.parties.agreement import (
    Agreement,
    Deficit,
    LegalModel,
    Role,
    Share,
    Terms,
    Tier,
    UnregisteredSeller,
    VatSource,
)
from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.models import CurrencyCode, NonNegativeMinor, Slug, Token
from gateway.http.problems import FieldError, ProblemError

_CREATED: Final = 201
DecimalText = Annotated[
    str,
    Field(pattern=r"^(0|[1-9][0-9]{0,6})(\.[0-9]{1,6})?$", description="decimal text", examples=["0.015"]),
]


class TierIn(WireModel):
    """From so many sessions of the month on, this many basis points."""

    from_sessions: int = Field(ge=1, le=10**9)
    basis_points: int = Field(ge=0, le=10_000)


class ShareIn(WireModel):
    """One role's part; the CPO gets what no share takes."""

    role: Role
    basis_points: int = Field(0, ge=0, le=10_000, description="of the session's net")
    fixed: NonNegativeMinor = Field(0, description="per session, minor units")
    per_kwh: DecimalText = Field("0", description="major units, decimal text")
    floor: NonNegativeMinor | None = None
    cap: NonNegativeMinor | None = None
    tiers: list[TierIn] = Field(default_factory=list, max_length=20)


class TermsIn(WireModel):
    """The money side."""

    legal_model: LegalModel
    currency: CurrencyCode
    shares: list[ShareIn] = Field(max_length=8)
    deficit: Deficit = Deficit.CAP
    psp_cost_bearer: Role = Role.PLATFORM
    refund_bearer: Role | None = Field(None, description="null: each party gives its own part back")
    dispute_bearer: Role | None = Field(None, description="null: each party gives its own part back")
    vat_source: VatSource = Field(
        VatSource.TERRITORY, description="whose rate splits the gross where the tariff's own VAT differs"
    )
    unregistered_seller: UnregisteredSeller = Field(
        UnregisteredSeller.FLAG,
        description="what happens while the seller has no VAT id of the charge point's territory",
    )
    fx_markup_bps: int = Field(0, ge=0, le=1000)


class AgreementIn(WireModel):
    """One version of an agreement."""

    id: Token
    version: int = Field(1, ge=1, le=10**6)
    cpo: Slug
    demand_partner: Slug | None = Field(None, description="null: every partner without one of its own")
    valid_from: objects.Instant
    valid_until: objects.Instant | None = None
    terms: TermsIn


class AgreementOut(objects.PublicObject):
    """A stored version."""

    id: str
    object: Literal["agreement"] = "agreement"
    version: int
    cpo: str
    demand_partner: str | None


async def create(call: Call) -> Answer:
    """Store a version; the same again changes nothing, another under its number is refused."""
    agreement = _agreement(call.body)
    async with transaction(call.services.pool) as connection:
        for pointer, party_id in (
            ("/cpo", agreement.cpo_id),
            ("/demand_partner", agreement.demand_partner_id),
        ):
            if party_id is not None and await call.services.clearing.party(connection, party_id) is None:
                raise _unknown(pointer, party_id)
        await call.services.clearing.put_agreement(connection, agreement, now=call.services.now())
    shown = AgreementOut(
        id=agreement.id,
        version=agreement.version,
        cpo=agreement.cpo_id,
        demand_partner=agreement.demand_partner_id,
    )
    return Answer(body=shown, status=_CREATED)


def _unknown(pointer: str, party_id: str) -> ProblemError:
    return ProblemError(
        problems.INVALID_PARAMETERS,
        f"{pointer}: there is no party {party_id}.",
        errors=[FieldError(pointer=pointer, expected="a party that was taken on")],
    )


def _agreement(body: AgreementIn) -> Agreement:
    terms = body.terms
    return Agreement(
        id=body.id,
        version=body.version,
        cpo_id=body.cpo,
        demand_partner_id=body.demand_partner,
        valid_from=body.valid_from,
        valid_until=body.valid_until,
        terms=Terms(
            legal_model=terms.legal_model,
            currency=terms.currency,
            shares=tuple(_share(share) for share in terms.shares),
            deficit=terms.deficit,
            psp_cost_bearer=terms.psp_cost_bearer,
            refund_bearer=terms.refund_bearer,
            dispute_bearer=terms.dispute_bearer,
            vat_source=terms.vat_source,
            unregistered_seller=terms.unregistered_seller,
            fx_markup_bps=terms.fx_markup_bps,
        ),
    )


def _share(share: ShareIn) -> Share:
    return Share(
        role=share.role,
        basis_points=share.basis_points,
        fixed_minor=share.fixed,
        per_kwh=Decimal(share.per_kwh),
        floor_minor=share.floor,
        cap_minor=share.cap,
        tiers=tuple(
            Tier(from_sessions=tier.from_sessions, basis_points=tier.basis_points) for tier in share.tiers
        ),
    )


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/agreements",
        operation="createAgreement",
        summary="Store a version of an agreement",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=create,
        body=AgreementIn,
        answers={201: AgreementOut},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.STATE_CONFLICT,),
    ),
)
