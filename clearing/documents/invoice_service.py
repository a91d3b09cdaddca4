"""Issuing the documents between parties: which, for which days, under which number, once.

Owns: the order of steps inside the caller's transaction, and how far each party's documents reach. Must not
know: what makes a document right (`invoice`), its XML (`einvoice`), where it is sent.

Each party's documents follow one another without gap or overlap, whatever its cadence was before: the next
period begins on the day after the last one. So nothing is supplied twice or forgotten.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from clearing.connection import Connection
from clearing.documents import invoice_repository
from clearing.documents import service as document_service
from clearing.documents.cadence import period_end
from clearing.documents.document import DocumentExceptionRecord, DocumentSummary, document_name
from clearing.documents.driver_document import SETTLED
from clearing.documents.einvoice import cii, ubl
from clearing.documents.invoice import (
    DocumentType,
    Invoice,
    PrecedingDocument,
    SuppliedSum,
    invoices_of,
)
from clearing.documents.invoice_repository import (
    DocumentKey,
    DocumentRow,
    SuppliedRecord,
)
from clearing.documents.printed_page import invoice_page
from clearing.errors import ClearingError, InvalidDocumentError
from clearing.fx import MAX_AGE_DAYS, RateTable
from clearing.identifiers import format_id
from clearing.language import Language
from clearing.parties import repository as party_repository
from clearing.parties.business_details import InvoiceProfile
from clearing.parties.party import PLATFORM_ID, DocumentCadence, Party, PartyKind
from clearing.reference_data import repository as reference_repository
from clearing.reference_data.bundled_data import vat_rates
from clearing.sessions import repository as session_repository
from clearing.tax.vat import SupplyLeg, VatDecision

_DAY: Final = timedelta(days=1)
_RATE_AGE: Final = timedelta(days=MAX_AGE_DAYS + 1)
_PairKey = tuple[str, str, str, str]  # supplier, customer, currency, session or empty
_PREFIX_LENGTH: Final = 3  # "SB-"
_PREFIX: Final = {
    DocumentType.INVOICE: "IN",
    DocumentType.SELF_BILLED: "SB",
    DocumentType.CREDIT_NOTE: "CN",
    DocumentType.SELF_BILLED_CREDIT: "CN",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnissuedDocument:
    """A document that may not be issued yet, and what to do about it."""

    supplier_id: str
    customer_id: str
    currency: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePeriod:
    """Days (inclusive, the platform's) that are over and whose documents are to be issued for `parties`."""

    start: date
    end: date
    parties: Sequence[str]


async def wait_for_writers(connection: Connection) -> None:
    """Wait until every batch under way is committed; commit at once, since every writer waits too.

    Whatever is booked after it is booked later than a period that has ended, so a document misses nothing.
    """
    await invoice_repository.wait_for_writers(connection)


async def has_booked_before(connection: Connection, *, until: datetime) -> bool:
    """Whether anything was booked before `until`."""
    first = await invoice_repository.find_first_booked(connection)
    return first is not None and first < until


async def list_due(connection: Connection, *, today: date, limit: int) -> list[DuePeriod]:
    """The periods that have ended on `today` (the platform's day) and whose documents are to be issued.

    At most `limit` periods, the earliest first, each party's one after the other.
    """
    open_periods: dict[tuple[date, date], list[str]] = {}
    for party_id, documented in (await _documented_periods(connection)).items():
        if documented.day is None:
            continue
        start = documented.day + _DAY
        end = period_end(documented.cadence, start)
        if end < today:
            open_periods.setdefault((start, end), []).append(party_id)
    found = [
        DuePeriod(start=start, end=end, parties=parties)
        for (start, end), parties in sorted(open_periods.items())
    ]
    return found[:limit]


async def list_periods_with_exceptions(connection: Connection) -> list[DuePeriod]:
    """The periods in which something could not be issued, to be tried again."""
    return [
        DuePeriod(start=start, end=end, parties=parties)
        for start, end, parties in await invoice_repository.list_exception_periods(connection)
    ]


async def list_periods_to_retry(connection: Connection) -> list[DuePeriod]:
    """The periods in which something could not be issued, and a party's data were changed since."""
    return [
        DuePeriod(start=start, end=end, parties=parties)
        for start, end, parties in await invoice_repository.list_changed_exception_periods(connection)
    ]


async def list_document_exceptions(connection: Connection) -> Sequence[DocumentExceptionRecord]:
    """Everything that could not be issued so far, the oldest first."""
    return await invoice_repository.list_exceptions(connection)


async def issue(
    connection: Connection, *, start: date, end: date, now: datetime, parties: Sequence[str] | None = None
) -> tuple[Sequence[DocumentSummary], Sequence[UnissuedDocument]]:
    """Issue the documents that are missing for `start` to `end` (inclusive, the platform's days).

    The platform issues its own invoices, and its suppliers' where they agreed to self-billing; of those by
    the cadence of `parties` (None: of all). Issuing again adds only what could not be issued before. The
    books need not be closed, but call `wait_for_writers` in a transaction before. Raises InvalidDocumentError
    while the period lasts.
    """
    await invoice_repository.lock_issuing(connection)
    known = await party_repository.load_parties(connection)
    zone = ZoneInfo(known[PLATFORM_ID].time_zone)
    until = datetime.combine(end + _DAY, time(), zone)
    if now < until:
        raise InvalidDocumentError(
            f"{start} to {end} lasts until {until.isoformat()}; issue when it has ended"
        )
    run = _Run(
        connection=connection,
        parties=known,
        period=(start, end),
        zone=zone,
        since=datetime.combine(start, time(), zone),
        until=until,
        now=now,
        fx=await reference_repository.load_rates_between(connection, end - _RATE_AGE, end),
    )
    documented, again = [], set()
    for name, period in (await _documented_periods(connection)).items():
        if parties is not None and name not in parties:
            continue
        if period.joins(start, end):
            documented.append(name)
            if period.covers(end):
                again.add(name)
        else:
            reason = f"{name!r} has documents up to {period.day}; issue from the next day on"
            run.add_unissued(name, PLATFORM_ID, "", reason)
    run.again = frozenset(again)
    await run.issue(documented)
    await run.store_exceptions(documented)
    await invoice_repository.move_progress(connection, documented, documented_to=end)
    issued = await document_service.list_by_period(connection, start=start, end=end)
    return issued, run.unissued


@dataclass(frozen=True, slots=True, kw_only=True)
class _DocumentedPeriod:
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
            return start <= self.day + _DAY
        return start == self.day + _DAY or end <= self.day


async def _documented_periods(connection: Connection) -> dict[str, _DocumentedPeriod]:
    """Of each party; one never documented begins with the month in which it, or the books, began."""
    first = await invoice_repository.find_first_booked(connection)
    zone = ZoneInfo((await party_repository.load_parties(connection))[PLATFORM_ID].time_zone)
    found = {}
    for progress in await invoice_repository.list_progress(connection):
        day, begun = progress.documented_to, progress.documented_to is not None
        if not begun and first is not None:
            began = max(first, progress.created_at).astimezone(zone).date()
            day = began.replace(day=1) - _DAY
        found[progress.party_id] = _DocumentedPeriod(day=day, begun=begun, cadence=progress.cadence)
    return found


class _CoveredError(InvalidDocumentError):
    """These days are on documents already, issued by another cadence."""


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
    fx: RateTable
    again: frozenset[str] = frozenset()
    unissued: list[UnissuedDocument] = field(default_factory=list)

    async def issue(self, documented: Sequence[str]) -> None:
        """Captures first: a credit note names the documents that it corrects, also of this round."""
        supplied = await invoice_repository.list_supplied(
            self.connection, since=self.since, until=self.until, party_ids=documented
        )
        rulings = await session_repository.load_rulings(self.connection, [one.ruling for one in supplied])
        for corrections in (False, True):
            corrected = await self._corrected() if corrections else {}
            part = [one for one in supplied if one.correction is corrections]
            for key, found in groupby(part, key=_key):
                sums = list(_sums(found, rulings))
                await self._issue_one(key, sums, preceding=corrected.get(key, []) if corrections else None)

    async def _issue_one(
        self, key: _PairKey, sums: Sequence[SuppliedSum], *, preceding: Sequence[PrecedingDocument] | None
    ) -> None:
        supplier_id, customer_id, currency, subject = key
        bought = self.parties[customer_id].kind is PartyKind.BUYER
        try:
            invoices = invoices_of(
                sums,
                supplier=self.parties[supplier_id],
                customer=self.parties[customer_id],
                currency=currency,
                period=self.period,
                self_billed=supplier_id != PLATFORM_ID and not bought,
                rates=vat_rates(),
                fx=self.fx,
                preceding=preceding or (),
                session=format_id("ses", UUID(subject)) if subject else "",
            )
            if bought:  # each session was paid when it was captured
                invoices = [_paid(invoice) for invoice in invoices]
            if preceding is not None:
                invoices = [_referring(invoice) for invoice in invoices]
            async with self.connection.transaction():  # all of a pair or none: no number is lost
                for invoice in invoices:
                    await self._store(invoice, subject=subject)
        except _CoveredError as error:
            if supplier_id not in self.again and customer_id not in self.again:
                self.add_unissued(supplier_id, customer_id, currency, str(error))
        except InvalidDocumentError as error:
            self.add_unissued(supplier_id, customer_id, currency, str(error))
        except ClearingError as error:  # one pair's fault must not delay the others' documents
            self.add_unissued(supplier_id, customer_id, currency, f"a bug, nothing was issued: {error}")

    def add_unissued(self, supplier_id: str, customer_id: str, currency: str, reason: str) -> None:
        """Note what may not be issued."""
        self.unissued.append(
            UnissuedDocument(
                supplier_id=supplier_id, customer_id=customer_id, currency=currency, reason=reason
            )
        )

    async def store_exceptions(self, documented: Sequence[str]) -> None:
        """Store what could not be issued of this period, and delete what has been issued since."""
        unissued = {
            (one.supplier_id, one.customer_id, one.currency): one for one in self.unissued if one.currency
        }
        await invoice_repository.resolve_exceptions(
            self.connection, party_ids=documented, period=self.period, remaining=list(unissued)
        )
        for key, one in unissued.items():
            await invoice_repository.put_exception(
                self.connection,
                key,
                period=self.period,
                party_id=self._cadence_party(one),
                reason=one.reason,
                now=self.now,
            )

    def _cadence_party(self, one: UnissuedDocument) -> str:
        """By whose cadence it is issued: of two, the one that is not the platform, or the buyer."""
        buys = self.parties[one.customer_id].kind is PartyKind.BUYER
        return one.customer_id if buys or one.supplier_id == PLATFORM_ID else one.supplier_id

    async def _corrected(self) -> dict[_PairKey, list[PrecedingDocument]]:
        """The documents that each pair's corrections correct, also by session."""
        found: dict[_PairKey, list[PrecedingDocument]] = {}
        for pair, session, document in await invoice_repository.list_corrected(
            self.connection, since=self.since, until=self.until, zone=self.zone.key
        ):
            for subject in ("", session):
                names = found.setdefault((*pair, subject), [])
                if document not in names:
                    names.append(document)
        return found

    async def _store(self, invoice: Invoice, *, subject: str) -> None:
        key = DocumentKey(
            supplier_id=invoice.supplier.id,
            customer_id=invoice.customer.id,
            currency=invoice.currency,
            period_start=invoice.period_start,
            period_end=invoice.period_end,
            subject=subject,
            type_code=int(invoice.type),
            series=_series(invoice),
        )
        if await invoice_repository.is_issued(self.connection, key):
            return
        other = await invoice_repository.find_overlapping(self.connection, key)
        if other is not None:
            name, start, end = other
            raise _CoveredError(f"{name} covers {start} to {end} already; issue from the next day on")
        number = await invoice_repository.reserve_number(
            self.connection, issuer_id=PLATFORM_ID, series=key.series
        )
        row = DocumentRow(
            issuer_id=PLATFORM_ID,
            number=number,
            net_minor=invoice.net_minor,
            vat_minor=invoice.vat_minor,
            gross_minor=invoice.gross_minor,
            content=self._content(invoice, document_name(key.series, number)),
        )
        await invoice_repository.insert_document(self.connection, key, row, now=self.now)

    def _content(self, invoice: Invoice, name: str) -> dict[str, Any]:
        issued_on = self.now.astimezone(self.zone).date()
        pages = {
            str(language): asdict(invoice_page(invoice, number=name, issued_on=issued_on, language=language))
            for language in Language
        }
        content = {
            "ubl": ubl(invoice, number=name, issued_on=issued_on).decode(),
            # Of a Factur-X file, whose rules know EN 16931 alone; the receiver's own profile is in UBL.
            "cii": cii(
                replace(invoice, profile=InvoiceProfile.EN16931), number=name, issued_on=issued_on
            ).decode(),
            "pages": pages,
        }
        plain: dict[str, Any] = json.loads(json.dumps(content))  # as it is read back: tuples are lists
        return plain


def _paid(invoice: Invoice) -> Invoice:
    return replace(invoice, paid_minor=invoice.due_minor, terms=SETTLED)


def _referring(invoice: Invoice) -> Invoice:
    """A credit note with the documents that it corrects: those of its own kind of series.

    Directive 2006/112/EC art. 219: what amends an invoice refers to it specifically and unambiguously.
    """
    if not invoice.type.is_credit:
        return invoice
    kind = _series(invoice)[_PREFIX_LENGTH:]
    named = [one for one in invoice.preceding if one.number.rpartition("-")[0][_PREFIX_LENGTH:] == kind]
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


def _key(supplied: SuppliedRecord) -> _PairKey:
    return supplied.supplier_id, supplied.customer_id, supplied.currency, supplied.subject


def _sums(found: Iterable[SuppliedRecord], rulings: Mapping[str, VatDecision]) -> Iterator[SuppliedSum]:
    for one in found:
        yield SuppliedSum(
            leg=SupplyLeg(one.leg),
            ruling=rulings[one.ruling],
            net_minor=one.net_minor,
            vat_minor=one.vat_minor,
            sessions=one.sessions,
            first_day=one.first_sale_at.date() - _DAY,  # of UTC: the local day is at most one earlier
            energy_kwh=one.energy_kwh,
            session=_named(one),
        )


def _named(one: SuppliedRecord) -> str:
    """A session and the day of its sale (UTC), as its line says."""
    if not one.session:
        return ""
    return f"{format_id('ses', UUID(one.session))}, {one.first_sale_at:%Y-%m-%d}"
