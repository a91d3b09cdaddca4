"""Buyers: businesses in whose names the invoices of sessions are written; the buyer of a session.

Owns: the wire form. Must not know: VAT, what a document shows.
"""

from dataclasses import asdict
from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.language import Language
from clearing.parties.business_details import (
    BusinessAddress,
    BusinessDetails,
    ElectronicAddress,
    InvoiceProfile,
)
from clearing.parties.party import DocumentCadence, Party, PartyKind
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel, page
from gateway.api.field_types import MAX_PAGE, Line
from gateway.api.idempotency import KeyRule
from gateway.api.partners.parties import (
    ElectronicAddressBody,
    ElectronicAddressSchema,
    PostalAddressBody,
    PostalAddressSchema,
    TaxJurisdictionCode,
    VatId,
)
from gateway.ids import format_id
from gateway.partners.buyer_service import BuyerView
from gateway.schemas import api_schemas

_CREATED: Final = 201
_PLACEHOLDER_CURRENCY: Final = "EUR"  # the service sets that of the party whose buyer it is
BuyerId = Annotated[str, Field(pattern=r"^buy_[0-9a-z]{26}$", examples=["buy_01jd2w3x4y5z6a7b8c9d0e1f2g"])]
Invoicing = Literal["session", "monthly"]


class BuyerBody(WireModel):
    """A business that buys charging sessions. It is never changed: another address is another buyer."""

    name: Line = Field(description="the company, as invoices name it; not an employee")
    address: PostalAddressBody = Field(description="on its invoices")
    tax_jurisdiction: TaxJurisdictionCode | None = Field(
        None, description="of its place of establishment; the address's country unless it differs"
    )
    vat_id: VatId | None = Field(
        None, description="its check digits are checked; it counts once a register has found it valid"
    )
    reference: Annotated[Line, Field(max_length=100)] | None = Field(
        None, description="what it wants to read on its invoices"
    )
    invoicing: Invoicing = Field(
        "session", description="an invoice for each session, or one for each month with a receipt per session"
    )
    invoice_profile: InvoiceProfile = Field(
        InvoiceProfile.EN16931, description="rules of the invoices that it receives"
    )
    electronic_address: ElectronicAddressBody | None = Field(None, description="for XRechnung and Peppol")
    document_language: Language | None = Field(None, description="left out: that of its country")


class BuyerSchema(api_schemas.PublicSchema):
    """A business in whose name invoices of sessions are written."""

    id: str = Field(examples=["buy_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    object: Literal["buyer"] = "buyer"
    name: str
    address: PostalAddressSchema = Field(description="on its invoices")
    vat_id: str | None
    vat_id_valid: bool = Field(description="a register has found it valid, as of today")
    reference: str | None
    invoicing: Invoicing = Field(description="an invoice for each session, or one for each month")
    invoice_profile: InvoiceProfile = Field(description="rules of the invoices that it receives")
    electronic_address: ElectronicAddressSchema | None = Field(description="for XRechnung and Peppol")
    document_language: Language | None = Field(description="null: that of its country")
    created: api_schemas.Instant


class SessionBuyerBody(WireModel):
    """Who buys the session."""

    buyer: BuyerId = Field(description="a buyer of yours")


class BuyersQuery(QueryModel):
    """A page of buyers, newest first."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: BuyerId | None = Field(None, description="next_cursor of the page before")


async def create(call: ApiRequest) -> ApiResponse:
    """Create a buyer of the caller's."""
    buyer = buyer_party(call.body, buyer_id=format_id("buy", call.resource_id))
    view = await call.services.buyers.create(buyer, party_id=call.caller.party_id)
    shown = _shown(call, view)
    return ApiResponse(body=shown, status=_CREATED, headers={"Location": f"/v1/buyers/{shown.id}"})


async def get(call: ApiRequest) -> ApiResponse:
    """One buyer of the caller's."""
    view = await call.services.buyers.get(call.path["id"], party_id=call.caller.party_id)
    return ApiResponse(body=_shown(call, view))


async def list_all(call: ApiRequest) -> ApiResponse:
    """The caller's buyers, newest first."""
    query: BuyersQuery = call.query
    found = await call.services.buyers.list(
        party_id=call.caller.party_id, before=query.cursor, limit=query.limit + 1
    )
    return ApiResponse(body=page([_shown(call, one) for one in found], limit=query.limit))


async def set_session_buyer(call: ApiRequest) -> ApiResponse:
    """Name who buys a session."""
    view = await call.services.buyers.set_session_buyer(
        call.path_id("id", "ses"), call.body.buyer, party_id=call.caller.party_id
    )
    return ApiResponse(body=_shown(call, view))


def buyer_party(body: BuyerBody, *, buyer_id: str) -> Party:
    """The buyer that a body names, as clearing's party; the service adds what is its owner's."""
    electronic = body.electronic_address
    return Party(
        id=buyer_id,
        kind=PartyKind.BUYER,
        name=body.name,
        country=body.address.country,
        tax_jurisdiction=body.tax_jurisdiction or body.address.country,
        vat_id=body.vat_id,
        settlement_currency=_PLACEHOLDER_CURRENCY,
        time_zone="UTC",
        document_cadence=DocumentCadence(body.invoicing),
        details=BusinessDetails(
            address=BusinessAddress(**body.address.model_dump()),
            electronic_address=None if electronic is None else ElectronicAddress(**electronic.model_dump()),
            buyer_reference=body.reference,
            invoice_profile=body.invoice_profile,
            language=body.document_language,
        ),
    )


def _shown(call: ApiRequest, view: BuyerView) -> BuyerSchema:
    party, details = view.party, view.party.details
    address = details.address or BusinessAddress(country=party.country)
    electronic = details.electronic_address
    return BuyerSchema(
        id=party.id,
        name=party.name,
        address=PostalAddressSchema(**asdict(address)),
        vat_id=party.vat_id,
        vat_id_valid=party.vat_id_on(call.services.now().date()) is not None,
        reference=details.buyer_reference,
        invoicing="monthly" if party.document_cadence is DocumentCadence.MONTHLY else "session",
        invoice_profile=details.invoice_profile,
        electronic_address=None if electronic is None else ElectronicAddressSchema(**asdict(electronic)),
        document_language=details.language,
        created=view.created_at,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/buyers",
        operation="createBuyer",
        summary="Create a buyer",
        description="A buyer is a business, such as a fleet, in whose name the invoices of its sessions are "
        "written, with the VAT that applies to it. It belongs to your party.",
        tag="Documents",
        handler=create,
        body=BuyerBody,
        answers={201: BuyerSchema},
        located=True,
        key_rule=KeyRule.REQUIRED,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/buyers",
        operation="listBuyers",
        summary="List buyers",
        tag="Documents",
        handler=list_all,
        query=BuyersQuery,
        answers={200: BuyerSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/buyers/{id}",
        operation="getBuyer",
        summary="Get a buyer",
        tag="Documents",
        handler=get,
        answers={200: BuyerSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/sessions/{id}/set-buyer",
        operation="setSessionBuyer",
        summary="Set the buyer of a session",
        description="Names who buys the session. Once it is cleared, its document is cancelled by a credit "
        "note and issued anew in the buyer's name, and its VAT is booked again; the price stays. "
        "state_conflict where the payment is disputed or was given back, or the session is cancelled.",
        tag="Documents",
        handler=set_session_buyer,
        body=SessionBuyerBody,
        answers={200: BuyerSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
