"""A document as a page for people: every text of it, in one language, ready to be set.

Owns: which facts a page shows, in which order and words. Must not know: type, paper, PDF. The template reads
these texts as data and never as markup, so that a party's name can't change the page.

Amounts have a decimal point and their currency's code, days are ISO 8601, in each language alike.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Final

from clearing.documents.charged_items import ChargedSession, Unit
from clearing.documents.driver_document import DriverDocument, driver_lines
from clearing.documents.invoice import DocumentType, Invoice, InvoiceLine, Side
from clearing.documents.semantic_model import exemption_reasons, net_price, tax_note
from clearing.documents.translations import labels
from clearing.documents.wording import self_billing_mention
from clearing.identifiers import format_id
from clearing.language import Language
from clearing.meter_data.evidence import MeterEvidence
from clearing.money import Rounding, quantize, to_major
from clearing.parties.party import PLATFORM_ID
from clearing.tax.vat import Category, VatDecision

_LAST_SETTABLE: Final = 0x0500  # Latin, IPA, Greek, Cyrillic; beyond them the type has gaps
_SIGNS: Final = (
    "\u00a0\u00a7\u00ab\u00b0\u00b7\u00bb\u2013\u2014\u2018\u2019\u201c\u201d\u201e\u2026\u20ac\u00a3"
)
_SCRIPTS: Final = ("LATIN", "GREEK", "CYRILLIC")
_KINDS: Final = {
    DocumentType.INVOICE: "invoice",
    DocumentType.SELF_BILLED: "self_billed",
    DocumentType.CREDIT_NOTE: "credit_note",
    DocumentType.SELF_BILLED_CREDIT: "credit_note",
}
_UNITS: Final = {Unit.KWH: "unit_kwh", Unit.MINUTE: "unit_minute", Unit.ONE: "unit_one"}
_PRICE_DIGITS: Final = 4
_Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedPage:
    """Texts by their place on the page; `rows` are label and value.

    A line is item, remark, quantity, unit price, VAT rate, amount, by the labels of `lines_head`. A page that
    was stored before lines had quantities has item, remark and amount, and no head.
    """

    language: str
    title: str
    number: str
    seller: Sequence[str]
    buyer: Sequence[str]
    seller_label: str
    buyer_label: str
    facts: _Rows
    lines: Sequence[Sequence[str]]
    sums: _Rows
    total: tuple[str, str]
    notes: Sequence[str]
    lines_head: Sequence[str] = ()

    def data(self) -> str:
        """The page as the JSON that the template reads."""
        return json.dumps(printable(asdict(self)), ensure_ascii=False)


def page_of(fields: Mapping[str, Any]) -> PrintedPage:
    """A page from the fields that it was stored by."""
    return PrintedPage(**fields)


@cache
def template() -> bytes:
    """The page's layout, in typst's language."""
    return (files("clearing") / "templates" / "document.typ").read_bytes()


def invoice_page(
    invoice: Invoice, *, number: str, issued_on: date, language: Language = Language.ENGLISH
) -> PrintedPage:
    """An invoice or credit note between parties."""
    texts = labels(language)
    return PrintedPage(
        language=language,
        title=texts[_KINDS[invoice.type]],
        number=number,
        seller=_side(invoice.supplier, invoice.supplier_vat_id, texts, show_id=not invoice.outside_vat),
        buyer=_side(invoice.customer, invoice.customer_vat_id, texts, show_id=not invoice.outside_vat),
        seller_label=texts["seller"],
        buyer_label=texts["buyer"],
        facts=_invoice_facts(invoice, issued_on, texts),
        lines=[_line(line, invoice.currency, texts) for line in invoice.lines],
        lines_head=_lines_head(texts, net=True),
        sums=_sums(invoice, texts),
        total=(texts["due"], _amount(invoice.due_minor - invoice.paid_minor, invoice.currency)),
        notes=[*_notes(invoice, texts), texts[invoice.terms]],
    )


def _invoice_facts(invoice: Invoice, issued_on: date, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    corrected = [
        one.number
        if one.issued_on is None
        else texts["corrects_of"].format(number=one.number, day=one.issued_on.isoformat())
        for one in invoice.preceding
    ]
    facts = _facts(texts, issued_on, (invoice.period_start, invoice.period_end), ", ".join(corrected) or None)
    if invoice.type.is_self_billed:
        facts.append((texts["issued_by"], invoice.customer.name))
    reference = invoice.customer.details.buyer_reference
    return facts if not reference else [*facts, (texts["buyer_reference"], reference)]


def _notes(invoice: Invoice, texts: Mapping[str, str]) -> list[str]:
    """What the law has a document say: who wrote it, why it shows no VAT, the VAT in the state's currency."""
    notes = []
    if invoice.type.is_self_billed:
        notes.append(self_billing_mention(invoice.supplier.country, shows_vat=bool(invoice.vat_minor)))
    rulings = [one for group in invoice.groups for one in group.rulings]
    notes += exemption_reasons(rulings, invoice.supplier.country, texts)
    if invoice.tax is not None:
        notes.append(tax_note(invoice.tax, invoice.currency, texts))
    return notes


