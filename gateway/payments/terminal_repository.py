"""Locations of payment terminals in PostgreSQL.

Owns: the translation between values and rows. Must not know: the PSP, who may see what.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries

_sql = named_queries("gateway", "terminals.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationRecord(FromRow):
    """A place with payment terminals. `psp_location` is None until the PSP has answered."""

    id: UUID
    party_id: str
    psp_location: str | None
    display_name: str
    metadata: Mapping[str, str]
    created_at: datetime


async def add_location(connection: Connection, **fields: Any) -> LocationRecord:
    """Commit what is about to be created at the PSP; the same id is the same location."""
    return LocationRecord.from_row(await _sql.add_location(connection, **fields))


async def record_location(connection: Connection, *, location_id: UUID, psp_location: str) -> LocationRecord:
    """The PSP has created a location."""
    return LocationRecord.from_row(
        await _sql.record_location(connection, id=location_id, psp_location=psp_location)
    )


async def find_location(connection: Connection, *, psp_location: str) -> LocationRecord | None:
    """A location by the PSP's id."""
    row = await _sql.load_location(connection, psp_location=psp_location)
    return None if row is None else LocationRecord.from_row(row)


async def list_locations(
    connection: Connection, *, party_id: str | None, before: UUID | None, limit: int
) -> list[LocationRecord]:
    """Locations of a party (None: all), newest first."""
    rows = _sql.list_locations(connection, party_id=party_id, before=before, row_limit=limit)
    return [LocationRecord.from_row(row) async for row in rows]
