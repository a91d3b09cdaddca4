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
from clearing.documents.driver_document import DriverDocument, DriverSupply, Seller
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
)
_SUPPLY_FIELDS: Final = tuple(DriverSupply.__dataclass_fields__)


class _LegRow(msgspec.Struct, frozen=True):
    leg: SupplyLeg
    supplier: str
    net: int
    vat: int
    ruling: str


class _SellerRow(msgspec.Struct, frozen=True):
    id: str
    name: str
    country: str
    vat_id: str | None


_legs: Final = msgspec.json.Decoder(list[_LegRow])
_seller: Final = msgspec.json.Decoder(_SellerRow)


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


async def list_chains(connection: Connection) -> list[int]:
    """The chains with a batch that is not documented yet."""
    return [row["chain"] for row in await rows(_sql.chains(connection))]


async def find_next_batch(connection: Connection, chain: int) -> tuple[UUID, int] | None:
    """The chain's next batch and its position, locked for this worker.

    None: there is none, or another worker has it.
    """
    await _sql.open_cursor(connection, chain=chain)
    position = await _sql.lock_cursor(connection, chain=chain)
    if position is None:
        return None
    batch_id = await _sql.batch_at(connection, chain=chain, position=position + 1)
    return None if batch_id is None else (batch_id, position + 1)


async def move_cursor(connection: Connection, chain: int, position: int) -> None:
    """That batch is documented."""
    await _sql.move_cursor(connection, chain=chain, position=position)


async def list_supplies(connection: Connection, batch_id: UUID) -> list[SupplyRecord]:
    """The supplies to drivers of a batch that came to an amount, the earliest sale first."""
    found = []
    for row in await rows(_sql.supplies(connection, batch_id=batch_id)):
        leg = _driver_leg(row)
        if leg.net + leg.vat:
            found.append(
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
                )
            )
    return found


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
    seller = _seller.decode(row["seller"])
    return DriverDocument(
        supply=DriverSupply(**{name: row[name] for name in _SUPPLY_FIELDS}),
        seller=Seller(id=seller.id, name=seller.name, country=seller.country, vat_id=seller.vat_id),
        series=row["series"],
        number=row["number"],
        issued_at=row["issued_at"],
        issued_on=row["issued_on"],
        preceding=row["preceding"],
        no_invoice_because=row["no_invoice_because"],
    )
