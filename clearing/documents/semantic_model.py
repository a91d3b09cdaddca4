"""An invoice in the business terms of EN 16931, ready to be written in either syntax, by its profile.

Owns: which business term (BT) has which value, in which language, and what a profile demands of it. Must not
know: XML elements, how totals came about, where a document is sent.
Source: EN 16931-1; XRechnung 3.0.2; Peppol BIS Billing 3.0.20 and Peppol BIS Self-Billing 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final

from clearing.documents.charged_items import ChargedSession, TaxInCurrency, Unit
from clearing.documents.invoice import (
    DocumentType,
    Invoice,
    InvoiceLine,
    PrecedingDocument,
    Side,
    VatGroup,
)
from clearing.documents.translations import labels
from clearing.documents.wording import exemption_reason, self_billing_mention
from clearing.money import EXACT, Rounding, quantize, to_major
from clearing.parties.business_details import (
    BusinessAddress,
    BusinessContact,
    ElectronicAddress,
    InvoiceProfile,
)
from clearing.tax.vat import Category, VatDecision

_EN16931: Final = "urn:cen.eu:en16931:2017"
_PEPPOL: Final = f"{_EN16931}#compliant#urn:fdc:peppol.eu:2017:poacc:"
_PROCESS: Final = "urn:fdc:peppol.eu:2017:poacc:"
_CUSTOMIZATION: Final = {
    (InvoiceProfile.XRECHNUNG, False): f"{_EN16931}#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0",
    (InvoiceProfile.XRECHNUNG, True): f"{_EN16931}#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0",
    (InvoiceProfile.PEPPOL, False): f"{_PEPPOL}billing:3.0",
    (InvoiceProfile.PEPPOL, True): f"{_PEPPOL}selfbilling:3.0",
}
# ISO 6523 scheme of the number that a state's register of companies gives (BT-30).
_REGISTER_SCHEME: Final = {"DK": "0184", "FI": "0212", "FR": "0002", "NL": "0106", "NO": "0192", "SE": "0007"}
# UNTDID 4461: 57 as agreed before, which Peppol's Dutch rules take too (NL-R-008); 68 online payment service.
_AS_AGREED: Final = "57"
_PAID_ONLINE: Final = "68"
_PRICE_DIGITS: Final = (4, 6, 8, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticParty:
    """BG-4 or BG-7. `vat_id` is None where none may be shown; a buyer has no `tax_number`."""

    id: str
    name: str
    address: BusinessAddress
    vat_id: str | None
    tax_number: str | None
    register_number: str | None
    register_scheme: str | None
    contact: BusinessContact | None
    electronic_address: ElectronicAddress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticLine:
    """BG-25: `price` times `quantity` is the net, rounded."""

    name: str
    note: str
    quantity: str
    unit: str
    price: str
    net: str
    category: str
    rate: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticGroup:
    """BG-23."""

    category: str
    rate: str | None
    net: str
    vat: str
    reason: str | None
    code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticInvoice:
    """The business terms of one document; amounts are texts of major units."""

    credit: bool
    customization: str
    process: str | None
    number: str
    issued_on: date
    type_code: int
    note: str
    currency: str
    tax_currency: str | None
    buyer_reference: str | None
    period: tuple[date, date]
    preceding: Sequence[PrecedingDocument]
    seller: SemanticParty
    buyer: SemanticParty
    delivery: BusinessAddress | None
    delivery_name: str | None
    payment_means: str
    terms: str
    lines: Sequence[SemanticLine]
    groups: Sequence[SemanticGroup]
    net: str
    vat: str
    tax_vat: str | None
    gross: str
    paid: str | None
    rounding: str | None
    due: str


def semantic_invoice(invoice: Invoice, *, number: str, issued_on: date) -> SemanticInvoice:
    """The document's business terms, in its own language and by its own profile."""
    texts = labels(invoice.language)
    profile = invoice.profile
    charged = invoice.charged
    tax = invoice.tax
    return SemanticInvoice(
        credit=invoice.type.is_credit,
        customization=_CUSTOMIZATION.get((profile, invoice.type.is_self_billed), _EN16931),
        process=_process(invoice),
        number=number,
        issued_on=issued_on,
        type_code=_type_code(invoice),
        note=_note(invoice),
        currency=invoice.currency,
        tax_currency=None if tax is None else tax.currency,
        buyer_reference=invoice.customer.details.buyer_reference,
        period=(invoice.period_start, invoice.period_end),
        preceding=invoice.preceding,
        seller=replace(
            _party(invoice.supplier, None if invoice.outside_vat else invoice.supplier_vat_id),
            tax_number=invoice.supplier.details.tax_number,
        ),
        buyer=_party(invoice.customer, None if invoice.outside_vat else invoice.customer_vat_id),
        delivery=_delivery(charged, profile),
        delivery_name=None if charged is None else charged.evse_id or charged.operator,
        payment_means=_PAID_ONLINE if invoice.paid_minor else _AS_AGREED,
        terms=texts[invoice.terms],
        lines=[_line(line, invoice) for line in invoice.lines],
        groups=[
            SemanticGroup(
                category=group.category,
                rate=_group_rate(group, profile),
                net=_major(group.net_minor, invoice),
                vat=_major(group.vat_minor, invoice),
                reason="; ".join(exemption_reasons(group.rulings, invoice.supplier.country, texts)) or None,
                code=None if group.category is Category.STANDARD else group.exemption_code,
            )
            for group in invoice.groups
        ],
        net=_major(invoice.net_minor, invoice),
        vat=_major(invoice.vat_minor, invoice),
        tax_vat=None if tax is None else f"{to_major(tax.vat_minor, tax.currency):f}",
        gross=_major(invoice.gross_minor, invoice),
        paid=_major(invoice.paid_minor, invoice) if invoice.paid_minor else None,
        rounding=_major(invoice.rounding_minor, invoice) if invoice.rounding_minor else None,
        due=_major(invoice.due_minor - invoice.paid_minor, invoice),
    )