def driver_page(
    document: DriverDocument,
    ruling: VatDecision,
    *,
    language: Language = Language.ENGLISH,
    meter: MeterEvidence | None = None,
) -> PrintedPage:
    """A driver's document: with VAT where it is an invoice, else proof of what was paid.

    `meter`: what the meter signed; shown on the sale, not on what gives money back.
    """
    texts = labels(language)
    supply = document.supply
    paid = abs(supply.net_minor + supply.vat_minor)
    kinds = ("credit_note", "invoice") if document.is_invoice else ("refund", "receipt")
    readings = () if supply.gives_back else _readings(meter, texts)
    days = (supply.sale_day, supply.sale_day)
    return PrintedPage(
        language=language,
        title=texts[kinds[0] if supply.gives_back else kinds[1]],
        number=document.name,
        seller=_side(document.seller, document.seller.vat_id, texts, show_id=document.is_invoice),
        buyer=_driver(document, texts),
        seller_label=texts["seller"],
        buyer_label=texts["buyer"],
        facts=[
            *_facts(texts, document.issued_on, days, _corrected(document, texts)),
            (texts["session"], format_id("ses", supply.session_id)),
            *_charging_facts(document.charged, supply.energy_kwh, texts),
            *readings,
        ],
        lines=_driver_lines(document, ruling, texts),
        lines_head=_lines_head(texts, net=document.is_invoice),
        sums=_driver_sums(document, ruling, texts) if document.is_invoice else [],
        total=(texts["paid_back" if supply.gives_back else "paid"], _amount(paid, supply.currency)),
        notes=[*_driver_notes(document, ruling, texts), *([texts["meter_proof"]] if readings else [])],
    )


def _driver(document: DriverDocument, texts: Mapping[str, str]) -> list[str]:
    """Who bought: a business by its name and address, else the driver by role."""
    buyer = document.charged.buyer
    if buyer is None:
        return [texts["driver"]]
    shown = document.is_invoice and buyer.vat_id is not None
    reference = buyer.details.buyer_reference
    return [
        *_side(buyer, buyer.vat_id, texts, show_id=shown),
        *([f"{texts['buyer_reference']}: {reference}"] if reference else []),
    ]


def _driver_notes(document: DriverDocument, ruling: VatDecision, texts: Mapping[str, str]) -> list[str]:
    notes = [] if document.is_invoice else [texts["no_invoice"]]
    if document.is_invoice:
        notes += exemption_reasons([ruling], document.seller.country, texts)
        if document.charged.tax is not None:
            notes.append(tax_note(document.charged.tax, document.supply.currency, texts))
    if document.seller.id != PLATFORM_ID:
        notes.append(texts["in_name_of"])
    return notes


def _driver_sums(
    document: DriverDocument, ruling: VatDecision, texts: Mapping[str, str]
) -> list[tuple[str, str]]:
    supply = document.supply
    return [
        (texts["net"], _amount(abs(supply.net_minor), supply.currency)),
        (f"{texts['vat']} {_percent(ruling.rate)}", _amount(abs(supply.vat_minor), supply.currency)),
    ]


def _driver_lines(
    document: DriverDocument, ruling: VatDecision, texts: Mapping[str, str]
) -> list[Sequence[str]]:
    """An invoice's lines; a receipt, which shows no VAT, has one of what was paid."""
    supply = document.supply
    if document.is_invoice:
        lines = driver_lines(document, ruling)
        return [_line(replace(line, session=""), supply.currency, texts) for line in lines]
    energy = "" if not supply.energy_kwh else f"{_number(abs(supply.energy_kwh))} kWh"
    paid = _amount(abs(supply.net_minor + supply.vat_minor), supply.currency)
    return [[texts["item_to_driver"], "", energy, "", "", paid]]


def _corrected(document: DriverDocument, texts: Mapping[str, str]) -> str | None:
    day = document.charged.corrects_day
    if document.preceding is None or day is None:
        return document.preceding
    return texts["corrects_of"].format(number=document.preceding, day=day)


