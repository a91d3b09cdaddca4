"""Parties: those that take part in sessions and are paid.

Owns: the wire form of a party. Must not know keys, agreements, or where a party is stored.
"""

from datetime import date, datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.parties.party import DocumentCadence, Party, PartyKind, VatEvidence, VatRegistration
from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import CurrencyCode, Line, ListQuery, NonNegativeMinor, Slug, Token
from gateway.api.idempotency import KeyRule
from gateway.partners.party_service import PartyUpdate, PartyView

_CREATED: Final = 201
TaxJurisdictionCode = Annotated[str, Field(pattern=r"^[A-Z0-9-]{2,16}$", examples=["NL"])]
VatId = Annotated[str, Field(pattern=r"^[A-Za-z0-9. -]{4,24}$", examples=["NL004495445B01"])]


class VatEvidenceBody(WireModel):
    """A register's finding about the VAT id."""

    effective_from: date
    valid: bool
    source: Annotated[str, Field(min_length=1, max_length=40)] = "declared"
    reference: Annotated[str, Field(max_length=100)] = ""


class VatRegistrationBody(WireModel):
    """A registration for VAT outside the place of establishment."""

    tax_jurisdiction: TaxJurisdictionCode
    vat_id: VatId
    valid_from: date
    valid_to: date | None = Field(None, description="last day; null: no end")
    evidence: list[VatEvidenceBody] = Field(
        default_factory=list,
        max_length=50,
        description="empty: the platform declares it valid from valid_from, unless there is evidence "
        "of that id already",
    )


class CreatePartyBody(WireModel):
    """A party to create, or to update."""

    id: Slug
    kind: Literal["cpo", "demand_partner", "emsp", "site_host", "platform"]
    name: Line
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2", examples=["NL"])]
    tax_jurisdiction: TaxJurisdictionCode | None = Field(
        None, description="tax jurisdiction of its place of establishment; the country unless it differs"
    )
    vat_id: VatId | None = Field(
        None, description="of the place of establishment; its check digits are checked"
    )
    vat_evidence: list[VatEvidenceBody] = Field(
        default_factory=list,
        max_length=50,
        description="about `vat_id`; empty: the platform declares it valid from today, unless "
        "there is evidence of that id already",
    )
    vat_registrations: list[VatRegistrationBody] | None = Field(
        None,
        max_length=50,
        description="registrations outside the place of establishment; left out: as before",
    )
    taxable_dealer: bool = Field(
        default=False, description="the party resells electricity (VAT directive art. 38)"
    )
    small_business: bool = False
    self_billing_since: date | None = None
    settlement_currency: CurrencyCode
    terms_days: int = Field(2, ge=0, le=60, description="paid so many clearing days after the sales day")
    time_zone: Annotated[str, Field(max_length=64, examples=["Europe/Amsterdam"])]
    cut_off_minute: int = Field(
        1440, ge=1, le=1440, description="end of the sales day, minutes from midnight"
    )
    minimum_payout: NonNegativeMinor = 0
    connected_account: Token | None = Field(None, description="the connected account at the PSP that is paid")
    document_cadence: DocumentCadence | None = Field(
        None,
        description="how many supplies an invoice between it and others covers; left out: as before "
        "(at first monthly)",
    )


class PartySchema(api_schemas.PublicSchema):
    """A party."""

    id: str
    object: Literal["party"] = "party"
    kind: str
    name: str
    created: api_schemas.Instant


class VatFindingSchema(api_schemas.PublicSchema):
    """Whether a VAT id was valid, from which day, and by which register."""

    effective_from: date
    valid: bool
    source: str
    reference: str = Field(description="the consultation number that a register gave")
    checked: api_schemas.Instant


class VatIdSchema(api_schemas.PublicSchema):
    """A party's VAT id in canonical form, with its evidence, the oldest first."""

    tax_jurisdiction: str
    vat_id: str
    of_establishment: bool
    valid_from: date | None
    valid_to: date | None
    evidence: list[VatFindingSchema]


class PartyVatSchema(api_schemas.PublicSchema):
    """A party's VAT registration."""

    object: Literal["party_vat"] = "party_vat"
    party: str
    ids: list[VatIdSchema]


async def create(call: ApiRequest) -> ApiResponse:
    """Create a party; the same id again renews its terms, but never its kind."""
    stored = await call.services.parties.save(
        _update(call.body, now=call.services.now()), key=call.caller.key
    )
    return ApiResponse(body=_shown(stored), status=_CREATED, headers={"Location": f"/v1/parties/{stored.id}"})


