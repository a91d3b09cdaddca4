"""Drivers' documents in PostgreSQL: the journal's supplies to read, series of numbers, documents.

Owns: rows to values and back, the bulk form. Must not know: which document a supply gets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from clearing.captured_session import shard_of
from clearing.connection import Connection, named_queries, rows
from clearing.documents.charged_items import parse_charged_session
from clearing.documents.driver_document import DriverDocument, DriverSupply, seller_from
from clearing.errors import ClearingInvariantViolation
from clearing.identifiers import format_id
from clearing.tax.vat import SupplyLeg

_sql = named_queries("driver_document")
_COLUMNS: Final = (
    "shard",
    "session_id",
    "kind",
    "reference",
    "supplier_id",
    "series",
    "number",
    "type_code",
    "currency",
    "net_minor",
    "vat_minor",
    "ruling_id",
    "seller_id",
    "place",
    "sale_day",
    "energy_kwh",
    "preceding",
    "no_invoice_because",
    "issued_on",
    "issued_at",
    "details",
)
_MOST_BATCHES: Final = 64  # of one round
_SUPPLY_FIELDS: Final = tuple(DriverSupply.__dataclass_fields__)


class _LegRow(msgspec.Struct, frozen=True):
    leg: SupplyLeg
    supplier: str
    customer: str
    net: int
    vat: int
    ruling: str


_legs: Final = msgspec.json.Decoder(list[_LegRow])


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyRecord:
    """A supply to a driver in the journal; `place` is the tax jurisdiction, in whose time zone its day is."""

    shard: int
    session_id: UUID
    kind: str
    reference: str
    currency: str
    place: str
    sale_at: datetime
    energy_kwh: Decimal | None
    supplier_id: str
    net_minor: int
    vat_minor: int
    ruling_id: str
    cpo_id: str
    customer_id: str


async def list_chains(connection: Connection) -> list[int]:
    """The chains with a batch that is not documented yet."""
    return [row["chain"] for row in await rows(_sql.chains(connection))]


async def find_next_batches(connection: Connection, chain: int, *, entries: int) -> list[tuple[UUID, int]]:
    """The chain's next batches and their positions, without a gap, locked for this worker.

    As many as have up to `entries` entries in all, but at least one. Empty: the next one is not there, or
    another worker documents the chain.
    """
    found = await rows(_sql.next_batches(connection, chain=chain, limit=_MOST_BATCHES))
    if not found:
        await _sql.open_cursor(connection, chain=chain)
        found = await rows(_sql.next_batches(connection, chain=chain, limit=_MOST_BATCHES))
    chosen: list[tuple[UUID, int]] = []
    for place, row in enumerate(found, start=1):
        if row["position"] != row["documented"] + place:  # none, or one is missing: nothing is passed over
            break
        entries -= row["entry_count"]
        if chosen and entries < 0:
            break
        chosen.append((row["id"], row["position"]))
    return chosen


async def move_cursor(connection: Connection, chain: int, position: int) -> None:
    """That batch is documented."""
    await _sql.move_cursor(connection, chain=chain, position=position)


async def list_supplies(
    connection: Connection, batch_ids: Sequence[UUID]
) -> dict[UUID, Sequence[SupplyRecord]]:
    """The supplies to drivers that came to an amount, by batch, each batch's earliest sale first."""
    found: dict[UUID, list[Any]] = {}
    for row in await rows(_sql.supplies(connection, batch_ids=list(batch_ids))):
        found.setdefault(row["batch_id"], []).append(row)
    return {batch_id: _supplies(its_rows) for batch_id, its_rows in found.items()}


def _supplies(found: Sequence[Any]) -> list[SupplyRecord]:
    supplies = []
    for row in found:
        leg = _driver_leg(row)
        if leg.net + leg.vat:
            supplies.append(
                SupplyRecord(
                    shard=row["shard"],
                    session_id=row["session_id"],
                    kind=row["kind"],
                    reference=row["reference"],
                    currency=row["currency"],
                    place=row["tax_jurisdiction"],
                    sale_at=row["sale_at"],
                    energy_kwh=row["energy_kwh"],
                    supplier_id=leg.supplier,
                    net_minor=leg.net,
                    vat_minor=leg.vat,
                    ruling_id=leg.ruling,
                    cpo_id=row["cpo_id"],
                    customer_id=leg.customer,
                )
            )
    return supplies


