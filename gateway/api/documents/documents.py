"""Documents: what a driver gets for a session, and invoices between parties, as JSON, PDF or XML.

Owns: the wire form and whose documents are whose. Must not know what makes a document right.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.documents.document import DocumentSummary
from clearing.documents.driver_document_service import ReadDocument
from clearing.documents.invoice import DocumentType
from clearing.language import Language
from clearing.meter_data.evidence import MeterEvidence
from clearing.meter_data.findings import MeterVerdict
from clearing.meter_data.ocmf import OcmfReading
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, page
from gateway.api.field_types import MAX_PAGE
from gateway.api.problems import ProblemError
from gateway.documents.document_service import SessionReceipt
from gateway.ids import format_id
from gateway.schemas import api_schemas

_NAME_LENGTH: Final = 100
DocumentName = Annotated[str, Field(max_length=_NAME_LENGTH, pattern=r"^[A-Za-z0-9._-]+$")]
PartyDocumentType = Literal["invoice", "self_billed_invoice", "credit_note", "self_billed_credit_note"]
DriverDocumentType = Literal["invoice", "credit_note", "receipt", "refund_receipt"]


class FormatQuery(QueryModel):
    """How to show a document; `xml` is EN 16931 in UBL 2.1, an invoice's PDF carries its CII (Factur-X)."""

    format: Literal["json", "pdf", "xml"] = "json"
    language: Language = Language.ENGLISH


class ReceiptQuery(FormatQuery):
    """Which of a session's documents: by default what it was sold with; a credit note by its number.

    `meter_data` is what the meter signed, as the file of the S.A.F.E. transparency software.
    """

    format: Literal["json", "pdf", "xml", "meter_data"] = "json"  # type: ignore[assignment] # one more
    document: DocumentName | None = None


class DocumentsQuery(QueryModel):
    """A page of documents, the latest first."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: DocumentName | None = Field(None, description="`next_cursor` of the previous page")


class DriverDocumentSchema(api_schemas.PublicSchema):
    """A document for a driver. Amounts are positive; a credit note or refund receipt returns them."""

    object: Literal["driver_document"] = "driver_document"
    number: str = Field(examples=["DI-platform-000000001"])
    type: DriverDocumentType
    seller: str = Field(description="party id of the seller")
    seller_name: str
    seller_vat_id: str | None = Field(description="only on an invoice")
    buyer: str | None = Field(description="id of the business that is named; null: a driver by role")
    gross: api_schemas.Minor
    net: api_schemas.Minor | None = Field(description="null on a receipt, which shows no VAT")
    vat: api_schemas.Minor | None
    vat_rate: Decimal | None = Field(description="percent")
    currency: api_schemas.Currency
    energy_kwh: Decimal | None
    sale_day: date
    issued_on: date
    issued: api_schemas.Instant
    corrects: str | None = Field(description="number of the document that this one corrects")
    no_invoice_because: str | None = Field(description="why it is proof of payment only")


class MeterReadingSchema(api_schemas.PublicSchema):
    """One reading as the meter signed it."""

    value: str = Field(description="with the meter's own digits", examples=["2935.600"])
    unit: str = Field(description="kWh or Wh")
    at: api_schemas.Instant | None = Field(description="by the meter's clock; null where it has none")
    clock: str | None = Field(description="S synchronized, R relative, I informative, U unsynchronized")


class MeterEvidenceSchema(api_schemas.PublicSchema):
    """What the meter signed about a session; `?format=meter_data` is the record itself."""

    verdict: MeterVerdict = Field(description="under the keys that are registered now")
    meter: str = Field(description="serial number")
    begin: MeterReadingSchema = Field(description="at the start of the session")
    end: MeterReadingSchema = Field(description="at its end")
    energy_kwh: Decimal = Field(description="between both readings")
    url: str | None = Field(description="where the operator lets the driver check it")


class SessionReceiptSchema(api_schemas.PublicSchema):
    """A driver's documents for a session in the order of issue: the sale, then what corrects it."""

    object: Literal["session_receipt"] = "session_receipt"
    session: str
    documents: list[DriverDocumentSchema]
    meter: MeterEvidenceSchema | None = Field(description="null where no meter has signed the session")


class PartyDocumentSchema(api_schemas.PublicSchema):
    """An invoice, self-billed invoice or credit note between parties."""

    object: Literal["document"] = "document"
    id: str = Field(description="number of the document", examples=["SB-NL-ABC-V-000001"])
    type: PartyDocumentType
    supplier: str
    customer: str
    period_start: date
    period_end: date
    net: api_schemas.Minor
    vat: api_schemas.Minor
    gross: api_schemas.Minor
    currency: api_schemas.Currency
    issued: api_schemas.Instant


async def get_receipt(call: ApiRequest) -> ApiResponse:
    """A session's documents, or one of them as PDF or XML; or what its meter signed."""
    session_id = call.path_id("id", "ses")
    service = call.services.documents
    query: ReceiptQuery = call.query
    found = await service.get_receipt(
        session_id,
        party_id=call.caller.party_id,
        admin=call.caller.admin,
        with_documents=query.format != "meter_data",
    )
    if query.format == "meter_data":
        return _file(service.meter_data_xml(found), "xml", f"{format_id('ses', session_id)}-meter-data")
    if query.format == "json" and query.document is None:
        return ApiResponse(body=_session_receipt(found, found.documents))
    one = _chosen(found, query.document)
    if query.format == "json":
        return ApiResponse(body=_session_receipt(found, [one]))
    if query.format == "xml":
        return _file(await service.driver_xml(one), "xml", one.document.name)
    pdf = await service.driver_pdf(one, language=query.language, meter=found.meter)
    return _file(pdf, "pdf", one.document.name)


