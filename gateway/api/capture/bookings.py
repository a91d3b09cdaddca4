"""Bookings: where operators take them, and the booking of a session.

Owns: the wire form. Must not know how a booking reaches the operator.
"""

from typing import Any, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel, page
from gateway.api.field_types import InstantIn
from gateway.api.idempotency import KeyRule
from gateway.api.problems import FieldError, ProblemError
from gateway.ocpi.booking_rules import Timeslot, read_timeslots
from gateway.ocpi.booking_service import BookingCaller, BookingService
from gateway.ocpi.repository.bookings import BookingLocationRecord
from gateway.ocpi.request_bodies import read_object
from gateway.schemas.bookings import BookingLocationSchema, BookingSchema, BookingTimeslotSchema

_MAX_PAGE: Final = 100
_SEPARATOR: Final = "/"
_MOST_TEXT: Final = 255


class BookingLocationsQuery(QueryModel):
    """Which places are wanted."""

    cpo: str | None = Field(None, max_length=64, description="only this operator's")
    location: str | None = Field(None, max_length=39, description="only those of this location; needs `cpo`")
    limit: int = Field(20, ge=1, le=_MAX_PAGE, description="objects a page")
    cursor: str | None = Field(None, max_length=128, description="`next_cursor` of the page before")


class BookBody(WireModel):
    """Where and when."""

    booking_location: str = Field(min_length=1, max_length=36, description="`id` of a booking location")
    begins_at: InstantIn = Field(description="begin, within the next 90 days")
    ends_at: InstantIn = Field(description="end, after the begin")


class CancelBookingBody(WireModel):
    """Why the driver does not come."""

    reason: Literal["traffic", "broken_vehicle", "no_canceled", "unknown"] = Field(
        "no_canceled", description="CanceledReason of OCPI; `no_canceled`: the driver gave none"
    )


async def list_places(call: ApiRequest) -> ApiResponse:
    """Where operators take bookings, with the times that they offer."""
    query: BookingLocationsQuery = call.query
    if query.location is not None and query.cpo is None:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            "A location's id is unique within one operator only.",
            errors=[FieldError(pointer="cpo", expected="the operator of the location")],
        )
    party, _, named = (query.cursor or "").partition(_SEPARATOR)
    found = await _service(call).list_places(
        cpo_id=query.cpo, location_id=query.location, after=(party, named), limit=query.limit + 1
    )
    places = [_place(one) for one in found]
    return ApiResponse(
        body=page(places, limit=query.limit, cursor=lambda one: f"{one.cpo}{_SEPARATOR}{one.id}")
    )


async def book(call: ApiRequest) -> ApiResponse:
    """Request a booking for the session, or change it."""
    body: BookBody = call.body
    booking = await _service(call).book(
        _caller(call),
        session_id=call.path_id("id", "ses"),
        booking_location_id=body.booking_location,
        period=Timeslot(begins_at=body.begins_at, ends_at=body.ends_at),
    )
    return ApiResponse(body=booking)


async def cancel(call: ApiRequest) -> ApiResponse:
    """Request the end of the session's booking."""
    booking = await _service(call).cancel(
        _caller(call), session_id=call.path_id("id", "ses"), reason=call.body.reason.upper()
    )
    return ApiResponse(body=booking)


async def get(call: ApiRequest) -> ApiResponse:
    """The booking of the session."""
    return ApiResponse(body=await _service(call).load(_caller(call), session_id=call.path_id("id", "ses")))


def _service(call: ApiRequest) -> BookingService:
    if call.services.bookings is None:
        raise ProblemError(problems.UNAVAILABLE, "This process sends nothing to CPOs.")
    return call.services.bookings


def _caller(call: ApiRequest) -> BookingCaller:
    return BookingCaller(party_id=call.caller.party_id, admin=call.caller.admin)


def _place(stored: BookingLocationRecord) -> BookingLocationSchema:
    tree = read_object(stored.body, name="booking location").tree
    option, terms = _object(tree.get("booking_option")), _object(tree.get("booking_terms"))
    tariffs = tree.get("tariff_ids")
    return BookingLocationSchema(
        id=stored.booking_location_id,
        cpo=stored.party_id,
        location=str(tree["location_id"]),
        evse_uid=_text(option.get("evse_uid")),
        tariffs=[one for one in tariffs if isinstance(one, str)] if isinstance(tariffs, list) else [],
        timeslots=[
            BookingTimeslotSchema(begins_at=slot.begins_at, ends_at=slot.ends_at)
            for slot in read_timeslots(tree)
        ],
        change_until_minutes=_whole(terms.get("change_until_minutes")),
        cancel_until_minutes=_whole(terms.get("cancel_until_minutes")),
        terms_url=_text(terms.get("booking_terms")),
        updated_at=stored.last_updated,
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _MOST_TEXT else None


def _whole(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError, OverflowError):
        return None


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/booking-locations",
        operation="listBookingLocations",
        summary="List booking locations",
        description="Where operators take bookings over OCPI 2.3.0, with the time slots that they publish.",
        tag="Sessions",
        handler=list_places,
        query=BookingLocationsQuery,
        answers={200: BookingLocationSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/sessions/{id}/book",
        operation="bookSession",
        summary="Book a time at the charge point",
        description="Requests an OCPI booking for a session whose payment is secured. A further request with "
        "another period changes it. The operator may answer at once or later: `booking.changed`.",
        tag="Sessions",
        handler=book,
        body=BookBody,
        answers={200: BookingSchema},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/sessions/{id}/cancel-booking",
        operation="cancelBooking",
        summary="Cancel the booking",
        description="Requests the end of the session's booking; the payment is not released by it.",
        tag="Sessions",
        handler=cancel,
        body=CancelBookingBody,
        answers={200: BookingSchema},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/sessions/{id}/booking",
        operation="getBooking",
        summary="Get the booking",
        description="The booking of a session, as its operator last said.",
        tag="Sessions",
        handler=get,
        answers={200: BookingSchema},
        problems=(problems.NOT_FOUND,),
    ),
)
