"""Issuing drivers' documents from the journal, batch by batch, in the caller's transaction.

Owns: the order of steps and what a correction refers to. Must not know: what makes a document right
(`driver_document`), its XML or its print. A batch is documented once: its chain's cursor moves in the same
transaction. Numbers come from the series' row, which is locked until the commit, so that none is lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from clearing.connection import Connection
from clearing.documents import driver_document_repository as store
from clearing.documents.driver_document import (
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
from clearing.errors import ClearingConflictError
from clearing.identifiers import format_id
from clearing.ledger.journal_entry import EntryKind
from clearing.parties import repository as party_repository
from clearing.parties.party import PLATFORM_ID, Party
from clearing.reference_data.bundled_data import vat_rates
from clearing.sessions import repository as session_repository
from clearing.tax.vat import VatDecision

_UNDOES: Final = {EntryKind.REFUND_FAILED: EntryKind.REFUND, EntryKind.DISPUTE_WON: EntryKind.DISPUTE}
_Known = Mapping[UUID, Sequence[DriverDocument]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    supply: DriverSupply
    seller: Seller
    series: str
    preceding: str | None
    no_invoice_because: str


async def list_undocumented_chains(connection: Connection) -> Sequence[int]:
    """The hash chains with a batch that is not documented yet."""
    return await store.list_chains(connection)


async def issue_next(connection: Connection, *, chain: int, now: datetime) -> int | None:
    """Document the chain's next batch.

    Returns how many documents were issued; None when there is nothing to do now: no batch, another worker has
    it, or a correction of a capture whose own document is still to come from another chain.
    """
    found = await store.find_next_batch(connection, chain)
    if found is None:
        return None
    batch_id, position = found
    supplied = await store.list_supplies(connection, batch_id)
    issued: Sequence[DriverDocument] = ()
    if supplied:
        parties = await party_repository.load_parties(connection)
        drafts = await _drafts(connection, supplied, parties)
        if drafts is None:
            return None
        issued_on = now.astimezone(ZoneInfo(parties[PLATFORM_ID].time_zone)).date()
        issued = await _numbered(connection, drafts, issued_on=issued_on, now=now)
        await store.insert(connection, issued)
    await store.move_cursor(connection, chain, position)
    return len(issued)


async def _drafts(
    connection: Connection, supplied: Sequence[SupplyRecord], parties: Mapping[str, Party]
) -> list[_Draft] | None:
    rulings = await session_repository.load_rulings(connection, [one.ruling_id for one in supplied])
    corrected = {one.session_id for one in supplied if one.kind != EntryKind.CAPTURE}
    known = await store.list_by_sessions(connection, sorted(corrected)) if corrected else {}
    drafts = []
    for one in supplied:
        supply = _supply(one)
        if one.kind == EntryKind.CAPTURE:
            drafts.append(_first(supply, parties[one.supplier_id], rulings[one.ruling_id]))
            continue
        origin = _origin(supply, known)
        if origin is None:
            return None
        drafts.append(_following(supply, origin))
    return drafts


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


def _first(supply: DriverSupply, party: Party, ruling: VatDecision) -> _Draft:
    seller = seller_of(party, ruling, sale_day=supply.sale_day, rates=vat_rates())
    reason = why_no_invoice(supply, ruling, seller)
    return _Draft(
        supply=supply,
        seller=seller,
        series=series_of(party.id, invoice=not reason, gives_back=supply.gives_back),
        preceding=None,
        no_invoice_because=reason,
    )


def _origin(supply: DriverSupply, known: _Known) -> DriverDocument | None:
    """The document that a correction corrects: the capture's, or that of the refund which it undoes."""
    undone = _UNDOES.get(EntryKind(supply.kind))
    wanted = (EntryKind.CAPTURE, "") if undone is None else (undone, supply.reference)
    for document in known.get(supply.session_id, ()):
        if (document.supply.kind, document.supply.reference) == wanted:
            return document
    return None


def _following(supply: DriverSupply, origin: DriverDocument) -> _Draft:
    """A correction is of the same kind and by the same seller as what it corrects."""
    return _Draft(
        supply=supply,
        seller=origin.seller,
        series=series_of(supply.supplier_id, invoice=origin.is_invoice, gives_back=supply.gives_back),
        preceding=origin.name,
        no_invoice_because=origin.no_invoice_because,
    )


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
            DriverDocument(
                supply=draft.supply,
                seller=draft.seller,
                series=series,
                number=first + place,
                issued_at=now,
                issued_on=issued_on,
                preceding=draft.preceding,
                no_invoice_because=draft.no_invoice_because,
            )
            for place, draft in enumerate(group)
        ]
    return issued


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

    Raises ClearingConflictError while none is issued: the session is not cleared yet, or only just.
    """
    documents = (await store.list_by_sessions(connection, [session_id])).get(session_id, ())
    if not documents:
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
        cii=cii(invoice, number=document.name, issued_on=document.issued_on),
    )
