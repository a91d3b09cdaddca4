"""Issuing drivers' documents from the journal, batch by batch, in the caller's transaction.

Owns: the order of steps and what a correction refers to. Must not know: what makes a document right
(`driver_document`), its XML or its print. A batch is documented once: its chain's cursor moves in the same
transaction. Numbers come from the series' row, which is locked until the commit, so that none is lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from clearing.connection import Connection
from clearing.documents import driver_document_repository as store
from clearing.documents.charged_items import (
    ChargedSession,
    DocumentBuyer,
    TaxInCurrency,
    corrected_items,
    corrected_quantity,
)
from clearing.documents.driver_document import (
    DRIVER_ID,
    DriverDocument,
    DriverSupply,
    Seller,
    invoice_of,
    seller_of,
    series_of,
    why_no_invoice,
)
from clearing.documents.driver_document_repository import SupplyRecord
from clearing.documents.einvoice import cii, ubl
from clearing.documents.invoice import require_complete
from clearing.documents.session_originals import (
    SessionOriginals,
    SessionReader,
)
from clearing.documents.standing_data_service import StandingData
from clearing.documents.tax_currency import state_currency, vat_in_state_currency
from clearing.errors import ClearingConflictError, InvalidDocumentError
from clearing.fx import MAX_AGE_DAYS, RateTable
from clearing.identifiers import format_id
from clearing.ledger.journal_entry import EntryKind
from clearing.money import half_away
from clearing.parties.business_details import InvoiceProfile
from clearing.parties.party import PLATFORM_ID, DocumentCadence, Party
from clearing.reference_data import repository as reference_repository
from clearing.reference_data.bundled_data import vat_rates
from clearing.sessions import repository as session_repository
from clearing.sessions.identities import trader_on
from clearing.tax.vat import Category, VatDecision

# A pending document is tried when its supplier's data change, and after this long: a rate may have come.
RETRY_AFTER: Final = timedelta(hours=6)
MAX_PENDING: Final = 500
AT_ONCE: Final = 250  # entries of several batches; a larger batch is documented by itself
RATE_AGE: Final = timedelta(days=MAX_AGE_DAYS + 1)
_UNDOES: Final = {EntryKind.REFUND_FAILED: EntryKind.REFUND, EntryKind.DISPUTE_WON: EntryKind.DISPUTE}
# A supply, and no correction of one: its document stands by itself.
_SALES: Final = frozenset({EntryKind.CAPTURE, EntryKind.SALE_REISSUED})
_Known = Mapping[UUID, Sequence[DriverDocument]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    supply: DriverSupply
    seller: Seller
    series: str
    preceding: str | None
    no_invoice_because: str
    charged: ChargedSession


class SessionOriginalsSource(Protocol):
    """Where the CDRs and tariffs of sessions are stored. Read for documents, never written."""

    async def load(
        self, connection: Connection, session_ids: Sequence[UUID]
    ) -> Mapping[UUID, SessionOriginals]:
        """The originals of those sessions that have them, by session."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDocumentSources:
    """What documents are written from beside the journal; without `originals` they show no place or times."""

    originals: SessionOriginalsSource | None = None
    reader: SessionReader = field(default_factory=SessionReader)
    standing: StandingData = field(default_factory=StandingData)

    async def load(
        self, connection: Connection, session_ids: Sequence[UUID]
    ) -> Mapping[UUID, SessionOriginals]:
        """The stored originals of these sessions."""
        if self.originals is None or not session_ids:
            return {}
        return await self.originals.load(connection, session_ids)


async def list_undocumented_chains(connection: Connection) -> Sequence[int]:
    """The hash chains with a batch that is not documented yet."""
    return await store.list_chains(connection)


async def issue_next(
    connection: Connection, *, chain: int, now: datetime, sources: DriverDocumentSources
) -> int | None:
    """Document the chain's next batch, or several at once where they have few entries.

    Returns how many documents were issued; None when there is nothing to do now: no batch, another worker
    documents the chain, or a correction of a capture whose own document is still to come from another chain.
    What lacks something that its state demands is kept as pending, with the reason.
    """
    batches = await store.find_next_batches(connection, chain, entries=AT_ONCE)
    if not batches:
        return None
    by_batch = await store.list_supplies(connection, [batch_id for batch_id, _ in batches])
    supplied, position = _before_corrections([(by_batch.get(one, ()), at) for one, at in batches])
    issued = await _issue(connection, supplied, now=now, sources=sources) if supplied else ()
    if issued is None:
        return None
    await store.move_cursor(connection, chain, position)
    return len(issued)


