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
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import CurrencyCode, InstantIn, NonNegativeMinor, Slug, Token
from gateway.api.idempotency import KeyRule
from gateway.api.problems import FieldError, ProblemError
from gateway.partners.errors import UnknownAgreementPartyError
from gateway.schemas import api_schemas

_CREATED: Final = 201
DecimalText = Annotated[
    str,
    Field(pattern=r"^(0|[1-9][0-9]{0,6})(\.[0-9]{1,6})?$", description="decimal text", examples=["0.015"]),
]


class TierBody(WireModel):
    """The basis points that apply from a number of sessions per month."""

    from_sessions: int = Field(ge=1, le=10**9)
    basis_points: int = Field(ge=0, le=10_000)


class ShareBody(WireModel):
    """The share of one role. The CPO receives what remains."""

    role: Role
    basis_points: int = Field(0, ge=0, le=10_000, description="of the session's net")
    fixed: NonNegativeMinor = Field(0, description="per session, minor units")
    per_kwh: DecimalText = Field("0", description="major units, decimal text")
    floor: NonNegativeMinor | None = None
    cap: NonNegativeMinor | None = None
    tiers: list[TierBody] = Field(default_factory=list, max_length=20)


class TermsBody(WireModel):
    """The terms of payment."""

    legal_model: LegalModel
    currency: CurrencyCode
    shares: list[ShareBody] = Field(max_length=8)
    deficit: Deficit = Deficit.CAP
    psp_cost_charged_to: Role = Role.PLATFORM
    refund_charged_to: Role | None = Field(None, description="null: each party returns its own share")
    dispute_charged_to: Role | None = Field(None, description="null: each party returns its own share")
    vat_source: VatSource = Field(
        VatSource.TAX_JURISDICTION,
        description="whose rate splits the gross where the tariff's own VAT differs",
    )
    unregistered_seller: UnregisteredSeller = Field(
        UnregisteredSeller.FLAG,
        description="what happens while the seller has no VAT id of the charge point's tax_jurisdiction",
    )
    fx_markup_bps: int = Field(0, ge=0, le=1000)


class AgreementBody(WireModel):
    """One version of an agreement."""

    id: Token
    version: int = Field(1, ge=1, le=10**6)
    cpo: Slug
    demand_partner: Slug | None = Field(None, description="null: every partner without one of its own")
    valid_from: InstantIn
    valid_until: InstantIn | None = None
    terms: TermsBody


class AgreementSchema(api_schemas.PublicSchema):
    """A stored version of an agreement."""

    id: str
    object: Literal["agreement"] = "agreement"
    version: int
    cpo: str
    demand_partner: str | None


async def create(call: ApiRequest) -> ApiResponse:
    """Store a version; the same again changes nothing, another under its number is rejected."""
    agreement = _agreement(call.body)
    try:
        await call.services.agreements.create(agreement)
    except UnknownAgreementPartyError as error:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"/{error}.",
            errors=[FieldError(pointer=f"/{error.field}", expected="the id of a party")],
        ) from None
    shown = AgreementSchema(
        id=agreement.id,
        version=agreement.version,
        cpo=agreement.cpo_id,
        demand_partner=agreement.demand_partner_id,
    )
    return ApiResponse(body=shown, status=_CREATED)


def _agreement(body: AgreementBody) -> Agreement:
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
            psp_cost_charged_to=terms.psp_cost_charged_to,
            refund_charged_to=terms.refund_charged_to,
            dispute_charged_to=terms.dispute_charged_to,
            vat_source=terms.vat_source,
            unregistered_seller=terms.unregistered_seller,
            fx_markup_bps=terms.fx_markup_bps,
        ),
    )


def _share(share: ShareBody) -> Share:
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
    ApiEndpoint(
        method="POST",
        path="/v1/agreements",
        operation="createAgreement",
        summary="Create an agreement version",
        tag="Parties",
        handler=create,
        body=AgreementBody,
        answers={201: AgreementSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.STATE_CONFLICT,),
    ),
)
