"""A document as a page for people: every text of it, in one language, ready to be set.

Owns: which facts a page shows, in which order and words. Must not know: type, paper, PDF. The template reads
these texts as data and never as markup, so that a party's name can't change the page.

Amounts have a decimal point and their currency's code, days are ISO 8601, in each language alike.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Final

from clearing.documents.driver_document import DriverDocument
from clearing.documents.invoice import DocumentType, Invoice, Side
from clearing.documents.translations import labels
from clearing.identifiers import format_id
from clearing.language import Language
from clearing.meter_data.evidence import MeterEvidence
from clearing.money import to_major
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
}
_Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedPage:
    """Texts by their place on the page; `rows` are label and value."""

    language: str
    title: str
    number: str
    seller: Sequence[str]
    buyer: Sequence[str]
    seller_label: str
    buyer_label: str
    facts: _Rows
    lines: Sequence[tuple[str, str, str]]
    sums: _Rows
    total: tuple[str, str]
    notes: Sequence[str]

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
    lines = [
        (line.description, line.remark, _amount(line.net_minor, invoice.currency)) for line in invoice.lines
    ]
    return PrintedPage(
        language=language,
        title=texts[_KINDS[invoice.type]],
        number=number,
        seller=_side(invoice.supplier, invoice.supplier_vat_id, texts, show_id=not invoice.outside_vat),
        buyer=_side(invoice.customer, invoice.customer_vat_id, texts, show_id=not invoice.outside_vat),
        seller_label=texts["seller"],
        buyer_label=texts["buyer"],
        facts=_facts(
            texts,
            issued_on,
            (invoice.period_start, invoice.period_end),
            ", ".join(invoice.preceding) or None,
        ),
        lines=lines,
        sums=_sums(invoice, texts),
        total=(texts["due"], _amount(invoice.due_minor - invoice.paid_minor, invoice.currency)),
        notes=[
            *dict.fromkeys(
                group.reason for group in invoice.groups if group.category is not Category.STANDARD
            ),
            invoice.terms,
        ],
    )


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
    energy = "" if supply.energy_kwh is None else f"{supply.energy_kwh.normalize():f} kWh"
    notes = [] if document.is_invoice else [texts["no_invoice"]]
    if document.is_invoice and ruling.category is not Category.STANDARD:
        notes.append(ruling.reason)
    if document.seller.id != PLATFORM_ID:
        notes.append(texts["in_name_of"])
    readings = () if supply.gives_back else _readings(meter, texts)
    if readings:
        notes.append(texts["meter_proof"])
    sums: list[tuple[str, str]] = []
    if document.is_invoice:
        sums = [
            (texts["net"], _amount(abs(supply.net_minor), supply.currency)),
            (f"{texts['vat']} {_percent(ruling.rate)}", _amount(abs(supply.vat_minor), supply.currency)),
        ]
    days = (supply.sale_day, supply.sale_day)
    return PrintedPage(
        language=language,
        title=texts[kinds[0] if supply.gives_back else kinds[1]],
        number=document.name,
        seller=_side(document.seller, document.seller.vat_id, texts, show_id=document.is_invoice),
        buyer=[texts["driver"]],
        seller_label=texts["seller"],
        buyer_label=texts["buyer"],
        facts=[
            *_facts(texts, document.issued_on, days, document.preceding),
            (texts["session"], format_id("ses", supply.session_id)),
            *readings,
        ],
        lines=[(texts["to_driver"], energy, _amount(paid, supply.currency))],
        sums=sums,
        total=(texts["paid_back" if supply.gives_back else "paid"], _amount(paid, supply.currency)),
        notes=notes,
    )


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
    printed = [side.name, f"{side.id}, {side.country}"]
    if not show_id:
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