def _before_corrections(
    batches: Sequence[tuple[Sequence[SupplyRecord], int]],
) -> tuple[list[SupplyRecord], int]:
    """The supplies of the first batches, the earliest sale first, and the position of the last of these.

    They end before a batch that is about more than captures, unless it is the first, which then stands alone:
    a correction names a document that is issued.
    """
    supplied, position = list(batches[0][0]), batches[0][1]
    if _only_captures(supplied):
        for later, at in batches[1:]:
            if not _only_captures(later):
                break
            supplied += later
            position = at
    return sorted(supplied, key=_sale), position


def _only_captures(supplied: Sequence[SupplyRecord]) -> bool:
    return all(one.kind == EntryKind.CAPTURE for one in supplied)


def _sale(one: SupplyRecord) -> tuple[datetime, int, UUID, str, str]:
    return one.sale_at, one.shard, one.session_id, one.kind, one.reference


async def list_suppliers_to_retry(connection: Connection, *, now: datetime) -> Sequence[str]:
    """Suppliers with pending documents whose data were changed since, or that were not tried for hours."""
    return await store.list_pending_to_retry(connection, tried_before=now - RETRY_AFTER)


async def issue_pending(
    connection: Connection, *, supplier_id: str, now: datetime, sources: DriverDocumentSources
) -> int:
    """Try pending documents of a supplier again. Returns how many were issued; 0: none may be yet."""
    supplied = await store.lock_pending(connection, supplier_id, limit=MAX_PENDING)
    done = 0
    # Captures first: a correction names the document that it corrects.
    for corrections in (False, True):
        part = [one for one in supplied if (one.kind not in _SALES) is corrections]
        issued = await _issue(connection, part, now=now, sources=sources) if part else ()
        await store.delete_pending(connection, issued or ())
        done += len(issued or ())
    return done


async def _issue(
    connection: Connection,
    supplied: Sequence[SupplyRecord],
    *,
    now: datetime,
    sources: DriverDocumentSources,
) -> Sequence[DriverDocument] | None:
    parties = await sources.standing.load_parties(connection)
    rulings = await sources.standing.load_rulings(connection, [one.ruling_id for one in supplied])
    issued_on = now.astimezone(ZoneInfo(parties[PLATFORM_ID].time_zone)).date()
    drafting = _Drafting(
        parties=parties,
        rulings=rulings,
        originals=await sources.load(connection, [one.session_id for one in supplied if one.kind in _SALES]),
        reader=sources.reader,
        fx=await _rates(connection, supplied, rulings),
        issued_on=issued_on,
        now=now,
    )
    corrected = sorted({one.session_id for one in supplied if one.kind != EntryKind.CAPTURE})
    known = await store.list_by_sessions(connection, corrected) if corrected else {}
    waiting = dict(await store.list_pending_sessions(connection, corrected)) if corrected else {}
    drafts, pending = [], []
    for one in supplied:
        try:
            draft = drafting.draft(one, known)
        except InvalidDocumentError as error:
            pending.append((one, str(error)))
            waiting[one.session_id] = str(error)
            continue
        if draft is not None:
            drafts.append(draft)
        elif one.session_id in waiting:
            pending.append((one, f"waits for the document that it corrects: {waiting[one.session_id]}"))
        else:
            return None
    issued = await _numbered(connection, drafts, issued_on=issued_on, now=now)
    await store.insert(connection, issued)
    await store.add_pending(connection, pending, now=now)
    return issued


