"""Business terms of EN 16931 as a UN/CEFACT Cross Industry Invoice D16B.

Owns: the mapping of business terms (BT) to elements. Must not know: what a document is about.
Source: CEN/TS 16931-3-3.
"""

from datetime import date
from typing import Final
from xml.etree import ElementTree as ET  # only written here, never read: no foreign XML is parsed

from clearing.documents.semantic_model import SemanticGroup, SemanticInvoice, SemanticLine, SemanticParty
from clearing.documents.xml_text import serialize
from clearing.parties.business_details import BusinessAddress

_CII: Final = "urn:un:unece:uncefact:data:standard:"
_RSM: Final = f"{_CII}CrossIndustryInvoice:100"
_RAM: Final = f"{_CII}ReusableAggregateBusinessInformationEntity:100"
_UDT: Final = f"{_CII}UnqualifiedDataType:100"
_QDT: Final = f"{_CII}QualifiedDataType:100"


def write_cii(terms: SemanticInvoice) -> bytes:
    """The document as CII."""
    root = ET.Element(f"{{{_RSM}}}CrossIndustryInvoice")
    context = ET.SubElement(root, f"{{{_RSM}}}ExchangedDocumentContext")
    if terms.process is not None:
        _text(_node(context, "BusinessProcessSpecifiedDocumentContextParameter"), "ID", terms.process)
    _text(_node(context, "GuidelineSpecifiedDocumentContextParameter"), "ID", terms.customization)
    document = ET.SubElement(root, f"{{{_RSM}}}ExchangedDocument")
    _text(document, "ID", terms.number)
    _text(document, "TypeCode", str(terms.type_code))
    _day(_node(document, "IssueDateTime"), terms.issued_on)
    if terms.note:
        _text(_node(document, "IncludedNote"), "Content", terms.note)
    trade = ET.SubElement(root, f"{{{_RSM}}}SupplyChainTradeTransaction")
    for place, line in enumerate(terms.lines, start=1):
        _line(trade, place, line)
    agreement = _node(trade, "ApplicableHeaderTradeAgreement")
    _text(agreement, "BuyerReference", terms.buyer_reference)
    _party(agreement, "SellerTradeParty", terms.seller)
    _party(agreement, "BuyerTradeParty", terms.buyer)
    _delivery(_node(trade, "ApplicableHeaderTradeDelivery"), terms)
    _settlement(_node(trade, "ApplicableHeaderTradeSettlement"), terms)
    return serialize(root, {"rsm": _RSM, "ram": _RAM, "udt": _UDT, "qdt": _QDT})


def _line(trade: ET.Element, place: int, line: SemanticLine) -> None:
    node = _node(trade, "IncludedSupplyChainTradeLineItem")
    document = _node(node, "AssociatedDocumentLineDocument")
    _text(document, "LineID", str(place))
    if line.note:
        _text(_node(document, "IncludedNote"), "Content", line.note)
    _text(_node(node, "SpecifiedTradeProduct"), "Name", line.name)
    price = _node(_node(node, "SpecifiedLineTradeAgreement"), "NetPriceProductTradePrice")
    _text(price, "ChargeAmount", line.price)
    _text(_node(node, "SpecifiedLineTradeDelivery"), "BilledQuantity", line.quantity, unitCode=line.unit)
    settlement = _node(node, "SpecifiedLineTradeSettlement")
    tax = _node(settlement, "ApplicableTradeTax")
    _text(tax, "TypeCode", "VAT")
    _text(tax, "CategoryCode", line.category)
    _text(tax, "RateApplicablePercent", line.rate)
    _text(_node(settlement, "SpecifiedTradeSettlementLineMonetarySummation"), "LineTotalAmount", line.net)


