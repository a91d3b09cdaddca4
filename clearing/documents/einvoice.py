"""An invoice as EN 16931 XML, in both of its syntaxes: UBL 2.1 and UN/CEFACT CII D16B.

Owns: the mapping of business terms (BT) to elements. Must not know: how totals came about, where it is sent.
Source: EN 16931-1 (semantic model), CEN/TS 16931-3-2 (UBL) and 16931-3-3 (CII).
"""

from datetime import date
from typing import Final
from xml.etree import ElementTree as ET  # only written here, never read: no foreign XML is parsed

from clearing.documents.invoice import DocumentType, Invoice, InvoiceLine, Side, VatGroup
from clearing.money import to_major
from clearing.tax.vat import Category

PROFILE: Final = "urn:cen.eu:en16931:2017"
UNIT: Final = "C62"  # one: a line is one supply over a period
_UBL: Final = "urn:oasis:names:specification:ubl:schema:xsd:"
_CBC: Final = f"{_UBL}CommonBasicComponents-2"
_CAC: Final = f"{_UBL}CommonAggregateComponents-2"
_CII: Final = "urn:un:unece:uncefact:data:standard:"
_RSM: Final = f"{_CII}CrossIndustryInvoice:100"
_RAM: Final = f"{_CII}ReusableAggregateBusinessInformationEntity:100"
_UDT: Final = f"{_CII}UnqualifiedDataType:100"


def ubl(invoice: Invoice, *, number: str, issued_on: date) -> bytes:
    """The document as UBL 2.1: an Invoice, or a CreditNote for type 381."""
    credit = invoice.type is DocumentType.CREDIT_NOTE
    name = "CreditNote" if credit else "Invoice"
    root = ET.Element(f"{{{_UBL}{name}-2}}{name}")
    _cbc(root, "CustomizationID", PROFILE)
    _cbc(root, "ID", number)
    _cbc(root, "IssueDate", issued_on.isoformat())
    _cbc(root, f"{name}TypeCode", str(int(invoice.type)))
    _cbc(root, "DocumentCurrencyCode", invoice.currency)
    period = _cac(root, "InvoicePeriod")
    _cbc(period, "StartDate", invoice.period_start.isoformat())
    _cbc(period, "EndDate", invoice.period_end.isoformat())
    for corrected in invoice.preceding:
        reference = _cac(_cac(root, "BillingReference"), "InvoiceDocumentReference")
        _cbc(reference, "ID", corrected)
    _ubl_party(
        root,
        "AccountingSupplierParty",
        invoice.supplier,
        None if invoice.outside_vat else invoice.supplier_vat_id,
    )
    _ubl_party(
        root,
        "AccountingCustomerParty",
        invoice.customer,
        None if invoice.outside_vat else invoice.customer_vat_id,
    )
    _cbc(_cac(root, "PaymentTerms"), "Note", invoice.terms)
    total = _cac(root, "TaxTotal")
    _ubl_amount(total, "TaxAmount", invoice.vat_minor, invoice)
    for group in invoice.groups:
        _ubl_group(total, group, invoice)
    _ubl_totals(root, invoice)
    for place, line in enumerate(invoice.lines, start=1):
        _ubl_line(root, place, line, invoice, credit=credit)
    return _text(root, {"cbc": _CBC, "cac": _CAC, "": f"{_UBL}{name}-2"})


def _ubl_party(root: ET.Element, role: str, party: Side, vat_id: str | None) -> None:
    node = _cac(_cac(root, role), "Party")
    address = _cac(node, "PostalAddress")
    _cbc(_cac(address, "Country"), "IdentificationCode", party.country)
    if vat_id is not None:
        scheme = _cac(node, "PartyTaxScheme")
        _cbc(scheme, "CompanyID", vat_id)
        _cbc(_cac(scheme, "TaxScheme"), "ID", "VAT")
    legal = _cac(node, "PartyLegalEntity")
    _cbc(legal, "RegistrationName", party.name)
    # BR-CO-26: a seller is identified by an id, its registration or its VAT id.
    _cbc(legal, "CompanyID", party.id)


def _ubl_group(total: ET.Element, group: VatGroup, invoice: Invoice) -> None:
    node = _cac(total, "TaxSubtotal")
    _ubl_amount(node, "TaxableAmount", group.net_minor, invoice)
    _ubl_amount(node, "TaxAmount", group.vat_minor, invoice)
    category = _cac(node, "TaxCategory")
    _cbc(category, "ID", group.category)
    if group.category is not Category.OUTSIDE:
        _cbc(category, "Percent", str(group.rate))
    if group.category is not Category.STANDARD:
        if group.exemption_code is not None:
            _cbc(category, "TaxExemptionReasonCode", group.exemption_code)
        _cbc(category, "TaxExemptionReason", group.reason)
    _cbc(_cac(category, "TaxScheme"), "ID", "VAT")