async def _rates(
    connection: Connection, supplied: Sequence[SupplyRecord], rulings: Mapping[str, VatDecision]
) -> RateTable:
    """The rates around these sales, if the VAT of one is owed in another currency than it was sold in."""
    days = [
        one.sale_at.date()
        for one in supplied
        if rulings[one.ruling_id].category is Category.STANDARD
        and state_currency(rulings[one.ruling_id].vat_of) != one.currency
    ]
    if not days:
        return RateTable(())
    return await reference_repository.load_rates_between(
        connection, min(days) - RATE_AGE, max(days) + timedelta(days=1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drafting:
    """What one round of documents is written from."""

    parties: Mapping[str, Party]
    rulings: Mapping[str, VatDecision]
    originals: Mapping[UUID, SessionOriginals]
    reader: SessionReader
    fx: RateTable
    issued_on: date
    now: datetime

    def draft(self, one: SupplyRecord, known: _Known) -> _Draft | None:
        """The document of a supply; None while what it corrects is not issued.

        Raises InvalidDocumentError where it lacks something.
        """
        supply, ruling = _supply(one), self.rulings[one.ruling_id]
        if one.kind not in _SALES:
            origin = _origin(one, known)
            return None if origin is None else self._following(supply, origin, ruling)
        party = self.parties[one.supplier_id]
        seller = seller_of(party, ruling, sale_day=supply.sale_day, rates=vat_rates())
        buyer = self._buyer(one, supply, ruling)
        reason = why_no_invoice(supply, ruling, seller)
        if buyer is not None and self.parties[buyer.id].document_cadence is not DocumentCadence.SESSION:
            reason = f"it is invoiced to {buyer.name} with its other sessions of the period"
        charged = replace(self._charged(one, supply, known), buyer=buyer)
        if one.kind != EntryKind.CAPTURE:
            supply = replace(supply, energy_kwh=_remaining_energy(supply, known))
        if not reason:
            charged = replace(charged, tax=self._tax(supply, ruling))
        draft = _Draft(
            supply=supply,
            seller=seller,
            series=series_of(party.id, invoice=not reason, gives_back=supply.gives_back),
            preceding=None,
            no_invoice_because=reason,
            charged=charged,
        )
        if not reason:
            self._require_complete(draft, ruling)
        return draft

    def _buyer(self, one: SupplyRecord, supply: DriverSupply, ruling: VatDecision) -> DocumentBuyer | None:
        party = self.parties.get(one.customer_id)
        if party is None:
            return None
        trader = trader_on(party, supply.sale_day, vat_rates())
        shown = trader.identified_in(ruling.vat_of) or trader.vat_id
        if shown is None and ruling.category is Category.STANDARD:
            # Nothing depends on it where VAT is charged (Directive 2006/112/EC art. 226(4)): proven since.
            shown = party.vat_id_on(self.issued_on)
        return DocumentBuyer(
            id=party.id,
            name=party.name,
            country=party.country,
            vat_id=shown,
            details=party.details,
        )

    def _charged(self, one: SupplyRecord, supply: DriverSupply, known: _Known) -> ChargedSession:
        operator = self.parties.get(one.cpo_id) if one.cpo_id != one.supplier_id else None
        name = None if operator is None else operator.name
        originals = self.originals.get(one.session_id)
        if originals is None:
            return ChargedSession(operator=name)
        country = vat_rates().tax_jurisdiction(one.place).country
        part, of = _part_sold(supply, known)
        if part == of:
            return self.reader.read(originals, net_minor=supply.net_minor, country=country, operator=name)
        whole_minor = half_away(supply.net_minor * of, part)
        whole = self.reader.read(originals, net_minor=whole_minor, country=country, operator=name)
        return replace(
            whole, items=corrected_items(whole.items, net_minor=supply.net_minor, of_minor=whole_minor)
        )

    def _tax(self, supply: DriverSupply, ruling: VatDecision) -> TaxInCurrency | None:
        return vat_in_state_currency(
            abs(supply.vat_minor), [ruling], currency=supply.currency, day=supply.sale_day, fx=self.fx
        )

    def _following(self, supply: DriverSupply, origin: DriverDocument, ruling: VatDecision) -> _Draft:
        """A correction is of the same kind and by the same seller as what it corrects, with its own part."""
        part, of = supply.net_minor + supply.vat_minor, origin.supply.net_minor + origin.supply.vat_minor
        energy = origin.supply.energy_kwh
        if energy is not None:
            energy = corrected_quantity(energy, part=part, of=of)
        charged = replace(
            origin.charged,
            items=corrected_items(
                origin.charged.items, net_minor=abs(supply.net_minor), of_minor=abs(origin.supply.net_minor)
            ),
            corrects_day=origin.issued_on.isoformat(),
            tax=None if origin.no_invoice_because else self._tax(supply, ruling),
        )
        return _Draft(
            supply=replace(supply, energy_kwh=energy),
            seller=origin.seller,
            series=series_of(supply.supplier_id, invoice=origin.is_invoice, gives_back=supply.gives_back),
            preceding=origin.name,
            no_invoice_because=origin.no_invoice_because,
            charged=charged,
        )

    def _require_complete(self, draft: _Draft, ruling: VatDecision) -> None:
        country = vat_rates().tax_jurisdiction(draft.supply.place).country
        document = _document(draft, number=1, issued_on=self.issued_on, now=self.now)
        invoice = invoice_of(document, ruling, country=country)
        require_complete(invoice, customer=draft.charged.buyer is not None)


def _supply(one: SupplyRecord) -> DriverSupply:
    local = ZoneInfo(vat_rates().tax_jurisdiction(one.place).time_zone)
    return DriverSupply(
        shard=one.shard,
        session_id=one.session_id,
        kind=one.kind,
        reference=one.reference,
        supplier_id=one.supplier_id,
        net_minor=one.net_minor,
        vat_minor=one.vat_minor,
        currency=one.currency,
        ruling_id=one.ruling_id,
        place=one.place,
        sale_day=one.sale_at.astimezone(local).date(),
        energy_kwh=one.energy_kwh,
    )


def _origin(one: SupplyRecord, known: _Known) -> DriverDocument | None:
    """The document that a correction corrects: the latest one of the sale to the buyer whose it was.

    Of what undoes a refund it is the refund's.
    """
    undone = _UNDOES.get(EntryKind(one.kind))
    found = None
    for document in known.get(one.session_id, ()):
        supply = document.supply
        if undone is not None:
            if (supply.kind, supply.reference) == (undone, one.reference):
                return document
        elif supply.kind in _SALES and _sold_to(document) == one.customer_id:
            found = document
    return found


def _sold_to(document: DriverDocument) -> str:
    return DRIVER_ID if document.charged.buyer is None else document.charged.buyer.id


def _part_sold(supply: DriverSupply, known: _Known) -> tuple[int, int]:
    """Of a sale that is issued anew: what of the gross was left then, and the gross of the first sale."""
    part = supply.net_minor + supply.vat_minor
    for document in known.get(supply.session_id, ()):
        if document.supply.kind == EntryKind.CAPTURE:
            return part, document.supply.net_minor + document.supply.vat_minor
    return part, part


def _remaining_energy(supply: DriverSupply, known: _Known) -> Decimal | None:
    part, of = _part_sold(supply, known)
    if supply.energy_kwh is None or part == of:
        return supply.energy_kwh
    return corrected_quantity(supply.energy_kwh, part=part, of=of)


async def _numbered(
    connection: Connection, drafts: Sequence[_Draft], *, issued_on: date, now: datetime
) -> list[DriverDocument]:
    """Numbered, series by series in the order of their names, so that workers can't deadlock."""
    issued: list[DriverDocument] = []
    # Sorting is stable: within a series the earliest sale keeps the lowest number.
    for series, found in groupby(sorted(drafts, key=_series), key=_series):
        group = list(found)
        first = await store.reserve_numbers(
            connection, supplier_id=group[0].supply.supplier_id, series=series, count=len(group)
        )
        issued += [
            _document(draft, number=first + place, issued_on=issued_on, now=now)
            for place, draft in enumerate(group)
        ]
    return issued


def _document(draft: _Draft, *, number: int, issued_on: date, now: datetime) -> DriverDocument:
    return DriverDocument(
        supply=draft.supply,
        seller=draft.seller,
        series=draft.series,
        number=number,
        issued_at=now,
        issued_on=issued_on,
        preceding=draft.preceding,
        no_invoice_because=draft.no_invoice_because,
        charged=draft.charged,
    )


def _series(draft: _Draft) -> str:
    return draft.series


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDocument:
    """An issued document with its ruling and its EN 16931 XML; a receipt has no XML."""

    document: DriverDocument
    ruling: VatDecision
    ubl: bytes | None
    cii: bytes | None


async def list_by_session(connection: Connection, session_id: UUID) -> list[ReadDocument]:
    """A session's documents in the order of issue, written from what was stored when they were issued.

    Raises ClearingConflictError while none is issued: the session is not cleared yet, or only just, or the
    seller lacks what its state demands.
    """
    documents = (await store.list_by_sessions(connection, [session_id])).get(session_id, ())
    if not documents:
        pending = (await store.list_pending_sessions(connection, [session_id])).get(session_id)
        if pending is not None:
            raise ClearingConflictError(
                f"the document of {format_id('ses', session_id)} is not issued yet: {pending}"
            )
        raise ClearingConflictError(
            f"session {format_id('ses', session_id)} has no document yet; one is issued once it is cleared"
        )
    rulings = await session_repository.load_rulings(connection, [one.supply.ruling_id for one in documents])
    return [_read(document, rulings[document.supply.ruling_id]) for document in documents]


def _read(document: DriverDocument, ruling: VatDecision) -> ReadDocument:
    if not document.is_invoice:
        return ReadDocument(document=document, ruling=ruling, ubl=None, cii=None)
    country = vat_rates().tax_jurisdiction(document.supply.place).country
    invoice = invoice_of(document, ruling, country=country)
    return ReadDocument(
        document=document,
        ruling=ruling,
        ubl=ubl(invoice, number=document.name, issued_on=document.issued_on),
        # Of a Factur-X file, whose rules know EN 16931 alone.
        cii=cii(
            replace(invoice, profile=InvoiceProfile.EN16931),
            number=document.name,
            issued_on=document.issued_on,
        ),
    )
