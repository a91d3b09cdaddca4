"""Bookings as the API and its events show them.

Owns: the shapes. Must not know how a booking is requested.
"""

from typing import Literal

from pydantic import Field

from gateway.schemas.api_schemas import Instant, PublicSchema


class BookingSchema(PublicSchema):
    """The booking of a session, as its operator last said."""

    object: Literal["booking"] = "booking"
    session: str = Field(
        description="the session that is booked", examples=["ses_01jd2w3x4y5z6a7b8c9d0e1f2g"]
    )
    cpo: str = Field(description="the operator", examples=["NL-ABC"])
    booking_location: str = Field(description="the operator's id of where it takes bookings")
    begins_at: Instant = Field(description="begin of the booked time")
    ends_at: Instant = Field(description="end of the booked time")
    status: str = Field(
        description="`pending`, `reserved`, or how it ended: `rejected`, `failed`, `canceled`, `no_show`, "
        "`fulfilled` (OCPI ReservationStatus)",
        examples=["reserved"],
    )
    request_status: str = Field(
        description="of the newest request, which may be a change: `pending`, `accepted`, `declined`, "
        "`failed`, or `unanswered`: the operator did not answer, it may be booked or not",
        examples=["accepted"],
    )
    reason: str | None = Field(description="why a request failed, for a person to read")
    created: Instant = Field(description="time of the first request")


class BookingTimeslotSchema(PublicSchema):
    """A time that the operator offers."""

    begins_at: Instant = Field(description="begin of the time slot")
    ends_at: Instant = Field(description="end of the time slot, exclusive")


class BookingLocationSchema(PublicSchema):
    """Where an operator takes bookings."""

    object: Literal["booking_location"] = "booking_location"
    id: str = Field(description="the operator's id, for `book`")
    cpo: str = Field(description="the operator")
    location: str = Field(description="the operator's location")
    evse_uid: str | None = Field(description="the EVSE that is booked; null: the operator assigns one")
    tariffs: list[str] = Field(description="ids of the tariffs that may count")
    timeslots: list[BookingTimeslotSchema] = Field(
        description="what is offered, by the operator's calendars; empty: it decides at the request"
    )
    change_until_minutes: int | None = Field(description="minutes before the begin until which it changes")
    cancel_until_minutes: int | None = Field(description="minutes before the begin until which it cancels")
    terms_url: str | None = Field(description="where the operator's terms are, as it says")
    updated_at: Instant = Field(description="time of the operator's last change")