def _ubl_totals(root: ET.Element, invoice: Invoice) -> None:
    totals = _cac(root, "LegalMonetaryTotal")
    _ubl_amount(totals, "LineExtensionAmount", invoice.net_minor, invoice)
    _ubl_amount(totals, "TaxExclusiveAmount", invoice.net_minor, invoice)
    _ubl_amount(totals, "TaxInclusiveAmount", invoice.gross_minor, invoice)
    if invoice.paid_minor:
        _ubl_amount(totals, "PrepaidAmount", invoice.paid_minor, invoice)
    if invoice.rounding_minor:
        _ubl_amount(totals, "PayableRoundingAmount", invoice.rounding_minor, invoice)
    _ubl_amount(totals, "PayableAmount", invoice.due_minor - invoice.paid_minor, invoice)


def _ubl_line(root: ET.Element, place: int, line: InvoiceLine, invoice: Invoice, *, credit: bool) -> None:
    node = _cac(root, "CreditNoteLine" if credit else "InvoiceLine")
    _cbc(node, "ID", str(place))
    _cbc(node, "Note", line.remark)
    _cbc(node, "CreditedQuantity" if credit else "InvoicedQuantity", "1", unitCode=UNIT)
    _ubl_amount(node, "LineExtensionAmount", line.net_minor, invoice)
    item = _cac(node, "Item")
    _cbc(item, "Name", line.description)
    category = _cac(item, "ClassifiedTaxCategory")
    _cbc(category, "ID", line.category)
    if line.category is not Category.OUTSIDE:
        _cbc(category, "Percent", str(line.rate))
    _cbc(_cac(category, "TaxScheme"), "ID", "VAT")
    _ubl_amount(_cac(node, "Price"), "PriceAmount", line.net_minor, invoice)


def cii(invoice: Invoice, *, number: str, issued_on: date) -> bytes:
    """The document as a UN/CEFACT Cross Industry Invoice, the XML that Factur-X carries."""
    root = ET.Element(f"{{{_RSM}}}CrossIndustryInvoice")
    context = ET.SubElement(root, f"{{{_RSM}}}ExchangedDocumentContext")
    _ram(_ram(context, "GuidelineSpecifiedDocumentContextParameter"), "ID", PROFILE)
    document = ET.SubElement(root, f"{{{_RSM}}}ExchangedDocument")
    _ram(document, "ID", number)
    _ram(document, "TypeCode", str(int(invoice.type)))
    _cii_date(_ram(document, "IssueDateTime"), issued_on)
    trade = ET.SubElement(root, f"{{{_RSM}}}SupplyChainTradeTransaction")
    for place, line in enumerate(invoice.lines, start=1):
        _cii_line(trade, place, line, invoice)
    agreement = _ram(trade, "ApplicableHeaderTradeAgreement")
    _cii_party(
        agreement,
        "SellerTradeParty",
        invoice.supplier,
        None if invoice.outside_vat else invoice.supplier_vat_id,
    )
    _cii_party(
        agreement,
        "BuyerTradeParty",
        invoice.customer,
        None if invoice.outside_vat else invoice.customer_vat_id,
    )
    delivery = _ram(_ram(trade, "ApplicableHeaderTradeDelivery"), "ActualDeliverySupplyChainEvent")
    _cii_date(_ram(delivery, "OccurrenceDateTime"), invoice.period_end)
    _cii_settlement(trade, invoice)
    return _text(root, {"rsm": _RSM, "ram": _RAM, "udt": _UDT})


def _cii_line(trade: ET.Element, place: int, line: InvoiceLine, invoice: Invoice) -> None:
    node = _ram(trade, "IncludedSupplyChainTradeLineItem")
    document = _ram(node, "AssociatedDocumentLineDocument")
    _ram(document, "LineID", str(place))
    _ram(_ram(document, "IncludedNote"), "Content", line.remark)
    _ram(_ram(node, "SpecifiedTradeProduct"), "Name", line.description)
    price = _ram(_ram(node, "SpecifiedLineTradeAgreement"), "NetPriceProductTradePrice")
    _ram(price, "ChargeAmount", _major(line.net_minor, invoice))
    _ram(_ram(node, "SpecifiedLineTradeDelivery"), "BilledQuantity", "1", unitCode=UNIT)
    settlement = _ram(node, "SpecifiedLineTradeSettlement")
    tax = _ram(settlement, "ApplicableTradeTax")
    _ram(tax, "TypeCode", "VAT")
    _ram(tax, "CategoryCode", line.category)
    if line.category is not Category.OUTSIDE:
        _ram(tax, "RateApplicablePercent", str(line.rate))
    total = _ram(settlement, "SpecifiedTradeSettlementLineMonetarySummation")
    _ram(total, "LineTotalAmount", _major(line.net_minor, invoice))


