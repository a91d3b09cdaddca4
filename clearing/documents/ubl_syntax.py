"""Business terms of EN 16931 as UBL 2.1: an Invoice or a CreditNote.

Owns: the mapping of business terms (BT) to elements. Must not know: what a document is about.
Source: CEN/TS 16931-3-2.
"""

from typing import Final
from xml.etree import ElementTree as ET  # only written here, never read: no foreign XML is parsed

from clearing.documents.semantic_model import SemanticGroup, SemanticInvoice, SemanticLine, SemanticParty
from clearing.documents.xml_text import serialize
from clearing.parties.business_details import BusinessAddress

_UBL: Final = "urn:oasis:names:specification:ubl:schema:xsd:"
_CBC: Final = f"{_UBL}CommonBasicComponents-2"
_CAC: Final = f"{_UBL}CommonAggregateComponents-2"
_NO_VAT_SCHEME: Final = "FC"  # of a tax number that is no VAT id (BT-32)


def write_ubl(terms: SemanticInvoice) -> bytes:
    """The document as UBL."""
    name = "CreditNote" if terms.credit else "Invoice"
    root = ET.Element(f"{{{_UBL}{name}-2}}{name}")
    _cbc(root, "CustomizationID", terms.customization)
    _cbc(root, "ProfileID", terms.process)
    _cbc(root, "ID", terms.number)
    _cbc(root, "IssueDate", terms.issued_on.isoformat())
    _cbc(root, f"{name}TypeCode", str(terms.type_code))
    _cbc(root, "Note", terms.note)
    _cbc(root, "DocumentCurrencyCode", terms.currency)
    _cbc(root, "TaxCurrencyCode", terms.tax_currency)
    _cbc(root, "BuyerReference", terms.buyer_reference)
    period = _cac(root, "InvoicePeriod")
    _cbc(period, "StartDate", terms.period[0].isoformat())
    _cbc(period, "EndDate", terms.period[1].isoformat())
    for corrected in terms.preceding:
        reference = _cac(_cac(root, "BillingReference"), "InvoiceDocumentReference")
        _cbc(reference, "ID", corrected.number)
        if corrected.issued_on is not None:
            _cbc(reference, "IssueDate", corrected.issued_on.isoformat())
    _party(root, "AccountingSupplierParty", terms.seller)
    _party(root, "AccountingCustomerParty", terms.buyer)
    _delivery(root, terms)
    _cbc(_cac(root, "PaymentMeans"), "PaymentMeansCode", terms.payment_means)
    _cbc(_cac(root, "PaymentTerms"), "Note", terms.terms)
    total = _cac(root, "TaxTotal")
    _amount(total, "TaxAmount", terms.vat, terms.currency)
    for group in terms.groups:
        _group(total, group, terms)
    if terms.tax_currency is not None:
        _amount(_cac(root, "TaxTotal"), "TaxAmount", terms.tax_vat, terms.tax_currency)
    _totals(root, terms)
    for place, line in enumerate(terms.lines, start=1):
        _line(root, place, line, terms)
    return serialize(root, {"cbc": _CBC, "cac": _CAC, "": f"{_UBL}{name}-2"})


def _party(root: ET.Element, role: str, side: SemanticParty) -> None:
    party = _cac(_cac(root, role), "Party")
    if side.electronic_address is not None:
        _cbc(party, "EndpointID", side.electronic_address.value, schemeID=side.electronic_address.scheme)
    _cbc(_cac(party, "PartyIdentification"), "ID", side.id)
    _cbc(_cac(party, "PartyName"), "Name", side.name)
    _address(_cac(party, "PostalAddress"), side.address)
    for number, tax_scheme in ((side.vat_id, "VAT"), (side.tax_number, _NO_VAT_SCHEME)):
        if number is not None:
            tax = _cac(party, "PartyTaxScheme")
            _cbc(tax, "CompanyID", number)
            _cbc(_cac(tax, "TaxScheme"), "ID", tax_scheme)
    entity = _cac(party, "PartyLegalEntity")
    _cbc(entity, "RegistrationName", side.name)
    scheme = {} if side.register_scheme is None else {"schemeID": side.register_scheme}
    _cbc(entity, "CompanyID", side.register_number, **scheme)
    if side.contact is not None:
        contact = _cac(party, "Contact")
        _cbc(contact, "Name", side.contact.name)
        _cbc(contact, "Telephone", side.contact.telephone)
        _cbc(contact, "ElectronicMail", side.contact.email)


