"""Parties: those that take part in sessions and are paid.

Owns: the wire form of a party. Must not know keys, agreements, or where a party is stored.
"""

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.language import Language
from clearing.parties.business_details import (
    BusinessAddress,
    BusinessContact,
    BusinessDetails,
    ElectronicAddress,
    InvoiceProfile,
)
from clearing.parties.party import DocumentCadence, Party, PartyKind, VatEvidence, VatRegistration
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import CurrencyCode, DayIn, Line, ListQuery, NonNegativeMinor, Slug, Token
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import own_party
from gateway.partners.party_service import PartyUpdate, PartyView
from gateway.schemas import api_schemas

_CREATED: Final = 201
# Fields of the body by those of a party's details: what is left out stays as it is.
_DETAILS: Final = {
    "address": "address",
    "tax_number": "tax_number",
    "register_number": "register_number",
    "contact": "contact",
    "electronic_address": "electronic_address",
    "buyer_reference": "buyer_reference",
    "invoice_profile": "invoice_profile",
    "document_language": "language",
}
TaxJurisdictionCode = Annotated[str, Field(pattern=r"^[A-Z0-9-]{2,16}$", examples=["NL"])]
VatId = Annotated[str, Field(pattern=r"^[A-Za-z0-9. -]{4,24}$", examples=["NL004495445B01"])]


class VatEvidenceBody(WireModel):
    """A register's finding about the VAT id."""

    effective_from: DayIn
    valid: bool
    source: Annotated[str, Field(min_length=1, max_length=40)] = "declared"
    reference: Annotated[str, Field(max_length=100)] = ""


class VatRegistrationBody(WireModel):
    """A registration for VAT outside the place of establishment."""

    tax_jurisdiction: TaxJurisdictionCode
    vat_id: VatId
    valid_from: DayIn
    valid_to: DayIn | None = Field(None, description="last day; null: no end")
    evidence: list[VatEvidenceBody] = Field(
        default_factory=list,
        max_length=50,
        description="empty: the platform declares it valid from valid_from, unless there is evidence "
        "of that id already",
    )


class PostalAddressBody(WireModel):
    """A postal address."""

    street: Line
    post_code: Annotated[str, Field(max_length=16)] = ""
    town: Line
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2", examples=["NL"])]


class BusinessContactBody(WireModel):
    """Who answers questions about invoices."""

    name: Line
    telephone: Annotated[
        str,
        Field(
            pattern=r"^[+0-9][0-9 ()/.-]{2,29}$",
            description="at least three digits",
            examples=["+31 20 123 4567"],
        ),
    ]
    email: Annotated[
        str,
        Field(
            max_length=254,
            pattern=r"^[^@\s]+@[^@\s]+$",
            description="where questions about invoices go",
            examples=["billing@example.com"],
        ),
    ]


class ElectronicAddressBody(WireModel):
    """Where electronic invoices are received."""

    scheme: Annotated[
        str, Field(pattern=r"^([0-9]{4}|[A-Z]{2})$", description="code of the EAS list", examples=["0088"])
    ]
    value: Annotated[
        str,
        Field(min_length=1, max_length=100, pattern=r"^\S+$", description="the address within the scheme"),
    ]


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
    self_billing_since: DayIn | None = None
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
    address: PostalAddressBody | None = Field(
        None, description="on its documents, which are not issued without it; left out: as before"
    )
    tax_number: Annotated[Line, Field(max_length=40)] | None = Field(
        None,
        description="the tax office's number, no VAT id; a small business without VAT id needs it; left out: "
        "as before",
    )
    register_number: Annotated[Line, Field(max_length=40)] | None = Field(
        None, description="number in the register of companies (KvK, SIREN, HRB); left out: as before"
    )
    contact: BusinessContactBody | None = Field(None, description="for XRechnung; left out: as before")
    electronic_address: ElectronicAddressBody | None = Field(
        None, description="for XRechnung and Peppol; left out: as before"
    )
    buyer_reference: Annotated[Line, Field(max_length=100)] | None = Field(
        None, description="what it wants to read on invoices to it; left out: as before"
    )
    invoice_profile: InvoiceProfile | None = Field(
        None, description="rules of the invoices that it receives; left out: as before (at first en16931)"
    )
    document_language: Language | None = Field(
        None, description="of the XML that it receives; left out: as before (at first by its country)"
    )