def _cii_party(agreement: ET.Element, role: str, party: Side, vat_id: str | None) -> None:
    node = _ram(agreement, role)
    _ram(node, "Name", party.name)
    _ram(_ram(node, "SpecifiedLegalOrganization"), "ID", party.id)
    _ram(_ram(node, "PostalTradeAddress"), "CountryID", party.country)
    if vat_id is not None:
        _ram(_ram(node, "SpecifiedTaxRegistration"), "ID", vat_id, schemeID="VA")


def _cii_settlement(trade: ET.Element, invoice: Invoice) -> None:
    settlement = _ram(trade, "ApplicableHeaderTradeSettlement")
    _ram(settlement, "InvoiceCurrencyCode", invoice.currency)
    for group in invoice.groups:
        tax = _ram(settlement, "ApplicableTradeTax")
        _ram(tax, "CalculatedAmount", _major(group.vat_minor, invoice))
        _ram(tax, "TypeCode", "VAT")
        if group.category is not Category.STANDARD:
            _ram(tax, "ExemptionReason", group.reason)
        _ram(tax, "BasisAmount", _major(group.net_minor, invoice))
        _ram(tax, "CategoryCode", group.category)
        if group.category is not Category.STANDARD and group.exemption_code is not None:
            _ram(tax, "ExemptionReasonCode", group.exemption_code)
        if group.category is not Category.OUTSIDE:
            _ram(tax, "RateApplicablePercent", str(group.rate))
    period = _ram(settlement, "BillingSpecifiedPeriod")
    _cii_date(_ram(period, "StartDateTime"), invoice.period_start)
    _cii_date(_ram(period, "EndDateTime"), invoice.period_end)
    terms = _ram(settlement, "SpecifiedTradePaymentTerms")
    _ram(terms, "Description", invoice.terms)
    total = _ram(settlement, "SpecifiedTradeSettlementHeaderMonetarySummation")
    _ram(total, "LineTotalAmount", _major(invoice.net_minor, invoice))
    _ram(total, "TaxBasisTotalAmount", _major(invoice.net_minor, invoice))
    _ram(total, "TaxTotalAmount", _major(invoice.vat_minor, invoice), currencyID=invoice.currency)
    if invoice.rounding_minor:
        _ram(total, "RoundingAmount", _major(invoice.rounding_minor, invoice))
    _ram(total, "GrandTotalAmount", _major(invoice.gross_minor, invoice))
    if invoice.paid_minor:
        _ram(total, "TotalPrepaidAmount", _major(invoice.paid_minor, invoice))
    _ram(total, "DuePayableAmount", _major(invoice.due_minor - invoice.paid_minor, invoice))
    for corrected in invoice.preceding:
        _ram(_ram(settlement, "InvoiceReferencedDocument"), "IssuerAssignedID", corrected)


def _cii_date(parent: ET.Element, day: date) -> None:
    node = ET.SubElement(parent, f"{{{_UDT}}}DateTimeString", {"format": "102"})
    node.text = day.strftime("%Y%m%d")


def _ubl_amount(parent: ET.Element, name: str, minor: int, invoice: Invoice) -> None:
    _cbc(parent, name, _major(minor, invoice), currencyID=invoice.currency)


def _major(minor: int, invoice: Invoice) -> str:
    return f"{to_major(minor, invoice.currency):f}"


def _cbc(parent: ET.Element, name: str, text: str, **attributes: str) -> ET.Element:
    return _child(parent, _CBC, name, text, attributes)


def _cac(parent: ET.Element, name: str) -> ET.Element:
    return _child(parent, _CAC, name, None, {})


def _ram(parent: ET.Element, name: str, text: str | None = None, **attributes: str) -> ET.Element:
    return _child(parent, _RAM, name, text, attributes)


def _child(
    parent: ET.Element, space: str, name: str, text: str | None, attributes: dict[str, str]
) -> ET.Element:
    node = ET.SubElement(parent, f"{{{space}}}{name}", attributes)
    node.text = text
    return node


def _text(root: ET.Element, prefixes: dict[str, str]) -> bytes:
    for prefix, space in prefixes.items():
        ET.register_namespace(prefix, space)
    written: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return written
