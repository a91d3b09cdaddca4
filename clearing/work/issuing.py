"""Issuing the documents between parties: which, for which days, under which number, once.

Owns: the order of steps inside the caller's transaction, and how far each party's documents reach. Must not
know: what makes a document right (`invoice`), its XML (`einvoice`), where it is sent.

Each party's documents follow one another without gap or overlap, whatever its cadence was before: the next
period begins on the day after the last one. So nothing is supplied twice or forgotten.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

from clearing.connection import Connection, named_queries, rows
from clearing.documents.cadence import period_end
from clearing.documents.einvoice import cii, ubl
from clearing.documents.invoice import DocumentType, Invoice, SuppliedSum, invoices_of
from clearing.documents.labels import Language
from clearing.documents.printing import invoice_page
from clearing.errors import ClearingError, InvalidDocumentError
from clearing.parties.party import PLATFORM_ID, DocumentCadence, Party
from clearing.reference import vat_rates
from clearing.store import captures, references
from clearing.tax.vat import Leg, VatDecision
from clearing.work.documents import IssuedDocument, content_sha256, document_name, issued

_sql = named_queries("documents")
_EVE: Final = timedelta(days=1)
_PREFIX_LENGTH: Final = 3  # "SB-"
_PREFIX: Final = {
    DocumentType.INVOICE: "IN",
    DocumentType.SELF_BILLED: "SB",
    DocumentType.CREDIT_NOTE: "CN",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedDocument:
    """A document that may not be issued yet, and what to do about it."""

    supplier_id: str
    customer_id: str
    currency: str
    reason: str

    @property
    def drawn_by(self) -> str:
        """The party by whose cadence it is drawn: of two, the one that is not the platform."""
        return self.customer_id if self.supplier_id == PLATFORM_ID else self.supplier_id


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePeriod:
    """Days (inclusive, the platform's) that are over and whose documents are to be issued for `parties`."""

    start: date
    end: date
    parties: Sequence[str]


async def wait_for_writers(connection: Connection) -> None:
    """Wait until what is being booked is committed; to be committed at once, since every writer waits too.

    After it whatever is booked is booked later than a period that is over, so a document misses nothing.
    """
    await _sql.wait_for_writers(connection)


async def booked_before(connection: Connection, *, until: datetime) -> bool:
    """Whether anything was booked before `until`."""
    first: datetime | None = await _sql.first_booked(connection)
    return first is not None and first < until


async def due(connection: Connection, *, today: date, limit: int) -> list[DuePeriod]:
    """What is to be issued on `today` (the platform's day): periods that are over, then what was refused.

    At most `limit` periods, the earliest first, each party's one after the other.
    """
    open_periods: dict[tuple[date, date], list[str]] = {}
    for party_id, reach in (await _reaches(connection)).items():
        if reach.day is None:
            continue
        start = reach.day + _EVE
        end = period_end(reach.cadence, start)
        if end < today:
            open_periods.setdefault((start, end), []).append(party_id)
    found = [
        DuePeriod(start=start, end=end, parties=parties)
        for (start, end), parties in sorted(open_periods.items())
    ]
    return found[:limit]


async def refused(connection: Connection) -> list[DuePeriod]:
    """The periods in which something was refused, to be tried again."""
    return [
        DuePeriod(start=row["period_start"], end=row["period_end"], parties=list(row["parties"]))
        for row in await rows(_sql.refused_periods(connection))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRefusal:
    """What could not be issued so far; instants are of the first and the last try."""

    supplier_id: str
    customer_id: str
    currency: str
    period_start: date
    period_end: date
    reason: str
    first_at: datetime
    last_at: datetime


async def refusals(connection: Connection) -> list[KeptRefusal]:
    """Everything that waits to be issued, the oldest first."""
    found = await rows(_sql.refusals(connection))
    return [KeptRefusal(**{name: row[name] for name in KeptRefusal.__dataclass_fields__}) for row in found]


async def issue(
    connection: Connection, *, start: date, end: date, now: datetime, parties: Sequence[str] | None = None
) -> tuple[Sequence[IssuedDocument], Sequence[RefusedDocument]]:
    """Issue the documents that are missing for `start` to `end` (inclusive, the platform's days).

    What the platform may write: its own invoices, and its suppliers' where they agreed to self-billing; of
    those that `parties` draw (None: all). Issuing again adds only what was refused before. The books need not
    be closed, but call `wait_for_writers` in a transaction before. Raises InvalidDocumentError while the
    period lasts.
    """
    await _sql.take_time(connection)
    await _sql.hold_issuing(connection)
    known = await references.parties(connection)
    zone = ZoneInfo(known[PLATFORM_ID].time_zone)
    until = datetime.combine(end + _EVE, time(), zone)
    if now < until:
        raise InvalidDocumentError(f"{start} to {end} lasts until {until.isoformat()}; issue when it is over")
    run = _Run(
        connection=connection, parties=known, period=(start, end), zone=zone,
        since=datetime.combine(start, time(), zone), until=until, now=now,
    )  # fmt: skip
    drawn, again = [], set()
    for name, reach in (await _reaches(connection)).items():
        if parties is not None and name not in parties:
            continue
        if reach.joins(start, end):
            drawn.append(name)
            if reach.covers(end):
                again.add(name)
        else:
            reason = f"{name!r} has documents up to {reach.day}; issue from the next day on"
            run.refuse(name, PLATFORM_ID, "", reason)
    run.again = frozenset(again)
    await run.issue(drawn)
    await run.keep_refusals(drawn)
    await _sql.move_progress(connection, parties=drawn, documented_to=end)
    return await issued(connection, start=start, end=end), run.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """Up to which day a party is documented; `begun` False: never, and nothing was booked up to that day."""

    day: date | None
    begun: bool
    cadence: DocumentCadence

    def covers(self, end: date) -> bool:
        """Whether the days up to `end` are on documents already."""
        return self.begun and self.day is not None and end <= self.day

    def joins(self, start: date, end: date) -> bool:
        """Whether a period follows on it without a gap or overlap, or lies within what is documented."""
        if self.day is None:
            return True
        if not self.begun:
            return start <= self.day + _EVE
        return start == self.day + _EVE or end <= self.day


async def _reaches(connection: Connection) -> dict[str, _Reach]:
    """Of each party; one never documented begins with the month in which it, or the books, began."""
    first: datetime | None = await _sql.first_booked(connection)
    zone = ZoneInfo((await references.parties(connection))[PLATFORM_ID].time_zone)
    found = {}
    for row in await rows(_sql.progress(connection)):
        day, begun = row["documented_to"], row["documented_to"] is not None
        if not begun and first is not None:
            began = max(first, row["created_at"]).astimezone(zone).date()
            day = began.replace(day=1) - _EVE
        found[row["id"]] = _Reach(day=day, begun=begun, cadence=DocumentCadence(row["document_cadence"]))
    return found


class _CoveredError(InvalidDocumentError):
    """These days are on documents already, drawn in another way."""


@dataclass(slots=True, kw_only=True)
class _Run:
    """One round of issuing; the parties of `again` are documented up to its end already."""

    connection: Connection
    parties: Mapping[str, Party]
    period: tuple[date, date]
    zone: ZoneInfo
    since: datetime
    until: datetime
    now: datetime
    again: frozenset[str] = frozenset()
    refused: list[RefusedDocument] = field(default_factory=list)

    async def issue(self, drawn: Sequence[str]) -> None:
        """Captures first: a credit note names the documents that it corrects, also of this round."""
        supplied = await rows(
            _sql.supplied(self.connection, since=self.since, until=self.until, parties=list(drawn))
        )
        rulings = await captures.rulings_of(self.connection, [row["ruling"] for row in supplied])
        for corrections in (False, True):
            corrected = await self._corrected() if corrections else {}
            part = [row for row in supplied if row["correction"] is corrections]
            for key, found in groupby(part, key=_key):
                sums = list(_sums(found, rulings))
                await self._issue_one(key, sums, preceding=corrected.get(key, []) if corrections else None)

    async def _issue_one(
        self, key: tuple[str, str, str, str], sums: Sequence[SuppliedSum], *, preceding: Sequence[str] | None
    ) -> None:
        supplier_id, customer_id, currency, subject = key
        try:
            invoices = invoices_of(
                sums,
                supplier=self.parties[supplier_id],
                customer=self.parties[customer_id],
                currency=currency,
                period=self.period,
                self_billed=supplier_id != PLATFORM_ID,
                rates=vat_rates(),
                preceding=preceding or (),
            )
            if subject:
                invoices = [_about(invoice, subject) for invoice in invoices]
            if preceding is not None:
                invoices = [_referring(invoice) for invoice in invoices]
            async with self.connection.transaction():  # all of a pair or nothing: no number is lost
                for invoice in invoices:
                    await self._store(invoice, subject=subject)
        except _CoveredError as error:
            if supplier_id not in self.again and customer_id not in self.again:
                self.refuse(supplier_id, customer_id, currency, str(error))
        except InvalidDocumentError as error:
            self.refuse(supplier_id, customer_id, currency, str(error))
        except ClearingError as error:  # one pair's fault must not keep the others' documents back
            self.refuse(supplier_id, customer_id, currency, f"a bug, nothing was issued: {error}")

    def refuse(self, supplier_id: str, customer_id: str, currency: str, reason: str) -> None:
        """Note what may not be issued."""
        self.refused.append(
            RefusedDocument(
                supplier_id=supplier_id, customer_id=customer_id, currency=currency, reason=reason
            )
        )

    async def keep_refusals(self, drawn: Sequence[str]) -> None:
        """Keep what was refused of this period, and forget what no longer is."""
        kept = [one for one in self.refused if one.currency]
        start, end = self.period
        await _sql.forget_refusals(
            self.connection, parties=list(drawn), period_start=start, period_end=end,
            suppliers=[one.supplier_id for one in kept], customers=[one.customer_id for one in kept],
            currencies=[one.currency for one in kept],
        )  # fmt: skip
        for one in kept:
            await _sql.put_refusal(
                self.connection, supplier_id=one.supplier_id, customer_id=one.customer_id,
                currency=one.currency, period_start=start, period_end=end, party_id=one.drawn_by,
                reason=one.reason, now=self.now,
            )  # fmt: skip

    async def _corrected(self) -> dict[tuple[str, str, str, str], list[str]]:
        """The names of the documents that each pair's corrections correct, also by session."""
        found: dict[tuple[str, str, str, str], list[str]] = {}
        for row in await rows(
            _sql.corrected(self.connection, since=self.since, until=self.until, zone=self.zone.key)
        ):
            name = document_name(row["series"], row["number"])
            pair = (row["supplier_id"], row["customer_id"], row["currency"])
            for subject in ("", row["session"]):
                names = found.setdefault((*pair, subject), [])
                if name not in names:
                    names.append(name)
        return found

    async def _store(self, invoice: Invoice, *, subject: str) -> None:
        series = _series(invoice)
        pair = {
            "supplier_id": invoice.supplier.id,
            "customer_id": invoice.customer.id,
            "currency": invoice.currency,
            "period_start": invoice.period_start,
            "period_end": invoice.period_end,
            "subject": subject,
        }
        about = {**pair, "type_code": int(invoice.type), "series": series}
        if await _sql.issued(self.connection, **about) is not None:
            return
        other = await _sql.overlapping(self.connection, **pair)
        if other is not None:
            raise _CoveredError(
                f"{document_name(other['series'], other['number'])} covers {other['period_start']} to "
                f"{other['period_end']} already; issue from the next day on"
            )
        number = await _sql.next_number(self.connection, issuer_id=PLATFORM_ID, series=series)
        content = self._content(invoice, document_name(series, number))
        await _sql.insert_document(
            self.connection,
            **about,
            issuer_id=PLATFORM_ID,
            number=number,
            net_minor=invoice.net_minor,
            vat_minor=invoice.vat_minor,
            gross_minor=invoice.gross_minor,
            content=json.dumps(content),
            content_sha256=content_sha256(content),
            now=self.now,
        )

    def _content(self, invoice: Invoice, name: str) -> dict[str, Any]:
        issued_on = self.now.astimezone(self.zone).date()
        pages = {
            str(language): asdict(invoice_page(invoice, number=name, issued_on=issued_on, language=language))
            for language in Language
        }
        content = {
            "ubl": ubl(invoice, number=name, issued_on=issued_on).decode(),
            "cii": cii(invoice, number=name, issued_on=issued_on).decode(),
            "pages": pages,
        }
        plain: dict[str, Any] = json.loads(json.dumps(content))  # as it is read back: tuples are lists
        return plain


def _about(invoice: Invoice, session: str) -> Invoice:
    """A document of one session, which its lines name."""
    return replace(invoice, lines=[replace(line, note=f"session {session}") for line in invoice.lines])


def _referring(invoice: Invoice) -> Invoice:
    """A credit note with the documents that it corrects: those of its own kind of series.

    Directive 2006/112/EC art. 219: what amends an invoice refers to it specifically and unambiguously.
    """
    if invoice.type is not DocumentType.CREDIT_NOTE:
        return invoice
    kind = _series(invoice)[_PREFIX_LENGTH:]
    named = [name for name in invoice.preceding if name.rpartition("-")[0][_PREFIX_LENGTH:] == kind]
    if not named:
        raise InvalidDocumentError(
            f"a credit note to {invoice.customer.id!r} names no invoice: that of the sales which it corrects "
            "is not issued"
        )
    return replace(invoice, preceding=named)


def _series(invoice: Invoice) -> str:
    """Self-billed documents are numbered apart for each supplier, whose documents they are.

    So is each of its registrations, and what lies outside VAT.
    """
    kind = "O" if invoice.outside_vat else "V"
    parts = [_PREFIX[invoice.type], invoice.supplier.id, kind]
    return "-".join([*parts, invoice.registered_in] if invoice.registered_in else parts)


def _key(row: Any) -> tuple[str, str, str, str]:
    return row["supplier_id"], row["customer_id"], row["currency"], row["subject"]


def _sums(found: Iterator[Any], rulings: Mapping[str, VatDecision]) -> Iterator[SuppliedSum]:
    for row in found:
        yield SuppliedSum(
            leg=Leg(row["leg"]),
            ruling=rulings[row["ruling"]],
            net_minor=row["net_minor"],
            vat_minor=row["vat_minor"],
            sessions=row["sessions"],
            first_day=row["first_sale_at"].date() - _EVE,  # of UTC: the local day is at most one earlier
        )