async def list_all(call: ApiRequest) -> ApiResponse:
    """The caller's documents, issued or received; the platform sees all."""
    query: DocumentsQuery = call.query
    found = await call.services.documents.list(
        party_id=_whose(call), before=query.cursor, limit=query.limit + 1
    )
    return ApiResponse(body=page([_party_document(one) for one in found], limit=query.limit))


async def get(call: ApiRequest) -> ApiResponse:
    """One document of the caller's."""
    found = await call.services.documents.get(call.path["number"], party_id=_whose(call))
    query: FormatQuery = call.query
    name = found.summary.number
    if query.format == "json":
        return ApiResponse(body=_party_document(found.summary))
    if query.format == "xml":
        return _file(found.ubl, "xml", name)
    return _file(await call.services.documents.pdf(found, language=query.language), "pdf", name)


def _whose(call: ApiRequest) -> str | None:
    return None if call.caller.admin else call.caller.party_id


def _chosen(receipt: SessionReceipt, name: str | None) -> ReadDocument:
    if name is None:
        return receipt.standing
    for one in receipt.documents:
        if name == one.document.name:
            return one
    raise ProblemError(problems.NOT_FOUND, "The session has no document of that number.")


def _file(content: bytes, kind: Literal["pdf", "xml"], name: str) -> ApiResponse:
    return ApiResponse(
        body=content,
        headers={
            "Content-Type": f"application/{kind}",
            "Content-Disposition": f'attachment; filename="{name}.{kind}"',
        },
    )


def _session_receipt(receipt: SessionReceipt, shown: Sequence[ReadDocument]) -> SessionReceiptSchema:
    return SessionReceiptSchema(
        session=format_id("ses", receipt.session_id),
        documents=[_driver_document(one) for one in shown],
        meter=_meter_evidence(receipt.meter),
    )


def _meter_evidence(meter: MeterEvidence | None) -> MeterEvidenceSchema | None:
    if meter is None or meter.check.measured is None:
        return None
    measured = meter.check.measured
    return MeterEvidenceSchema(
        verdict=meter.check.verdict,
        meter=measured.meter_serial,
        begin=_reading(measured.begin),
        end=_reading(measured.end),
        energy_kwh=measured.energy_kwh,
        url=meter.url,
    )


def _reading(reading: OcmfReading) -> MeterReadingSchema:
    return MeterReadingSchema(
        value=f"{reading.value:f}", unit=reading.unit or "", at=reading.at, clock=reading.clock
    )


def _driver_document(one: ReadDocument) -> DriverDocumentSchema:
    document, supply = one.document, one.document.supply
    shown = document.is_invoice
    kinds: tuple[DriverDocumentType, DriverDocumentType] = (
        ("invoice", "credit_note") if shown else ("receipt", "refund_receipt")
    )
    return DriverDocumentSchema(
        number=document.name,
        type=kinds[supply.gives_back],
        seller=document.seller.id,
        seller_name=document.seller.name,
        seller_vat_id=document.seller.vat_id if shown else None,
        buyer=None if document.charged.buyer is None else document.charged.buyer.id,
        gross=abs(supply.net_minor + supply.vat_minor),
        net=abs(supply.net_minor) if shown else None,
        vat=abs(supply.vat_minor) if shown else None,
        vat_rate=one.ruling.rate if shown else None,
        currency=supply.currency,
        energy_kwh=supply.energy_kwh,
        sale_day=supply.sale_day,
        issued_on=document.issued_on,
        issued=document.issued_at,
        corrects=document.preceding,
        no_invoice_because=document.no_invoice_because or None,
    )


_TYPES: Final[dict[DocumentType, PartyDocumentType]] = {
    DocumentType.INVOICE: "invoice",
    DocumentType.SELF_BILLED: "self_billed_invoice",
    DocumentType.CREDIT_NOTE: "credit_note",
    DocumentType.SELF_BILLED_CREDIT: "self_billed_credit_note",
}


def _party_document(one: DocumentSummary) -> PartyDocumentSchema:
    return PartyDocumentSchema(
        id=one.number,
        type=_TYPES[one.type],
        supplier=one.supplier_id,
        customer=one.customer_id,
        period_start=one.period_start,
        period_end=one.period_end,
        net=one.net_minor,
        vat=one.vat_minor,
        gross=one.gross_minor,
        currency=one.currency,
        issued=one.issued_at,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/sessions/{id}/receipt",
        operation="getSessionReceipt",
        summary="Get a session's receipt",
        description=(
            "The driver's invoice or receipt, and credit notes for refunds. ?format=pdf returns PDF/A-3b in "
            "`language` (an invoice contains its Factur-X XML), ?format=xml EN 16931 in UBL 2.1. The "
            "documents are issued within seconds after clearing; state_conflict until then. "
            "?format=meter_data returns what the meter signed, for the S.A.F.E. transparency software."
        ),
        tag="Documents",
        handler=get_receipt,
        query=ReceiptQuery,
        answers={200: SessionReceiptSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/documents",
        operation="listDocuments",
        summary="List invoices and credit notes",
        description=("Lists the documents that the caller issued or received."),
        tag="Documents",
        handler=list_all,
        query=DocumentsQuery,
        answers={200: PartyDocumentSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/documents/{number}",
        operation="getDocument",
        summary="Get an invoice or credit note",
        description=("?format=pdf returns Factur-X (PDF/A-3b with CII), ?format=xml EN 16931 in UBL 2.1."),
        tag="Documents",
        handler=get,
        query=FormatQuery,
        answers={200: PartyDocumentSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