def _charging_facts(
    charged: ChargedSession, energy_kwh: Decimal | None, texts: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Energy, start and end, the charge point with its address, and who operates it where another sells."""
    facts = []
    if energy_kwh:
        facts.append((texts["total_energy"], f"{_number(abs(energy_kwh))} kWh"))
    for label, at in (("started", charged.started_at), ("ended", charged.ended_at)):
        if at is not None:
            facts.append((texts[label], at.strftime("%Y-%m-%d %H:%M:%S %z")))
    address = [] if charged.address is None else charged.address.lines()
    place = ", ".join(part for part in (charged.evse_id or "", *address) if part)
    if place:
        facts.append((texts["place"], place))
    if charged.operator:
        facts.append((texts["operator"], charged.operator))
    return facts


def _lines_head(texts: Mapping[str, str], *, net: bool) -> list[str]:
    """The columns' labels; a page without VAT has no rate and no unit price."""
    if not net:
        return [texts["head_item"], texts["head_quantity"], "", "", texts["head_gross"]]
    return [texts[f"head_{name}"] for name in ("item", "quantity", "price", "rate", "net")]


def _line(line: InvoiceLine, currency: str, texts: Mapping[str, str]) -> list[str]:
    net = to_major(line.net_minor, currency)
    price = line.unit_price
    if price is None and line.quantity:
        price = quantize(net_price(net, line.quantity), digits=_PRICE_DIGITS, rounding=Rounding.HALF_AWAY)
    shown = line.category is not Category.OUTSIDE
    return [
        texts[line.item],
        line.remark(texts),
        f"{_number(line.quantity)} {texts[_UNITS[line.unit]]}" if line.quantity else "",
        "" if price is None else f"{price:f}",
        _percent(line.rate) if shown else "",
        _amount(line.net_minor, currency),
    ]


def _readings(meter: MeterEvidence | None, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Meter, both readings with their times, and the energy between: as signed, with the meter's digits."""
    if meter is None or meter.check.measured is None or not meter.check.signed:
        return []
    measured = meter.check.measured
    facts = [(texts["meter"], measured.meter_serial)]
    for name, reading in (("meter_begin", measured.begin), ("meter_end", measured.end)):
        at = "" if reading.at is None else f", {reading.at.isoformat(sep=' ')}"
        facts.append((texts[name], f"{reading.value:f} {reading.unit}{at}"))
    return [*facts, (texts["metered"], f"{measured.energy_kwh:f} kWh")]


def _facts(
    texts: Mapping[str, str], issued_on: date, period: tuple[date, date], preceding: str | None
) -> list[tuple[str, str]]:
    start, end = period
    supplied = start.isoformat() if start == end else f"{start.isoformat()} \u2013 {end.isoformat()}"
    facts = [(texts["issued"], issued_on.isoformat()), (texts["supplied"], supplied)]
    return facts if preceding is None else [*facts, (texts["corrects"], preceding)]


def _side(side: Side, vat_id: str | None, texts: Mapping[str, str], *, show_id: bool) -> list[str]:
    details = side.details
    address = [side.country] if details.address is None else details.address.lines()
    printed = [side.name, *address]
    for label, number in (
        ("register_number", details.register_number),
        ("tax_number", details.tax_number),
    ):
        if number:
            printed.append(f"{texts[label]} {number}")
    if not show_id:
        return printed
    if vat_id is None and details.tax_number:
        return printed
    return [*printed, texts["no_vat_id"] if vat_id is None else f"{texts['vat_id']} {vat_id}"]


def _sums(invoice: Invoice, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    currency = invoice.currency
    sums = [(texts["net"], _amount(invoice.net_minor, currency))]
    for group in invoice.groups:
        shown = "" if group.category is Category.OUTSIDE else f" {_percent(group.rate)}"
        label = f"{texts['vat']} {group.category}{shown} ({_amount(group.net_minor, currency)})"
        sums.append((label, _amount(group.vat_minor, currency)))
    sums.append((texts["gross"], _amount(invoice.gross_minor, currency)))
    if invoice.rounding_minor:
        sums.append((texts["rounding"], _amount(invoice.rounding_minor, currency)))
    if invoice.paid_minor:
        sums.append((texts["paid"], _amount(invoice.paid_minor, currency)))
    return sums


def _amount(minor: int, currency: str) -> str:
    return f"{to_major(minor, currency):f} {currency}"


def _number(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _percent(rate: Decimal) -> str:
    return f"{rate.normalize():f} %"


def printable(value: object) -> object:
    """What the page's type can set; a character outside it becomes "?", while the XML has it unchanged."""
    if isinstance(value, str):
        return "".join(sign if _settable(sign) else "?" for sign in unicodedata.normalize("NFC", value))
    if isinstance(value, dict):
        return {name: printable(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [printable(member) for member in value]
    return value


def _settable(sign: str) -> bool:
    if sign.isascii():
        return sign.isprintable()
    if unicodedata.category(sign)[0] == "L":
        return unicodedata.name(sign, "").startswith(_SCRIPTS) and ord(sign) < _LAST_SETTABLE
    return sign in _SIGNS