def _party(agreement: ET.Element, role: str, side: SemanticParty) -> None:
    node = _node(agreement, role)
    _text(node, "ID", side.id)
    _text(node, "Name", side.name)
    if side.register_number:
        scheme = {} if side.register_scheme is None else {"schemeID": side.register_scheme}
        _text(_node(node, "SpecifiedLegalOrganization"), "ID", side.register_number, **scheme)
    if side.contact is not None:
        contact = _node(node, "DefinedTradeContact")
        _text(contact, "PersonName", side.contact.name)
        _text(_node(contact, "TelephoneUniversalCommunication"), "CompleteNumber", side.contact.telephone)
        _text(_node(contact, "EmailURIUniversalCommunication"), "URIID", side.contact.email)
    _address(_node(node, "PostalTradeAddress"), side.address)
    if side.electronic_address is not None:
        _text(
            _node(node, "URIUniversalCommunication"),
            "URIID",
            side.electronic_address.value,
            schemeID=side.electronic_address.scheme,
        )
    for number, scheme_id in ((side.vat_id, "VA"), (side.tax_number, "FC")):
        if number is not None:
            _text(_node(node, "SpecifiedTaxRegistration"), "ID", number, schemeID=scheme_id)


def _address(node: ET.Element, address: BusinessAddress) -> None:
    _text(node, "PostcodeCode", address.post_code)
    _text(node, "LineOne", address.street)
    _text(node, "CityName", address.town)
    _text(node, "CountryID", address.country)


def _delivery(delivery: ET.Element, terms: SemanticInvoice) -> None:
    if terms.delivery is not None:
        place = _node(delivery, "ShipToTradeParty")
        _text(place, "Name", terms.delivery_name)
        _address(_node(place, "PostalTradeAddress"), terms.delivery)
    event = _node(delivery, "ActualDeliverySupplyChainEvent")
    _day(_node(event, "OccurrenceDateTime"), terms.period[1])


def _settlement(settlement: ET.Element, terms: SemanticInvoice) -> None:
    _text(settlement, "TaxCurrencyCode", terms.tax_currency)
    _text(settlement, "InvoiceCurrencyCode", terms.currency)
    _text(_node(settlement, "SpecifiedTradeSettlementPaymentMeans"), "TypeCode", terms.payment_means)
    for group in terms.groups:
        _group(settlement, group)
    period = _node(settlement, "BillingSpecifiedPeriod")
    _day(_node(period, "StartDateTime"), terms.period[0])
    _day(_node(period, "EndDateTime"), terms.period[1])
    _text(_node(settlement, "SpecifiedTradePaymentTerms"), "Description", terms.terms)
    total = _node(settlement, "SpecifiedTradeSettlementHeaderMonetarySummation")
    _text(total, "LineTotalAmount", terms.net)
    _text(total, "TaxBasisTotalAmount", terms.net)
    _text(total, "TaxTotalAmount", terms.vat, currencyID=terms.currency)
    if terms.tax_currency is not None:
        _text(total, "TaxTotalAmount", terms.tax_vat, currencyID=terms.tax_currency)
    _text(total, "RoundingAmount", terms.rounding)
    _text(total, "GrandTotalAmount", terms.gross)
    _text(total, "TotalPrepaidAmount", terms.paid)
    _text(total, "DuePayableAmount", terms.due)
    for corrected in terms.preceding:
        reference = _node(settlement, "InvoiceReferencedDocument")
        _text(reference, "IssuerAssignedID", corrected.number)
        if corrected.issued_on is not None:
            _day(_node(reference, "FormattedIssueDateTime"), corrected.issued_on, space=_QDT)


def _group(settlement: ET.Element, group: SemanticGroup) -> None:
    tax = _node(settlement, "ApplicableTradeTax")
    _text(tax, "CalculatedAmount", group.vat)
    _text(tax, "TypeCode", "VAT")
    _text(tax, "ExemptionReason", group.reason)
    _text(tax, "BasisAmount", group.net)
    _text(tax, "CategoryCode", group.category)
    _text(tax, "ExemptionReasonCode", group.code)
    _text(tax, "RateApplicablePercent", group.rate)


def _day(parent: ET.Element, day: date, *, space: str = _UDT) -> None:
    ET.SubElement(parent, f"{{{space}}}DateTimeString", {"format": "102"}).text = day.strftime("%Y%m%d")


def _text(parent: ET.Element, name: str, text: str | None, **attributes: str) -> None:
    """A text, left out where there is none."""
    if text:
        ET.SubElement(parent, f"{{{_RAM}}}{name}", attributes).text = text


def _node(parent: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(parent, f"{{{_RAM}}}{name}")
