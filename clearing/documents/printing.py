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
from clearing.documents.labels import Language, labels
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
class Page:
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


def page_of(fields: Mapping[str, Any]) -> Page:
    """A page from the fields that it was stored by."""
    return Page(**fields)


@cache
def template() -> bytes:
    """The page's layout, in typst's language."""
    return (files("clearing") / "templates" / "document.typ").read_bytes()


def invoice_page(
    invoice: Invoice, *, number: str, issued_on: date, language: Language = Language.ENGLISH
) -> Page:
    """An invoice or credit note between parties."""
    words = labels(language)
    lines = [
        (line.description, line.remark, _amount(line.net_minor, invoice.currency)) for line in invoice.lines
    ]
    return Page(
        language=language,
        title=words[_KINDS[invoice.type]],
        number=number,
        seller=_side(invoice.supplier, invoice.supplier_vat_id, words, show_id=not invoice.outside_vat),
        buyer=_side(invoice.customer, invoice.customer_vat_id, words, show_id=not invoice.outside_vat),
        seller_label=words["seller"],
        buyer_label=words["buyer"],
        facts=_facts(
            words,
            issued_on,
            (invoice.period_start, invoice.period_end),
            ", ".join(invoice.preceding) or None,
        ),
        lines=lines,
        sums=_sums(invoice, words),
        total=(words["due"], _amount(invoice.due_minor - invoice.paid_minor, invoice.currency)),
        notes=[
            *dict.fromkeys(
                group.reason for group in invoice.groups if group.category is not Category.STANDARD
            ),
            invoice.terms,
        ],
    )


def driver_page(
    document: DriverDocument, ruling: VatDecision, *, language: Language = Language.ENGLISH
) -> Page:
    """A driver's document: with VAT where it is an invoice, else proof of what was paid."""
    words = labels(language)
    supply = document.supply
    paid = abs(supply.net_minor + supply.vat_minor)
    kinds = ("credit_note", "invoice") if document.is_invoice else ("refund", "receipt")
    energy = "" if supply.energy_kwh is None else f"{supply.energy_kwh.normalize():f} kWh"
    notes = [] if document.is_invoice else [words["no_invoice"]]
    if document.is_invoice and ruling.category is not Category.STANDARD:
        notes.append(ruling.reason)
    if document.seller.id != PLATFORM_ID:
        notes.append(words["in_name_of"])
    sums: list[tuple[str, str]] = []
    if document.is_invoice:
        sums = [
            (words["net"], _amount(abs(supply.net_minor), supply.currency)),
            (f"{words['vat']} {_percent(ruling.rate)}", _amount(abs(supply.vat_minor), supply.currency)),
        ]
    days = (supply.sale_day, supply.sale_day)
    return Page(
        language=language,
        title=words[kinds[0] if supply.gives_back else kinds[1]],
        number=document.name,
        seller=_side(document.seller, document.seller.vat_id, words, show_id=document.is_invoice),
        buyer=[words["driver"]],
        seller_label=words["seller"],
        buyer_label=words["buyer"],
        facts=[
            *_facts(words, document.issued_on, days, document.preceding),
            (words["session"], str(supply.session_id)),
        ],
        lines=[(words["to_driver"], energy, _amount(paid, supply.currency))],
        sums=sums,
        total=(words["paid_back" if supply.gives_back else "paid"], _amount(paid, supply.currency)),
        notes=notes,
    )


def _facts(
    words: Mapping[str, str], issued_on: date, period: tuple[date, date], preceding: str | None
) -> list[tuple[str, str]]:
    start, end = period
    supplied = start.isoformat() if start == end else f"{start.isoformat()} \u2013 {end.isoformat()}"
    facts = [(words["issued"], issued_on.isoformat()), (words["supplied"], supplied)]
    return facts if preceding is None else [*facts, (words["corrects"], preceding)]


def _side(side: Side, vat_id: str | None, words: Mapping[str, str], *, show_id: bool) -> list[str]:
    told = [side.name, f"{side.id}, {side.country}"]
    if not show_id:
        return told
    return [*told, words["no_vat_id"] if vat_id is None else f"{words['vat_id']} {vat_id}"]


def _sums(invoice: Invoice, words: Mapping[str, str]) -> list[tuple[str, str]]:
    currency = invoice.currency
    sums = [(words["net"], _amount(invoice.net_minor, currency))]
    for group in invoice.groups:
        shown = "" if group.category is Category.OUTSIDE else f" {_percent(group.rate)}"
        label = f"{words['vat']} {group.category}{shown} ({_amount(group.net_minor, currency)})"
        sums.append((label, _amount(group.vat_minor, currency)))
    sums.append((words["gross"], _amount(invoice.gross_minor, currency)))
    if invoice.rounding_minor:
        sums.append((words["rounding"], _amount(invoice.rounding_minor, currency)))
    if invoice.paid_minor:
        sums.append((words["paid"], _amount(invoice.paid_minor, currency)))
    return sums


def _amount(minor: int, currency: str) -> str:
    return f"{to_major(minor, currency):f} {currency}"


def _percent(rate: Decimal) -> str:
    return f"{rate.normalize():f} %"


def printable(value: object) -> object:
    """What the page's type can set; a character outside it becomes "?", while the XML keeps it."""
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
