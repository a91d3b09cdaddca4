"""Issuing the documents of a closed period: which, under which number, once.

Owns: the order of steps inside the caller's transaction. Must not know: what makes a document right
(`invoice`), its XML (`einvoice`), where it is sent.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

from clearing.connection import Connection, named_queries, rows
from clearing.documents.einvoice import cii, ubl
from clearing.documents.invoice import DocumentType, Invoice, SuppliedSum, invoices_of
from clearing.documents.labels import Language
from clearing.documents.printing import Page, invoice_page, page_of
from clearing.errors import InvalidDocumentError
from clearing.parties.party import PLATFORM_ID
from clearing.store import captures, journal, references
from clearing.tax.vat import Leg, VatDecision

_sql = named_queries("documents")
_MAX_DIGITS: Final = 18  # of a bigint
_PREFIX: Final = {
    DocumentType.INVOICE: "IN",
    DocumentType.SELF_BILLED: "SB",
    DocumentType.CREDIT_NOTE: "CN",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document as issued; `number` is unique per issuer and its series has no gap."""

    number: str
    type: DocumentType
    supplier_id: str
    customer_id: str
    currency: str
    net_minor: int
    vat_minor: int
    gross_minor: int
    ubl: str
    cii: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedDocument:
    """A document that may not be issued yet, and what to do about it."""

    supplier_id: str
    customer_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedDocument:
    """What a list of documents shows; days are the platform's."""

    number: str
    type: DocumentType
    supplier_id: str
    customer_id: str
    period_start: date
    period_end: date
    currency: str
    net_minor: int
    vat_minor: int
    gross_minor: int
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document with its content as issued. `pages` are the same in each language that it is printed in."""

    summary: IssuedDocument
    ubl: bytes
    cii: bytes
    pages: Mapping[Language, Page]


async def issue(
    connection: Connection, *, start: date, end: date, now: datetime
) -> tuple[Sequence[Document], Sequence[RefusedDocument]]:
    """Issue the documents that are missing for `start` to `end` (inclusive, the platform's days).

    What the platform may write: its own invoices, and its suppliers' where they agreed to self-billing.
    Issuing again adds only what was refused before. Raises InvalidDocumentError while the period is not
    closed, since a later booking would be missing.
    """
    await _sql.take_time(connection)
    await _sql.hold_issuing(connection)
    parties = await references.parties(connection)
    zone = ZoneInfo(parties[PLATFORM_ID].time_zone)
    since = datetime.combine(start, time(), zone)
    until = datetime.combine(end + timedelta(days=1), time(), zone)
    closed_until = await journal.closed_until(connection)
    if closed_until is None or closed_until < until:
        raise InvalidDocumentError(
            f"{start} to {end} is still open; close the books up to {until.isoformat()} first"
        )
    supplied = await rows(_sql.supplied(connection, since=since, until=until))
    rulings = await captures.rulings_of(connection, [row["ruling"] for row in supplied])
    refused: list[RefusedDocument] = []
    for (supplier_id, customer_id, currency, _), found in groupby(supplied, key=_document_key):
        sums = list(_sums(found, rulings))
        try:
            invoices = invoices_of(
                sums,
                supplier=parties[supplier_id],
                customer=parties[customer_id],
                currency=currency,
                period=(start, end),
                self_billed=supplier_id != PLATFORM_ID,
            )
        except InvalidDocumentError as error:
            refused.append(
                RefusedDocument(supplier_id=supplier_id, customer_id=customer_id, reason=str(error))
            )
            continue
        for invoice in invoices:
            await _store(connection, invoice, issued_on=now.astimezone(zone).date(), now=now)
    return await issued(connection, start=start, end=end), refused


async def issued(connection: Connection, *, start: date, end: date) -> Sequence[Document]:
    """The documents of a period."""
    found = await rows(_sql.documents(connection, period_start=start, period_end=end))
    return [
        Document(
            number=_number(row["series"], row["number"]),
            type=DocumentType(row["type_code"]),
            **{name: row[name] for name in Document.__dataclass_fields__ if name not in ("number", "type")},
        )
        for row in found
    ]


async def listed(
    connection: Connection, *, party_id: str | None, before: str | None, limit: int
) -> Sequence[IssuedDocument]:
    """Documents that a party issued or received, the latest first; `party_id` None: everybody's.

    `before` is the number of the last one seen; one that is not the party's own ends the list.
    """
    series, number = (None, None) if before is None else _split(before)
    found = await rows(
        _sql.listed(connection, party_id=party_id, before_series=series, before_number=number, limit=limit)
    )
    return [_summary(row) for row in found]


async def find(connection: Connection, *, name: str, party_id: str | None) -> StoredDocument | None:
    """A party's document by its number; None where it has none of that number."""
    series, number = _split(name)
    row = await _sql.one(connection, series=series, number=number, party_id=party_id)
    if row is None:
        return None
    content = json.loads(row["content"])
    return StoredDocument(
        summary=_summary(row),
        ubl=content["ubl"].encode(),
        cii=content["cii"].encode(),
        pages={Language(name): page_of(page) for name, page in content.get("pages", {}).items()},
    )


async def booked_within(connection: Connection, *, since: datetime, until: datetime) -> bool:
    """Whether anything was booked from `since` to `until`, exclusive."""
    booked: bool = await _sql.booked_within(connection, since=since, until=until)
    return booked


def _split(name: str) -> tuple[str, int]:
    """The series and number in a document's name; a name that is none has a number that none has."""
    series, _, digits = name.rpartition("-")
    known = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    return (series, int(digits)) if known and name == _number(series, int(digits)) else ("", 0)


def _summary(row: Any) -> IssuedDocument:
    same = {name: row[name] for name in IssuedDocument.__dataclass_fields__ if name not in ("number", "type")}
    return IssuedDocument(
        number=_number(row["series"], row["number"]), type=DocumentType(row["type_code"]), **same
    )


def _document_key(row: Any) -> tuple[str, str, str, bool]:
    return row["supplier_id"], row["customer_id"], row["currency"], row["correction"]


def _sums(found: Iterator[Any], rulings: Mapping[str, VatDecision]) -> Iterator[SuppliedSum]:
    for row in found:
        yield SuppliedSum(
            leg=Leg(row["leg"]),
            ruling=rulings[row["ruling"]],
            net_minor=row["net_minor"],
            vat_minor=row["vat_minor"],
            sessions=row["sessions"],
        )


async def _store(connection: Connection, invoice: Invoice, *, issued_on: date, now: datetime) -> None:
    # Self-billed documents are numbered apart for each supplier, whose documents they are.
    series = "-".join((_PREFIX[invoice.type], invoice.supplier.id, "O" if invoice.outside_vat else "V"))
    about = {
        "type_code": int(invoice.type),
        "supplier_id": invoice.supplier.id,
        "customer_id": invoice.customer.id,
        "currency": invoice.currency,
        "period_start": invoice.period_start,
        "period_end": invoice.period_end,
        "series": series,
    }
    if await _sql.issued(connection, **about) is not None:
        return
    number = await _sql.next_number(connection, issuer_id=PLATFORM_ID, series=series)
    name = _number(series, number)
    content = {
        "ubl": ubl(invoice, number=name, issued_on=issued_on).decode(),
        "cii": cii(invoice, number=name, issued_on=issued_on).decode(),
        "pages": {
            language: asdict(invoice_page(invoice, number=name, issued_on=issued_on, language=language))
            for language in Language
        },
    }
    await _sql.insert_document(
        connection,
        **about,
        issuer_id=PLATFORM_ID,
        number=number,
        net_minor=invoice.net_minor,
        vat_minor=invoice.vat_minor,
        gross_minor=invoice.gross_minor,
        content=json.dumps(content),
        now=now,
    )


def _number(series: str, number: int) -> str:
    return f"{series}-{number:06d}"