async def add_pending(
    connection: Connection, pending: Sequence[tuple[SupplyRecord, str]], *, now: datetime
) -> None:
    """Record supplies whose document lacks something, and what; a known one gets the new reason."""
    if pending:
        await _sql.add_pending(
            connection,
            shards=[one.shard for one, _ in pending],
            sessions=[one.session_id for one, _ in pending],
            kinds=[one.kind for one, _ in pending],
            references=[one.reference for one, _ in pending],
            suppliers=[one.supplier_id for one, _ in pending],
            reasons=[reason for _, reason in pending],
            now=now,
        )


async def list_pending_to_retry(connection: Connection, *, tried_before: datetime) -> list[str]:
    """The suppliers with pending documents: changed since the last attempt, or last tried before then."""
    found = await rows(_sql.pending_to_retry(connection, tried_before=tried_before))
    return [row["supplier_id"] for row in found]


async def lock_pending(connection: Connection, supplier_id: str, *, limit: int) -> list[SupplyRecord]:
    """Pending supplies of a supplier, captures first, the longest tried first.

    The supplier is locked for this worker; empty while another has it.
    """
    if not await _sql.lock_supplier(connection, supplier_id=supplier_id):
        return []
    return _supplies(await rows(_sql.pending_of_supplier(connection, supplier_id=supplier_id, limit=limit)))


async def delete_pending(connection: Connection, documents: Sequence[DriverDocument]) -> None:
    """What was issued is pending no more."""
    await _sql.delete_pending(
        connection,
        shards=[one.supply.shard for one in documents],
        sessions=[one.supply.session_id for one in documents],
        kinds=[one.supply.kind for one in documents],
        references=[one.supply.reference for one in documents],
    )


async def list_pending_sessions(connection: Connection, session_ids: Sequence[UUID]) -> Mapping[UUID, str]:
    """Why a document of these sessions is pending, by session."""
    shards = [shard_of(session_id) for session_id in session_ids]
    found = await rows(_sql.pending_of_sessions(connection, shards=shards, sessions=list(session_ids)))
    return {row["session_id"]: row["reason"] for row in found}


def _driver_leg(row: Any) -> _LegRow:
    legs = [leg for leg in _legs.decode(row["legs"]) if leg.leg is SupplyLeg.TO_DRIVER]
    if len(legs) != 1:
        raise ClearingInvariantViolation(
            f"entry {row['kind']} of {format_id('ses', row['session_id'])} has {len(legs)} driver's legs"
        )
    return legs[0]


async def reserve_numbers(connection: Connection, *, supplier_id: str, series: str, count: int) -> int:
    """The first of `count` consecutive numbers; the series is locked until the transaction ends."""
    first: int = await _sql.take_numbers(connection, issuer_id=supplier_id, series=series, count=count)
    return first


async def insert(connection: Connection, documents: Sequence[DriverDocument]) -> None:
    """Store documents with their sellers' snapshots."""
    if not documents:
        return
    sellers = {document.seller.snapshot_id(): document.seller.content() for document in documents}
    await _sql.insert_sellers(connection, ids=list(sellers), contents=list(sellers.values()))
    await connection.copy_records_to_table(
        "driver_document",
        schema_name="clearing",
        columns=_COLUMNS,
        records=[_record(document) for document in documents],
    )


def _record(document: DriverDocument) -> tuple[Any, ...]:
    supply = document.supply
    return (
        supply.shard,
        supply.session_id,
        supply.kind,
        supply.reference,
        supply.supplier_id,
        document.series,
        document.number,
        int(document.type),
        supply.currency,
        supply.net_minor,
        supply.vat_minor,
        supply.ruling_id,
        document.seller.snapshot_id(),
        supply.place,
        supply.sale_day,
        supply.energy_kwh,
        document.preceding,
        document.no_invoice_because,
        document.issued_on,
        document.issued_at,
        document.charged.to_json(),
    )


async def list_by_sessions(
    connection: Connection, session_ids: Sequence[UUID]
) -> Mapping[UUID, Sequence[DriverDocument]]:
    """The documents of sessions, each session's in the order of issue."""
    found: dict[UUID, list[DriverDocument]] = {}
    shards = [shard_of(session_id) for session_id in session_ids]
    for row in await rows(_sql.of_sessions(connection, shards=shards, sessions=list(session_ids))):
        found.setdefault(row["session_id"], []).append(_document(row))
    return found


def _document(row: Any) -> DriverDocument:
    return DriverDocument(
        supply=DriverSupply(**{name: row[name] for name in _SUPPLY_FIELDS}),
        seller=seller_from(row["seller"]),
        series=row["series"],
        number=row["number"],
        issued_at=row["issued_at"],
        issued_on=row["issued_on"],
        preceding=row["preceding"],
        no_invoice_because=row["no_invoice_because"],
        charged=parse_charged_session(row["details"]),
    )