async def get_vat(call: ApiRequest) -> ApiResponse:
    """A party's VAT ids and the registers' findings."""
    found = await call.services.parties.load_terms(call.path["id"])
    ids = (
        []
        if found.vat_id is None
        else [_vat_id(found, found.tax_jurisdiction, found.vat_id, registration=None)]
    )
    ids += [
        _vat_id(found, one.tax_jurisdiction, one.vat_id, registration=one) for one in found.vat_registrations
    ]
    return ApiResponse(body=PartyVatSchema(party=found.id, ids=ids))


def _vat_id(
    party: Party, tax_jurisdiction: str, vat_id: str, *, registration: VatRegistration | None
) -> VatIdSchema:
    return VatIdSchema(
        tax_jurisdiction=tax_jurisdiction,
        vat_id=vat_id,
        of_establishment=registration is None,
        valid_from=None if registration is None else registration.valid_from,
        valid_to=None if registration is None else registration.valid_to,
        evidence=[
            VatFindingSchema(
                effective_from=one.effective_from,
                valid=one.valid,
                source=one.source,
                reference=one.reference,
                checked=one.checked_at,
            )
            for one in sorted(party.vat_evidence, key=lambda one: (one.effective_from, one.checked_at))
            if one.vat_id == vat_id
        ],
    )


async def get(call: ApiRequest) -> ApiResponse:
    """One party."""
    return ApiResponse(body=_shown(await call.services.parties.get(call.path["id"])))


async def list_all(call: ApiRequest) -> ApiResponse:
    """All parties by id."""
    found = await call.services.parties.list(after=call.query.cursor or "", limit=call.query.limit + 1)
    return ApiResponse(body=page([_shown(party) for party in found], limit=call.query.limit))


def _shown(party: PartyView) -> PartySchema:
    return PartySchema(id=party.id, kind=party.kind, name=party.name, created=party.created_at)


def _update(body: CreatePartyBody, *, now: datetime) -> PartyUpdate:
    registrations = body.vat_registrations or ()
    given = [] if body.vat_id is None else [(body.vat_id, body.vat_evidence, now.date())]
    given += [(one.vat_id, one.evidence, one.valid_from) for one in registrations]
    return PartyUpdate(
        party=Party(
            id=body.id,
            kind=PartyKind(body.kind),
            name=body.name,
            country=body.country,
            tax_jurisdiction=body.tax_jurisdiction or body.country,
            vat_id=body.vat_id,
            vat_registrations=tuple(
                VatRegistration(
                    tax_jurisdiction=one.tax_jurisdiction,
                    vat_id=one.vat_id,
                    valid_from=one.valid_from,
                    valid_to=one.valid_to,
                )
                for one in registrations
            ),
            vat_evidence=tuple(
                _evidence(vat_id, finding, now=now) for vat_id, findings, _ in given for finding in findings
            ),
            taxable_dealer=body.taxable_dealer,
            small_business=body.small_business,
            self_billing_since=body.self_billing_since,
            settlement_currency=body.settlement_currency,
            terms_days=body.terms_days,
            time_zone=body.time_zone,
            cut_off_minute=body.cut_off_minute,
            minimum_payout_minor=body.minimum_payout,
            connected_account=body.connected_account,
            document_cadence=body.document_cadence or DocumentCadence.MONTHLY,
        ),
        keeps_registrations=body.vat_registrations is None,
        keeps_cadence=body.document_cadence is None,
        declared_vat_ids=tuple(
            _evidence(vat_id, VatEvidenceBody(effective_from=first_day, valid=True), now=now)
            for vat_id, findings, first_day in given
            if not findings
        ),
    )


def _evidence(vat_id: str, finding: VatEvidenceBody, *, now: datetime) -> VatEvidence:
    return VatEvidence(
        effective_from=finding.effective_from,
        vat_id=vat_id,
        valid=finding.valid,
        source=finding.source,
        reference=finding.reference,
        checked_at=now,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/parties",
        operation="createParty",
        summary="Create a party",
        description=(
            "The same id again updates the party's terms. Another connected account puts its payouts on hold "
            "until another principal lifts the hold."
        ),
        tag="Parties",
        scope=Scope.ADMIN,
        handler=create,
        body=CreatePartyBody,
        answers={201: PartySchema},
        located=True,
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.ALREADY_EXISTS,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties",
        operation="listParties",
        summary="List parties",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=list_all,
        query=ListQuery,
        answers={200: PartySchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}",
        operation="getParty",
        summary="Get a party",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=get,
        answers={200: PartySchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/vat",
        operation="getPartyVat",
        summary="Get a party's VAT ids",
        description=(
            "Each VAT id with its evidence: the register's finding, its day and its consultation number. A "
            "finding applies to supplies from its first day on."
        ),
        tag="Parties",
        scope=Scope.ADMIN,
        handler=get_vat,
        answers={200: PartyVatSchema},
        problems=(problems.NOT_FOUND,),
    ),
)
