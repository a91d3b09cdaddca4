"""Issuing documents between parties, in PostgreSQL: what was supplied, numbers, what is documented.

Owns: rows to values and back. Must not know: what makes a document right.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from clearing.connection import Connection, named_queries, rows
from clearing.documents.document import DocumentExceptionRecord, content_sha256, document_name
from clearing.documents.invoice import PrecedingDocument
from clearing.parties.party import DocumentCadence

_sql = named_queries("invoice")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppliedRecord:
    """A sum of what one party supplied to another in a period; `correction`: of refunds and the like.

    `subject` is the session where it has a document of its own, `session` the one where it has a line of its
    own; else empty.
    """

    supplier_id: str
    customer_id: str
    currency: str
    subject: str
    leg: str
    ruling: str
    correction: bool
    session: str
    net_minor: int
    vat_minor: int
    sessions: int
    first_sale_at: datetime
    energy_kwh: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressRecord:
    """Up to which day a party is documented; None: never."""

    party_id: str
    cadence: DocumentCadence
    created_at: datetime
    documented_to: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentKey:
    """What makes a document between two parties the same document; `subject` is a session or empty."""

    supplier_id: str
    customer_id: str
    currency: str
    period_start: date
    period_end: date
    subject: str
    type_code: int
    series: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRow:
    """What is stored of a document beside its key."""

    issuer_id: str
    number: int
    net_minor: int
    vat_minor: int
    gross_minor: int
    content: Mapping[str, Any]


async def wait_for_writers(connection: Connection) -> None:
    """Wait until every batch under way is committed."""
    await _sql.wait_for_writers(connection)


async def lock_issuing(connection: Connection) -> None:
    """One issuer at a time until the transaction ends, whose statements may take minutes."""
    await _sql.allow_minutes(connection)
    await _sql.lock_issuing(connection)


async def find_first_booked(connection: Connection) -> datetime | None:
    """When the first batch was booked."""
    first: datetime | None = await _sql.first_booked(connection)
    return first


async def list_progress(connection: Connection) -> list[ProgressRecord]:
    """How far the documents of each party reach, the platform left out."""
    return [
        ProgressRecord(
            party_id=row["id"],
            cadence=DocumentCadence(row["document_cadence"]),
            created_at=row["created_at"],
            documented_to=row["documented_to"],
        )
        for row in await rows(_sql.progress(connection))
    ]


async def move_progress(connection: Connection, party_ids: Sequence[str], *, documented_to: date) -> None:
    """These parties are documented up to that day, or further if they were."""
    await _sql.move_progress(connection, parties=list(party_ids), documented_to=documented_to)


async def list_supplied(
    connection: Connection, *, since: datetime, until: datetime, party_ids: Sequence[str]
) -> list[SuppliedRecord]:
    """What was supplied from `since` to before `until`, of those whose cadence is that of `party_ids`.

    Captures come before corrections; then by supplier, customer, currency and session.
    """
    found = await rows(_sql.supplied(connection, since=since, until=until, parties=list(party_ids)))
    return [SuppliedRecord(**dict(row.items())) for row in found]


async def list_corrected(
    connection: Connection, *, since: datetime, until: datetime, zone: str
) -> list[tuple[tuple[str, str, str], str, PrecedingDocument]]:
    """(supplier, customer, currency), session and each document that a correction corrects."""
    return [
        (
            (row["supplier_id"], row["customer_id"], row["currency"]),
            row["session"],
            PrecedingDocument(number=document_name(row["series"], row["number"]), issued_on=row["issued_on"]),
        )
        for row in await rows(_sql.corrected(connection, since=since, until=until, zone=zone))
    ]


async def is_issued(connection: Connection, key: DocumentKey) -> bool:
    """Whether that very document is issued."""
    found = await _sql.issued(
        connection,
        supplier_id=key.supplier_id,
        customer_id=key.customer_id,
        currency=key.currency,
        period_start=key.period_start,
        period_end=key.period_end,
        subject=key.subject,
        series=key.series,
    )
    return found is not None


async def find_overlapping(connection: Connection, key: DocumentKey) -> tuple[str, date, date] | None:
    """Name and period of a document of the same two parties that covers these days in another way."""
    row = await _sql.overlapping(
        connection,
        supplier_id=key.supplier_id,
        customer_id=key.customer_id,
        currency=key.currency,
        period_start=key.period_start,
        period_end=key.period_end,
        subject=key.subject,
    )
    if row is None:
        return None
    return document_name(row["series"], row["number"]), row["period_start"], row["period_end"]


async def reserve_number(connection: Connection, *, issuer_id: str, series: str) -> int:
    """The next number of a series, locked until the transaction ends."""
    number: int = await _sql.next_number(connection, issuer_id=issuer_id, series=series)
    return number


async def insert_document(
    connection: Connection, key: DocumentKey, row: DocumentRow, *, now: datetime
) -> None:
    """Store an issued document with the hash of its content."""
    await _sql.insert_document(
        connection,
        supplier_id=key.supplier_id,
        customer_id=key.customer_id,
        currency=key.currency,
        period_start=key.period_start,
        period_end=key.period_end,
        subject=key.subject,
        type_code=key.type_code,
        series=key.series,
        issuer_id=row.issuer_id,
        number=row.number,
        net_minor=row.net_minor,
        vat_minor=row.vat_minor,
        gross_minor=row.gross_minor,
        content=json.dumps(row.content),
        content_sha256=content_sha256(row.content),
        now=now,
    )


async def list_exceptions(connection: Connection) -> list[DocumentExceptionRecord]:
    """Everything that could not be issued so far, the oldest first."""
    return [DocumentExceptionRecord(**dict(row.items())) for row in await rows(_sql.exceptions(connection))]


async def list_exception_periods(connection: Connection) -> list[tuple[date, date, list[str]]]:
    """First day, last day and parties of each period in which something could not be issued."""
    return [
        (row["period_start"], row["period_end"], list(row["parties"]))
        for row in await rows(_sql.exception_periods(connection))
    ]


async def list_changed_exception_periods(connection: Connection) -> list[tuple[date, date, list[str]]]:
    """As `list_exception_periods`, of exceptions one of whose parties was changed since the last attempt."""
    return [
        (row["period_start"], row["period_end"], list(row["parties"]))
        for row in await rows(_sql.changed_exception_periods(connection))
    ]


async def resolve_exceptions(
    connection: Connection,
    *,
    party_ids: Sequence[str],
    period: tuple[date, date],
    remaining: Sequence[tuple[str, str, str]],
) -> None:
    """Delete the exceptions of a period that do not remain; `remaining`: (supplier, customer, currency)."""
    suppliers, customers, currencies = zip(*remaining, strict=True) if remaining else ((), (), ())
    await _sql.resolve_exceptions(
        connection,
        parties=list(party_ids),
        period_start=period[0],
        period_end=period[1],
        suppliers=list(suppliers),
        customers=list(customers),
        currencies=list(currencies),
    )


async def put_exception(
    connection: Connection,
    key: tuple[str, str, str],
    *,
    period: tuple[date, date],
    party_id: str,
    reason: str,
    now: datetime,
) -> None:
    """Record that a document (supplier, customer, currency) could not be issued, and why."""
    supplier_id, customer_id, currency = key
    await _sql.put_exception(
        connection,
        supplier_id=supplier_id,
        customer_id=customer_id,
        currency=currency,
        period_start=period[0],
        period_end=period[1],
        party_id=party_id,
        reason=reason,
        now=now,
    )
