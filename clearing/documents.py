"""Issuing the documents of a closed period: which, under which number, once.

Owns: the order of steps inside the caller's transaction. Must not know: what makes a document right
(`invoice`), its XML (`einvoice`), where it is sent.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

from clearing.connection import Connection, named_queries, rows
from clearing.einvoice import cii, ubl
from clearing.errors import InvalidDocumentError
from clearing.invoice import DocumentType, Invoice, SuppliedSum, invoices_of
from clearing.party import PLATFORM_ID
from clearing.store import captures, journal, references
from clearing.vat import Leg, VatDecision

_sql = named_queries("documents")
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


async def issue(
    connection: Connection, *, start: date, end: date, now: datetime
) -> tuple[Sequence[Document], Sequence[RefusedDocument]]:
    """Issue the documents that are missing for `start` to `end` (inclusive, the platform's days).

    What the platform may write: its own invoices, and its suppliers' where they agreed to self-billing.
    Issuing again adds only what was refused before. Raises InvalidDocumentError while the period is not
    closed, since a later booking would be missing.
    """
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