def exemption_reasons(
    rulings: Sequence[VatDecision], supplier_country: str, texts: Mapping[str, str]
) -> list[str]:
    """Why no VAT is shown, each reason once."""
    found = [exemption_reason(one, texts, supplier_country=supplier_country) for one in rulings]
    return list(dict.fromkeys(text for text in found if text))


def _process(invoice: Invoice) -> str | None:
    if invoice.profile is InvoiceProfile.EN16931:
        return None
    if invoice.profile is InvoiceProfile.PEPPOL and invoice.type.is_self_billed:
        return f"{_PROCESS}selfbilling:01:1.0"
    return f"{_PROCESS}billing:01:1.0"


def _type_code(invoice: Invoice) -> int:
    """XRechnung does not know 261 (BR-DE-17): there it is a credit note with the mention of self-billing."""
    if invoice.type is DocumentType.SELF_BILLED_CREDIT and invoice.profile is InvoiceProfile.XRECHNUNG:
        return int(DocumentType.CREDIT_NOTE)
    return int(invoice.type)


def _note(invoice: Invoice) -> str:
    """One note (Peppol R002): the mention of self-billing, the operator, start and end."""
    texts = labels(invoice.language)
    parts = []
    if invoice.type.is_self_billed:
        mention = self_billing_mention(invoice.supplier.country, shows_vat=bool(invoice.vat_minor))
        parts.append(f"{mention}.")
    charged = invoice.charged
    if charged is not None:
        if charged.operator:
            parts.append(texts["electricity_sold_by"].format(operator=charged.operator))
        for label, at in (("started", charged.started_at), ("ended", charged.ended_at)):
            if at is not None:
                parts.append(f"{texts[label]}: {at.isoformat(sep=' ', timespec='seconds')}.")
    if invoice.tax is not None:
        parts.append(tax_note(invoice.tax, invoice.currency, texts))
    return " ".join(parts)


def tax_note(tax: TaxInCurrency, currency: str, texts: Mapping[str, str]) -> str:
    """The VAT in the state's currency, with the rate that it was converted at."""
    return texts["vat_in_currency"].format(
        currency=tax.currency,
        amount=f"{to_major(tax.vat_minor, tax.currency):f}",
        base=currency,
        rate=f"{tax.rate.normalize():f}",
        source=tax.rate_source,
        day=tax.rate_day,
    )


def _party(side: Side, vat_id: str | None) -> SemanticParty:
    details = side.details
    country = side.country
    return SemanticParty(
        id=side.id,
        name=side.name,
        address=details.address or BusinessAddress(country=country),
        vat_id=vat_id,
        tax_number=None,
        register_number=details.register_number,
        register_scheme=_REGISTER_SCHEME.get(country) if details.register_number else None,
        contact=details.contact,
        electronic_address=details.electronic_address,
    )


def _delivery(charged: ChargedSession | None, profile: InvoiceProfile) -> BusinessAddress | None:
    """The charge point's address; XRechnung takes it whole or not at all (BR-DE-10, BR-DE-11)."""
    address = None if charged is None else charged.address
    if address is not None and profile is InvoiceProfile.XRECHNUNG and not address.post_code:
        return None
    return address


def _line(line: InvoiceLine, invoice: Invoice) -> SemanticLine:
    texts = labels(invoice.language)
    quantity = line.quantity or Decimal(1)
    unit = line.unit if line.quantity else Unit.ONE
    return SemanticLine(
        name=texts[line.item],
        note=line.remark(texts),
        quantity=f"{quantity:f}",
        unit=unit.value,
        price=f"{net_price(to_major(line.net_minor, invoice.currency), quantity):f}",
        net=_major(line.net_minor, invoice),
        category=line.category,
        rate=_rate(line.category, line.rate),
    )


def net_price(net: Decimal, quantity: Decimal) -> Decimal:
    """The price whose product with the quantity is the net once rounded, with as few decimals as may be.

    Peppol BIS Billing 3, R120. `net` and `quantity` have one sign, `net` has its currency's digits.
    """
    exact = EXACT.divide(net, quantity)
    digits = -int(net.as_tuple().exponent)
    for count in _PRICE_DIGITS:
        price = quantize(exact, digits=count, rounding=Rounding.HALF_AWAY)
        product = quantize(EXACT.multiply(price, quantity), digits=digits, rounding=Rounding.HALF_AWAY)
        if product == net:
            return price
    return exact


def _group_rate(group: VatGroup, profile: InvoiceProfile) -> str | None:
    """XRechnung has a rate in every row of the breakdown (BR-DE-14), also where nothing is taxed."""
    if profile is InvoiceProfile.XRECHNUNG:
        return str(group.rate)
    return _rate(group.category, group.rate)


def _rate(category: Category, rate: Decimal) -> str | None:
    return None if category is Category.OUTSIDE else str(rate)


def _major(minor: int, invoice: Invoice) -> str:
    return f"{to_major(minor, invoice.currency):f}"
