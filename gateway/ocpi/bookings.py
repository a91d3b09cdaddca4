"""The bookings module as receiver: where an operator takes bookings, its calendars, and what becomes of ours.

Owns: what a push does to what is kept. Must not know: the capture API, how a booking is requested.
Source: OCPI 2.3.0 bookings, Receiver Interface. A push that is older than what is kept changes nothing; a
booking that nobody here has requested is unknown.
"""

from typing import Any, Final

import msgspec

from gateway.database import Connection, transaction
from gateway.ocpi.booking_records import record_booking
from gateway.ocpi.booking_rules import find_calendar, merge_booking_location, place_calendar
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse, timestamp
from gateway.ocpi.errors import OcpiRejectionError, StatusCode
from gateway.ocpi.locations import check_owner
from gateway.ocpi.repository import bookings as stored_bookings
from gateway.ocpi.repository.bookings import BookingLocationRecord
from gateway.ocpi.repository.objects import count_stale
from gateway.ocpi.request_bodies import Tree, encode, identifier, read_object, same_identifier

_NAME: Final = "booking location"
_CALENDAR: Final = "calendar_id"


async def get_booking_location(call: OcpiRequest) -> OcpiResponse:
    """GET a BookingLocation, or one of its calendars, as it is kept here."""
    party, named = call.party(), call.segment("object_id")
    async with call.services.pool.acquire() as connection:
        stored = await stored_bookings.load_booking_location(
            connection, party_id=party, booking_location_id=named
        )
    if stored is None:
        raise _unknown(_NAME, named)
    if _CALENDAR not in call.request.match_info:
        return OcpiResponse(data=msgspec.Raw(stored.body))
    calendar = find_calendar(read_object(stored.body, name=_NAME).tree, call.segment(_CALENDAR))
    if calendar is None:
        raise _unknown("calendar", call.segment(_CALENDAR))
    return OcpiResponse(data=msgspec.Raw(encode(calendar, name=_NAME)))


async def put_booking_location(call: OcpiRequest) -> OcpiResponse:
    """PUT a BookingLocation, or a calendar into a known one; 201 when it is new."""
    party, named, pushed = call.party(), call.segment("object_id"), call.body(_NAME).tree
    if _CALENDAR in call.request.match_info:
        same_identifier(pushed, "id", call.segment(_CALENDAR))
        return await _change_calendar(call, party, named, pushed, whole=True)
    same_identifier(pushed, "id", named)
    async with transaction(call.services.pool) as connection:
        created = await _keep(call, connection, party, dict(pushed))
    return OcpiResponse(http_status=201 if created else 200)


async def patch_booking_location(call: OcpiRequest) -> OcpiResponse:
    """PATCH fields of a BookingLocation or of one of its calendars."""
    party, named, changes = call.party(), call.segment("object_id"), call.body(_NAME).tree
    if _CALENDAR in call.request.match_info:
        return await _change_calendar(call, party, named, changes, whole=False)
    changed_at = call.changed_at(changes)
    async with transaction(call.services.pool) as connection:
        stored = await _locked(connection, party, named)
        if changed_at < min(stored.last_updated, call.services.clock.now()):
            await count_stale(connection, peer_id=call.peer.id)
            return OcpiResponse()
        tree = dict(read_object(stored.body, name=_NAME).tree)
        merge_booking_location(tree, changes)
        same_identifier(tree, "id", named)
        await _keep(call, connection, party, tree)
    return OcpiResponse()


async def _change_calendar(
    call: OcpiRequest, party: str, named: str, calendar: Tree, *, whole: bool
) -> OcpiResponse:
    """Put or change a calendar; its time becomes its BookingLocation's where that is older."""
    calendar_id, changed_at = call.segment(_CALENDAR), call.changed_at(calendar)
    async with transaction(call.services.pool) as connection:
        stored = await _locked(connection, party, named)
        tree = dict(read_object(stored.body, name=_NAME).tree)
        known = find_calendar(tree, calendar_id)
        if known is None and not whole:
            raise _unknown("calendar", calendar_id)
        if known is not None and changed_at < call.changed_at(known):
            await count_stale(connection, peer_id=call.peer.id)
            return OcpiResponse()
        created = place_calendar(tree, calendar_id, calendar, whole=whole)
        tree["last_updated"] = timestamp(max(changed_at, stored.last_updated))
        await _keep(call, connection, party, tree)
    return OcpiResponse(http_status=201 if created else 200)


async def _keep(call: OcpiRequest, connection: Connection, party: str, tree: dict[str, Any]) -> bool | None:
    """Keep a whole BookingLocation, unless a newer one is kept. Raises OcpiRejectionError."""
    check_owner(tree, party=party, required=True)
    created = await stored_bookings.save_booking_location(
        connection,
        BookingLocationRecord(
            party_id=party,
            booking_location_id=identifier(tree, "id"),
            location_key=identifier(tree, "location_id").lower(),
            body=encode(tree, name=_NAME),
            last_updated=call.changed_at(tree),
        ),
        now=call.services.clock.now(),
    )
    if created is None:
        await count_stale(connection, peer_id=call.peer.id)
    return created


async def _locked(connection: Connection, party: str, named: str) -> BookingLocationRecord:
    stored = await stored_bookings.load_booking_location(
        connection, party_id=party, booking_location_id=named, lock=True
    )
    if stored is None:
        raise _unknown(_NAME, named)
    return stored


async def get_booking(call: OcpiRequest) -> OcpiResponse:
    """GET a booking as the operator last sent it."""
    named = call.segment("object_id")
    async with transaction(call.services.pool) as connection:
        known = await stored_bookings.lock_booking(connection, cpo_id=call.party(), named=named)
    if known is None or known.body is None:
        raise _unknown("booking", named)
    return OcpiResponse(data=msgspec.Raw(known.body))


async def put_booking(call: OcpiRequest) -> OcpiResponse:
    """PUT what has become of a booking; PATCH changes fields of what was sent before."""
    party, named, pushed = call.party(), call.segment("object_id"), call.body("booking").tree
    changed_at, now = call.changed_at(pushed), call.services.clock.now()
    patches = call.request.method == "PATCH"
    check_owner(pushed, party=party, required=not patches)
    async with transaction(call.services.pool) as connection:
        known = await stored_bookings.lock_booking(connection, cpo_id=party, named=named)
        if known is None or (patches and known.body is None):
            raise _unknown("booking", named)
        if known.last_updated is not None and changed_at < min(known.last_updated, now):
            await count_stale(connection, peer_id=call.peer.id)
            return OcpiResponse()
        kept = read_object(known.body, name="booking").tree if patches and known.body is not None else {}
        tree = {**kept, **pushed}
        await record_booking(connection, known, tree, changed_at=changed_at, now=now)
    return OcpiResponse()


def _unknown(what: str, named: str) -> OcpiRejectionError:
    return OcpiRejectionError(
        f"{what} {named} is unknown here", code=StatusCode.INVALID_PARAMETERS, http_status=404
    )
