"""Where operators take bookings, and the bookings that we requested, in PostgreSQL.

Owns: translation between rows and values. Must not know: HTTP, or what a booking means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries

_sql = named_queries("gateway", "ocpi_bookings.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingLocationRecord:
    """A BookingLocation as pushed: canonical JSON, and the location that it is of, its id in lower case."""

    party_id: str
    booking_location_id: str
    location_key: str
    body: bytes
    last_updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingRecord:
    """A booking that we requested for a session; `body` is the CPO's Booking, None until it has answered."""

    session_id: UUID
    cpo_id: str
    demand_partner_id: str
    request_key: str
    booking_location_id: str
    begins_at: datetime
    ends_at: datetime
    status: str
    request_status: str
    reason: str | None
    body: bytes | None
    last_updated: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingAnswer:
    """What to record of a booking; None leaves `booking_id`, the period, `body` and `last_updated`."""

    status: str
    request_status: str
    booking_id: str | None = None
    begins_at: datetime | None = None
    ends_at: datetime | None = None
    reason: str | None = None
    body: bytes | None = None
    last_updated: datetime | None = None


async def save_booking_location(
    connection: Connection, location: BookingLocationRecord, *, now: datetime
) -> bool | None:
    """Keep a BookingLocation: True when it is new, None when what is kept is newer."""
    created: bool | None = await _sql.save_booking_location(
        connection,
        party_id=location.party_id,
        key=location.booking_location_id.lower(),
        booking_location_id=location.booking_location_id,
        location_key=location.location_key,
        body=location.body,
        last_updated=location.last_updated,
        now=now,
    )
    return created


async def load_booking_location(
    connection: Connection, *, party_id: str, booking_location_id: str, lock: bool = False
) -> BookingLocationRecord | None:
    """One BookingLocation; `lock` holds its row until the transaction ends."""
    query = _sql.lock_booking_location if lock else _sql.load_booking_location
    row = await query(connection, party_id=party_id, key=booking_location_id.lower())
    return None if row is None else BookingLocationRecord(**dict(row))


async def list_booking_locations(
    connection: Connection,
    *,
    party_id: str | None,
    location_id: str | None,
    after: tuple[str, str],
    limit: int,
) -> Sequence[BookingLocationRecord]:
    """BookingLocations by party and id, behind `after` (party, id), of a party or a location or all."""
    rows = _sql.list_booking_locations(
        connection,
        party_id=party_id,
        location_key=None if location_id is None else location_id.lower(),
        after_party=after[0],
        after_key=after[1].lower(),
        row_limit=limit,
    )
    return [BookingLocationRecord(**dict(row)) async for row in rows]


async def request_booking(connection: Connection, booking: BookingRecord, *, now: datetime) -> None:
    """Record that a booking, or a change of it, is about to be requested."""
    await _sql.request_booking(
        connection,
        session_id=booking.session_id,
        cpo_id=booking.cpo_id,
        demand_partner_id=booking.demand_partner_id,
        request_key=booking.request_key,
        booking_location_id=booking.booking_location_id,
        begins_at=booking.begins_at,
        ends_at=booking.ends_at,
        now=now,
    )


async def load_booking(connection: Connection, *, session_id: UUID) -> BookingRecord | None:
    """The booking of a session, or None."""
    return _booking(await _sql.load_booking(connection, session_id=session_id))


async def lock_booking(connection: Connection, *, cpo_id: str, named: str) -> BookingRecord | None:
    """The booking that a CPO names by our request id or its own id; its row is held."""
    return _booking(await _sql.lock_booking(connection, cpo_id=cpo_id, key=named.lower()))


async def answer_booking(
    connection: Connection, answer: BookingAnswer, *, session_id: UUID, now: datetime
) -> None:
    """Record what a CPO said of a booking."""
    await _sql.answer_booking(
        connection,
        session_id=session_id,
        booking_key=None if answer.booking_id is None else answer.booking_id.lower(),
        status=answer.status,
        request_status=answer.request_status,
        begins_at=answer.begins_at,
        ends_at=answer.ends_at,
        reason=None if answer.reason is None else answer.reason.replace("\x00", "")[:500],
        body=answer.body,
        last_updated=answer.last_updated,
        now=now,
    )


def _booking(row: Any) -> BookingRecord | None:
    return None if row is None else BookingRecord(**dict(row))
