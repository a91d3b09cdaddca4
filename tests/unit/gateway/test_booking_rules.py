"""Bookings as values: what an operator says, and when a request makes sense."""

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.ocpi.booking_rules import (
    ENDED,
    BookingRequestStatus,
    ReservationStatus,
    Timeslot,
    check_transition,
    find_calendar,
    merge_booking_location,
    read_booking,
    read_timeslots,
    why_not_bookable,
    why_too_late,
)
from gateway.ocpi.errors import OcpiRejectionError
from gateway.ocpi.request_bodies import read_object

NOW = datetime(2026, 10, 29, 8, tzinfo=UTC)
EXAMPLES = Path(os.environ.get("OCPI_EXAMPLES_DIR", "/nonexistent"), "2.3.0-bookings")


def slot(begins: int, ends: int) -> dict[str, str]:
    """Hours of the day after NOW."""
    day = NOW.replace(hour=0) + timedelta(days=1)
    return {
        "start_date_time": (day + timedelta(hours=begins)).isoformat(),
        "end_date_time": (day + timedelta(hours=ends)).isoformat(),
    }


def period(begins: float, ends: float) -> Timeslot:
    day = NOW.replace(hour=0) + timedelta(days=1)
    return Timeslot(begins_at=day + timedelta(hours=begins), ends_at=day + timedelta(hours=ends))


def place(*slots: dict[str, Any], **terms: Any) -> dict[str, Any]:
    return {
        "booking_terms": {
            name: value if isinstance(value, bool) else Decimal(value) for name, value in terms.items()
        },
        "calendars": [{"id": "C1", "available_timeslots": list(slots)}],
    }


@pytest.mark.parametrize(
    ("location", "wanted", "reason"),
    [
        (place(slot(8, 12)), period(8, 12), None),
        (place(slot(8, 12)), period(7.9, 10), "no time slot"),
        (place(slot(8, 12)), period(10, 12.1), "no time slot"),
        (place(slot(8, 10), slot(10, 12)), period(9, 11), "no time slot"),
        (place(), period(8, 12), None),
        ({}, period(8, 12), None),
        ({}, period(12, 12), "/ends_at"),
        ({}, Timeslot(begins_at=NOW, ends_at=NOW + timedelta(hours=1)), "/begins_at"),
        ({}, period(24 * 90, 24 * 90 + 1), "/begins_at"),
        (place(min_booking_duration=60), period(8, 8.9), "at least 60 minutes"),
        (place(min_booking_duration=60), period(8, 9), None),
        (place(max_booking_duration=60), period(8, 9.1), "at most 60 minutes"),
    ],
)
def test_a_period_is_requested_where_the_operator_offers_it(
    location: dict[str, Any], wanted: Timeslot, reason: str | None
) -> None:
    found = why_not_bookable(location, wanted, now=NOW)
    assert found is None if reason is None else reason in (found or "")


@pytest.mark.parametrize(
    ("terms", "cancels", "late"),
    [
        ({}, False, False),
        ({"change_until_minutes": 60}, False, False),
        ({"change_until_minutes": 61}, False, True),
        ({"change_until_minutes": 61}, True, False),
        ({"cancel_until_minutes": 61}, True, True),
        ({"change_not_allowed": True}, False, True),
        ({"change_not_allowed": True}, True, False),
        ({"change_until_minutes": -5}, False, False),
    ],
)
def test_the_operators_terms_say_until_when_a_booking_changes(
    terms: dict[str, Any],
    cancels: bool,  # noqa: FBT001 - a column of the table
    late: bool,  # noqa: FBT001 - likewise
) -> None:
    found = why_too_late(place(**terms), begins_at=NOW + timedelta(minutes=60), now=NOW, cancels=cancels)
    assert (found is not None) is late


def test_a_time_slot_that_can_t_be_read_is_left_out() -> None:
    odd = [
        {"start_date_time ": slot(8, 9)["start_date_time"], "end_date_time ": slot(8, 9)["end_date_time"]},
        {"start_date_time": "2025-03-23T00:00:00Z", "end_date_time": "2025-03-23T08:59:99Z"},
        {"start_date_time": slot(8, 9)["end_date_time"], "end_date_time": slot(8, 9)["start_date_time"]},
        {},
    ]
    assert read_timeslots(place(*odd)) == (period(8, 9),)
    for broken in ({"calendars": 7}, {"calendars": [7]}, {"calendars": [{"available_timeslots": "x"}]}):
        assert read_timeslots(broken) == ()


@pytest.mark.parametrize(
    ("tree", "status", "request_status"),
    [
        ({"reservation_status": "PENDING"}, "PENDING", "PENDING"),
        ({"reservation_status": "reserved"}, "RESERVED", "ACCEPTED"),
        ({"reservation_status": "REJECTED"}, "REJECTED", "DECLINED"),
        ({"reservation_status": "FAILED"}, "FAILED", "FAILED"),
        ({"reservation_status": "FULFILED"}, "UNKNOWN", "ACCEPTED"),
        (
            {
                "reservation_status": "RESERVED",
                "booking_requests": [{"request_status": "ACCEPTED"}, {"request_status": "PENDING"}],
            },
            "RESERVED",
            "PENDING",
        ),
        (
            {"reservation_status": "RESERVED", "booking_requests": [{"request_status": "UNANSWERED"}]},
            "RESERVED",
            "ACCEPTED",
        ),
    ],
)
def test_a_booking_says_its_state_and_that_of_its_newest_request(
    tree: dict[str, Any], status: str, request_status: str
) -> None:
    state = read_booking({"id": "B1", **tree})
    assert (state.status, state.request_status) == (status, request_status)


def test_a_booking_that_has_ended_stays_as_it_is() -> None:
    for before in ReservationStatus:
        for after in ReservationStatus:
            if before in ENDED and after is not before:
                with pytest.raises(OcpiRejectionError, match="has ended as"):
                    check_transition(before, after)
            else:
                check_transition(before, after)
    assert BookingRequestStatus.UNANSWERED not in set(ReservationStatus)


def test_calendars_are_merged_by_their_ids() -> None:
    kept: dict[str, Any] = {"id": "BL1", "calendars": [{"id": "A", "x": 1}, {"id": "B", "x": 1}]}
    merge_booking_location(kept, {"calendars": [{"id": "b", "x": 2}, {"id": "C"}], "location_id": "L"})
    assert [one["id"] for one in kept["calendars"]] == ["A", "b", "C"]
    assert (find_calendar(kept, "B") or {})["x"] == 2
    with pytest.raises(OcpiRejectionError, match=r"\$\.calendars\[0\]\.id: missing"):
        merge_booking_location(kept, {"calendars": [{"x": 3}]})


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="OCPI_EXAMPLES_DIR has no bookings")
def test_the_specifications_examples_are_read() -> None:
    booking = read_object((EXAMPLES / "booking_example.json").read_bytes(), name="booking").tree
    state = read_booking(booking)
    assert (state.status, state.request_status, state.booking_id) == ("RESERVED", "PENDING", "12345")
    raw = (EXAMPLES / "booking_location_example.json").read_bytes()
    read_timeslots(read_object(raw, name="booking location").tree)