class PostalAddressSchema(api_schemas.PublicSchema):
    """A postal address."""

    street: str
    post_code: str
    town: str
    country: str = Field(description="ISO 3166-1 alpha-2")


class BusinessContactSchema(api_schemas.PublicSchema):
    """Who answers questions about invoices."""

    name: str
    telephone: str = Field(description="at least three digits")
    email: str = Field(description="where questions about invoices go")


class ElectronicAddressSchema(api_schemas.PublicSchema):
    """Where electronic invoices are received."""

    scheme: str = Field(description="code of the EAS list")
    value: str = Field(description="the address within the scheme")


class PartySchema(api_schemas.PublicSchema):
    """A party."""

    id: str
    object: Literal["party"] = "party"
    kind: str
    name: str
    address: PostalAddressSchema | None = Field(description="on its documents")
    tax_number: str | None = Field(description="the tax office's number, no VAT id")
    register_number: str | None = Field(description="number in the register of companies")
    contact: BusinessContactSchema | None = Field(description="for XRechnung")
    electronic_address: ElectronicAddressSchema | None = Field(description="for XRechnung and Peppol")
    buyer_reference: str | None = Field(description="what it wants to read on invoices to it")
    invoice_profile: InvoiceProfile = Field(description="rules of the invoices that it receives")
    document_language: Language | None = Field(description="null: that of its country")
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
    found = await call.services.parties.load_terms(own_party(call))
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
    return ApiResponse(body=_shown(await call.services.parties.get(own_party(call))))


async def list_all(call: ApiRequest) -> ApiResponse:
    """All parties by id; a party sees itself."""
    after, party_id = call.query.cursor or "", call.own_party
    if party_id is not None:
        own = [await call.services.parties.get(party_id)] if after < party_id else []
        return ApiResponse(body=page([_shown(party) for party in own], limit=call.query.limit))
    found = await call.services.parties.list(after=after, limit=call.query.limit + 1)
    return ApiResponse(body=page([_shown(party) for party in found], limit=call.query.limit))


def _shown(party: PartyView) -> PartySchema:
    details = party.details
    address, contact, electronic = details.address, details.contact, details.electronic_address
    return PartySchema(
        id=party.id,
        kind=party.kind,
        name=party.name,
        address=None if address is None else PostalAddressSchema(**asdict(address)),
        tax_number=details.tax_number,
        register_number=details.register_number,
        contact=None if contact is None else BusinessContactSchema(**asdict(contact)),
        electronic_address=None if electronic is None else ElectronicAddressSchema(**asdict(electronic)),
        buyer_reference=details.buyer_reference,
        invoice_profile=details.invoice_profile,
        document_language=details.language,
        created=party.created_at,
    )


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
            details=_details(body),
        ),
        keeps_registrations=body.vat_registrations is None,
        keeps_cadence=body.document_cadence is None,
        kept_details=tuple(of for name, of in _DETAILS.items() if getattr(body, name) is None),
        declared_vat_ids=tuple(
            _evidence(vat_id, VatEvidenceBody(effective_from=first_day, valid=True), now=now)
            for vat_id, findings, first_day in given
            if not findings
        ),
    )


def _details(body: CreatePartyBody) -> BusinessDetails:
    address, contact, electronic = body.address, body.contact, body.electronic_address
    return BusinessDetails(
        address=None if address is None else BusinessAddress(**address.model_dump()),
        tax_number=body.tax_number,
        register_number=body.register_number,
        contact=None if contact is None else BusinessContact(**contact.model_dump()),
        electronic_address=None if electronic is None else ElectronicAddress(**electronic.model_dump()),
        buyer_reference=body.buyer_reference,
        invoice_profile=body.invoice_profile or InvoiceProfile.EN16931,
        language=body.document_language,
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
        handler=get_vat,
        answers={200: PartyVatSchema},
        problems=(problems.NOT_FOUND,),
    ),
)
