"""Bookings as values: what an operator says of one, which states end it, and when a request makes sense.

Owns: reading Booking and BookingLocation, the states, the rules before a request. Must not know: SQL, HTTP.
Pure. Source: OCPI 2.3.0-bookings mod_bookings, Flow and Lifecycle, Booking, BookingTerms, Calendar. Its
examples hold times that do not exist and misspelt fields: such a timeslot is left out, never a reason to
refuse an object.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from gateway.ocpi.errors import OcpiRejectionError
from gateway.ocpi.request_bodies import Tree, identifier, objects, optional_moment, shown, text

LONGEST_AHEAD: Final = timedelta(days=90)


class ReservationStatus(StrEnum):
    """ReservationStatus of OCPI: what has become of a booking."""

    PENDING = "PENDING"
    RESERVED = "RESERVED"
    CANCELED = "CANCELED"
    FAILED = "FAILED"
    NO_SHOW = "NO_SHOW"
    FULFILLED = "FULFILLED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"


class BookingRequestStatus(StrEnum):
    """ReservationRequestStatus of OCPI, of the newest request; `UNANSWERED`: the CPO did not answer it."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    DECLINED = "DECLINED"
    FAILED = "FAILED"
    UNANSWERED = "UNANSWERED"


ENDED: Final = frozenset(
    {
        ReservationStatus.CANCELED,
        ReservationStatus.FAILED,
        ReservationStatus.NO_SHOW,
        ReservationStatus.FULFILLED,
        ReservationStatus.REJECTED,
    }
)
_REQUESTED: Final = {
    ReservationStatus.PENDING: BookingRequestStatus.PENDING,
    ReservationStatus.REJECTED: BookingRequestStatus.DECLINED,
    ReservationStatus.FAILED: BookingRequestStatus.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeslot:
    """A period that can be booked, or is: `begins_at` <= t < `ends_at`."""

    begins_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingState:
    """What a CPO says of a booking."""

    status: ReservationStatus
    request_status: BookingRequestStatus
    booking_id: str
    period: Timeslot | None


def read_booking(tree: Tree) -> BookingState:
    """What a Booking says. Raises OcpiRejectionError; a status that OCPI does not have is UNKNOWN."""
    named = text(tree, "reservation_status", limit=40).upper()
    status = ReservationStatus(named) if named in set(ReservationStatus) else ReservationStatus.UNKNOWN
    requests = objects(tree, "booking_requests")
    said = str(requests[-1].get("request_status", "")).upper() if requests else ""
    known = said in {one.value for one in BookingRequestStatus} - {BookingRequestStatus.UNANSWERED}
    period = tree.get("period")
    return BookingState(
        status=status,
        request_status=(
            BookingRequestStatus(said) if known else _REQUESTED.get(status, BookingRequestStatus.ACCEPTED)
        ),
        booking_id=identifier(tree, "id"),
        period=_timeslot(period) if isinstance(period, dict) else None,
    )


def check_transition(before: ReservationStatus, after: ReservationStatus) -> None:
    """Raise OcpiRejectionError where a booking that has ended would change."""
    if before in ENDED and after is not before:
        raise OcpiRejectionError(
            f"$.reservation_status: the booking has ended as {before}, got {shown(after)}"
        )


def read_timeslots(location: Tree) -> Sequence[Timeslot]:
    """What can be booked at a BookingLocation, by its calendars; empty where it has none that can be read."""
    return tuple(_timeslots(location))


def _timeslots(location: Tree) -> Iterator[Timeslot]:
    for calendar in _objects(location.get("calendars")):
        for slot in _objects(calendar.get("available_timeslots")):
            found = _timeslot(slot)
            if found is not None:
                yield found


def _timeslot(tree: Tree) -> Timeslot | None:
    named = {str(name).strip(): value for name, value in tree.items()}
    try:
        begins_at = optional_moment(named, "start_date_time")
        ends_at = optional_moment(named, "end_date_time")
    except OcpiRejectionError:
        return None
    if begins_at is None or ends_at is None or ends_at <= begins_at:
        return None
    return Timeslot(begins_at=begins_at, ends_at=ends_at)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def why_not_bookable(location: Tree, period: Timeslot, *, now: datetime) -> str | None:
    """Why a period can't be requested at a BookingLocation; None: it can.

    Where the operator publishes no calendar that can be read, it decides itself.
    """
    if not now < period.begins_at <= now + LONGEST_AHEAD:
        return "/begins_at: expected a time within the next 90 days"
    if period.ends_at <= period.begins_at:
        return "/ends_at: expected a time after the begin"
    slots = read_timeslots(location)
    if slots and not any(_holds(slot, period) for slot in slots):
        return "/begins_at: the operator offers no time slot for the whole period"
    terms, length = _terms(location), period.ends_at - period.begins_at
    shortest, longest = (_minutes(terms, name) for name in ("min_booking_duration", "max_booking_duration"))
    if shortest is not None and length < shortest:
        return f"/ends_at: the operator takes bookings of at least {shortest // timedelta(minutes=1)} minutes"
    if longest is not None and length > longest:
        return f"/ends_at: the operator takes bookings of at most {longest // timedelta(minutes=1)} minutes"
    return None


def why_too_late(location: Tree, *, begins_at: datetime, now: datetime, cancels: bool) -> str | None:
    """Why a booking can't be changed or cancelled any more by the operator's terms; None: it can."""
    terms = _terms(location)
    if not cancels and terms.get("change_not_allowed") is True:
        return "the operator does not change bookings"
    until = _minutes(terms, "cancel_until_minutes" if cancels else "change_until_minutes")
    if until is not None and now > begins_at - until:
        verb = "cancels" if cancels else "changes"
        return f"the operator {verb} bookings until {until // timedelta(minutes=1)} minutes before they begin"
    return None


def _holds(slot: Timeslot, period: Timeslot) -> bool:
    return slot.begins_at <= period.begins_at and period.ends_at <= slot.ends_at


def _terms(location: Tree) -> Tree:
    terms = location.get("booking_terms")
    return terms if isinstance(terms, dict) else {}


def _minutes(terms: Tree, name: str) -> timedelta | None:
    value = terms.get(name)
    return timedelta(minutes=float(value)) if isinstance(value, Decimal) and 0 <= value < 10**6 else None


def merge_booking_location(kept: dict[str, Any], changes: Tree) -> None:
    """Change fields of a BookingLocation; calendars are merged by their ids, new ones are added."""
    for name, value in changes.items():
        if name != "calendars" or not isinstance(value, list):
            kept[name] = value
            continue
        for position, calendar in enumerate(objects(changes, "calendars")):
            key = identifier(calendar, "id", at=f"$.calendars[{position}]")
            place_calendar(kept, key, calendar, whole=False)


def place_calendar(kept: dict[str, Any], calendar_id: str, calendar: Tree, *, whole: bool) -> bool:
    """Put a calendar into a BookingLocation, or change its fields unless `whole`; True when it is new."""
    calendars = [dict(one) for one in objects(kept, "calendars")]
    for one in calendars:
        if str(one.get("id", "")).lower() == calendar_id.lower():
            if whole:
                one.clear()
            one.update(calendar)
            kept["calendars"] = calendars
            return False
    kept["calendars"] = [*calendars, {"id": calendar_id, **calendar}]
    return True


def find_calendar(location: Tree, calendar_id: str) -> Mapping[str, Any] | None:
    """The calendar of a BookingLocation with this id, or None."""
    for one in objects(location, "calendars"):
        if str(one.get("id", "")).lower() == calendar_id.lower():
            return one
    return None
