"""What is recorded of a booking when its operator speaks, and the event for whoever requested it.

Owns: from a Booking to the record, in the caller's transaction. Must not know: HTTP, who sent the Booking.
"""

from datetime import datetime
from typing import Final

from gateway.database import Connection
from gateway.ids import format_id, shard_of
from gateway.ocpi.booking_rules import ReservationStatus, check_transition, read_booking
from gateway.ocpi.repository import bookings
from gateway.ocpi.repository.bookings import BookingAnswer, BookingRecord
from gateway.ocpi.request_bodies import Tree, encode
from gateway.schemas.bookings import BookingSchema
from gateway.webhooks import events
from gateway.webhooks.events import EventType, NewEvent

_NAME: Final = "booking"


async def record_booking(
    connection: Connection, known: BookingRecord, tree: Tree, *, changed_at: datetime, now: datetime
) -> BookingRecord:
    """Record what an operator says of a booking. Raises OcpiRejectionError where it can't be one."""
    state = read_booking(tree)
    check_transition(ReservationStatus(known.status), state.status)
    answer = BookingAnswer(
        status=state.status.value,
        request_status=state.request_status.value,
        booking_id=state.booking_id,
        begins_at=None if state.period is None else state.period.begins_at,
        ends_at=None if state.period is None else state.period.ends_at,
        body=encode(tree, name=_NAME),
        last_updated=changed_at,
    )
    return await record_answer(connection, known, answer, now=now)


async def record_answer(
    connection: Connection, known: BookingRecord, answer: BookingAnswer, *, now: datetime
) -> BookingRecord:
    """Record an answer about a booking, with an event where it shows a change."""
    await bookings.answer_booking(connection, answer, session_id=known.session_id, now=now)
    changed = await bookings.load_booking(connection, session_id=known.session_id)
    if changed is None:
        return known
    if shown(changed) != shown(known):
        event = NewEvent(
            type=EventType.BOOKING_CHANGED,
            party_id=changed.demand_partner_id,
            object_id=format_id("ses", changed.session_id),
            data=shown(changed).as_json(),
            shard=shard_of(changed.session_id),
        )
        await events.record(connection, [event], now=now)
    return changed


def shown(booking: BookingRecord) -> BookingSchema:
    """A booking as the API and its events show it."""
    return BookingSchema(
        session=format_id("ses", booking.session_id),
        cpo=booking.cpo_id,
        booking_location=booking.booking_location_id,
        begins_at=booking.begins_at,
        ends_at=booking.ends_at,
        status=booking.status.lower(),
        request_status=booking.request_status.lower(),
        reason=booking.reason,
        created=booking.created_at,
    )