def _address(node: ET.Element, address: BusinessAddress) -> None:
    _cbc(node, "StreetName", address.street)
    _cbc(node, "CityName", address.town)
    _cbc(node, "PostalZone", address.post_code)
    _cbc(_cac(node, "Country"), "IdentificationCode", address.country)


def _delivery(root: ET.Element, terms: SemanticInvoice) -> None:
    if terms.delivery is None:
        return
    node = _cac(root, "Delivery")
    _cbc(node, "ActualDeliveryDate", terms.period[1].isoformat())
    _address(_cac(_cac(node, "DeliveryLocation"), "Address"), terms.delivery)
    if terms.delivery_name:
        _cbc(_cac(_cac(node, "DeliveryParty"), "PartyName"), "Name", terms.delivery_name)


def _group(total: ET.Element, group: SemanticGroup, terms: SemanticInvoice) -> None:
    node = _cac(total, "TaxSubtotal")
    _amount(node, "TaxableAmount", group.net, terms.currency)
    _amount(node, "TaxAmount", group.vat, terms.currency)
    category = _cac(node, "TaxCategory")
    _cbc(category, "ID", group.category)
    _cbc(category, "Percent", group.rate)
    _cbc(category, "TaxExemptionReasonCode", group.code)
    _cbc(category, "TaxExemptionReason", group.reason)
    _cbc(_cac(category, "TaxScheme"), "ID", "VAT")


def _totals(root: ET.Element, terms: SemanticInvoice) -> None:
    totals = _cac(root, "LegalMonetaryTotal")
    for name, amount in (
        ("LineExtensionAmount", terms.net),
        ("TaxExclusiveAmount", terms.net),
        ("TaxInclusiveAmount", terms.gross),
        ("PrepaidAmount", terms.paid),
        ("PayableRoundingAmount", terms.rounding),
        ("PayableAmount", terms.due),
    ):
        _amount(totals, name, amount, terms.currency)


def _line(root: ET.Element, place: int, line: SemanticLine, terms: SemanticInvoice) -> None:
    node = _cac(root, "CreditNoteLine" if terms.credit else "InvoiceLine")
    _cbc(node, "ID", str(place))
    _cbc(node, "Note", line.note)
    quantity = "CreditedQuantity" if terms.credit else "InvoicedQuantity"
    _cbc(node, quantity, line.quantity, unitCode=line.unit)
    _amount(node, "LineExtensionAmount", line.net, terms.currency)
    item = _cac(node, "Item")
    _cbc(item, "Name", line.name)
    category = _cac(item, "ClassifiedTaxCategory")
    _cbc(category, "ID", line.category)
    _cbc(category, "Percent", line.rate)
    _cbc(_cac(category, "TaxScheme"), "ID", "VAT")
    _amount(_cac(node, "Price"), "PriceAmount", line.price, terms.currency)


def _amount(parent: ET.Element, name: str, amount: str | None, currency: str) -> None:
    _cbc(parent, name, amount, currencyID=currency)


def _cbc(parent: ET.Element, name: str, text: str | None, **attributes: str) -> None:
    """A text, left out where there is none: no element is empty (Peppol R008)."""
    if text:
        ET.SubElement(parent, f"{{{_CBC}}}{name}", attributes).text = text


def _cac(parent: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(parent, f"{{{_CAC}}}{name}")
