"""Every restriction with its inclusive lower and exclusive upper bound (OCPI mod_tariffs)."""

from typing import Any

import pytest

from clearing.errors import MalformedDocumentError
from tests.unit.clearing.pricing_builders import codes, component, element, priced_by, program_of, tariff_of

ENERGY = component("ENERGY", "1")


def applies(at: str, zone: str = "UTC", dims: dict[str, str] | None = None, **restrictions: Any) -> bool:
    """Whether an element so restricted prices a period that starts at `at` (UTC)."""
    program = program_of(element(ENERGY, **restrictions))
    found = priced_by(program, (0, {"ENERGY": "1"} | (dims or {})), zone=zone, start=at, minutes=1)
    return found.excl_vat > 0


@pytest.mark.parametrize(
    ("start", "end", "at", "expected"),
    [
        ("08:00", "17:00", "2026-03-02T07:59:59", False),
        ("08:00", "17:00", "2026-03-02T08:00:00", True),
        ("08:00", "17:00", "2026-03-02T16:59:59", True),
        ("08:00", "17:00", "2026-03-02T17:00:00", False),
        ("22:00", "06:00", "2026-03-02T22:00:00", True),  # wraps over midnight
        ("22:00", "06:00", "2026-03-02T05:59:59", True),
        ("22:00", "06:00", "2026-03-02T06:00:00", False),
        ("22:00", "06:00", "2026-03-02T21:59:59", False),
        ("20:00", "00:00", "2026-03-02T23:59:59", True),  # 00:00 is the end of the day
        ("20:00", "00:00", "2026-03-03T00:00:00", False),
        ("00:00", "00:00", "2026-03-02T12:00:00", True),
        ("20:00", "24:00", "2026-03-02T23:59:59", True),  # not OCPI's, but unmistakable
        ("20:00", None, "2026-03-02T23:59:59", True),
        ("20:00", None, "2026-03-02T19:59:59", False),
        (None, "06:00", "2026-03-02T00:00:00", True),
        (None, "06:00", "2026-03-02T06:00:00", False),
        ("08:00", "08:00", "2026-03-02T08:00:00", False),  # from eight until eight is never
    ],
)
def test_time_of_day(start: str | None, end: str | None, at: str, *, expected: bool) -> None:
    assert applies(at, start_time=start, end_time=end) is expected


@pytest.mark.parametrize(
    ("at", "zone", "expected"),
    [
        ("2026-03-02T07:30:00", "Europe/Amsterdam", True),  # 08:30 in winter
        ("2026-07-06T06:30:00", "Europe/Amsterdam", True),  # 08:30 in summer
        ("2026-07-06T07:30:00", "Europe/London", True),
        ("2026-07-06T06:30:00", "Europe/London", False),
        ("2026-03-02T12:30:00", "America/New_York", False),
        ("2026-03-02T13:30:00", "America/New_York", True),
    ],
)
def test_time_of_day_is_that_of_the_location(at: str, zone: str, *, expected: bool) -> None:
    assert applies(at, zone, start_time="08:00", end_time="09:00") is expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-10-24T23:30:00", False),  # 01:30 summer time
        ("2026-10-25T00:30:00", True),  # 02:30 summer time
        ("2026-10-25T01:30:00", True),  # 02:30 again, winter time
        ("2026-10-25T02:00:00", False),  # 03:00 winter time
    ],
)
def test_the_double_hour_of_autumn_counts_twice(at: str, *, expected: bool) -> None:
    assert applies(at, "Europe/Amsterdam", start_time="02:00", end_time="03:00") is expected


def test_the_missing_hour_of_spring_is_skipped() -> None:
    night = element(component("TIME", "1"), start_time="02:00", end_time="03:00")
    rest = element(component("TIME", "10"))
    program = program_of(night, rest)
    start = "2026-03-29T00:30:00"  # 01:30 in winter time; at 01:00 UTC the clock jumps to 03:00
    found = priced_by(
        program, (0, {"TIME": "0.5"}), (30, {"TIME": "0.5"}), zone="Europe/Amsterdam", start=start
    )
    assert [line.element for line in found.lines] == [1, 1]


def test_a_session_across_a_change_of_the_clock_is_placed_period_by_period() -> None:
    program = program_of(element(component("TIME", "1"), end_time="03:00"), element(component("TIME", "2")))
    start = "2026-10-25T00:30:00"  # 02:30 summer time, then 02:30 winter time, then 03:30
    periods = [(60.0 * hour, {"TIME": "1"}) for hour in range(3)]
    found = priced_by(program, *periods, zone="Europe/Amsterdam", start=start, minutes=180)
    assert [line.element for line in found.lines] == [0, 0, 1]


@pytest.mark.parametrize(
    ("days", "at", "expected"),
    [
        (["MONDAY"], "2026-03-02T12:00:00", True),
        (["TUESDAY"], "2026-03-02T12:00:00", False),
        (["SUNDAY"], "2026-03-01T22:30:00", True),  # 23:30 on Sunday in Amsterdam
        (["MONDAY"], "2026-03-01T23:30:00", True),  # 00:30 on Monday in Amsterdam
        ([], "2026-03-02T12:00:00", True),
        (["HOLIDAY"], "2026-03-02T12:00:00", False),
    ],
)
def test_day_of_week_is_the_local_one(days: list[str], at: str, *, expected: bool) -> None:
    assert applies(at, "Europe/Amsterdam", day_of_week=days) is expected


def test_weekdays_after_midnight_of_a_wrapping_time_are_those_of_the_moment() -> None:
    night = {"start_time": "20:00", "end_time": "08:00", "day_of_week": ["FRIDAY"]}
    assert applies("2026-03-06T21:00:00", **night)
    assert not applies("2026-03-07T02:00:00", **night)  # Saturday, though the night began on Friday
    assert applies("2026-03-06T02:00:00", **night)  # Friday's own small hours


@pytest.mark.parametrize(
    ("first", "last", "at", "expected"),
    [
        ("2026-03-02", "2026-03-03", "2026-03-02T00:00:00", True),
        ("2026-03-02", "2026-03-03", "2026-03-01T23:59:59", False),
        ("2026-03-02", "2026-03-03", "2026-03-02T23:59:59", True),
        ("2026-03-02", "2026-03-03", "2026-03-03T00:00:00", False),
        (None, "2026-03-03", "1999-01-01T00:00:00", True),
        ("2026-03-02", None, "2099-01-01T00:00:00", True),
    ],
)
def test_dates_end_before_their_last_day(
    first: str | None, last: str | None, at: str, *, expected: bool
) -> None:
    assert applies(at, start_date=first, end_date=last) is expected


@pytest.mark.parametrize(("before", "expected"), [("9.999", 0), ("10", 1), ("19.999", 1), ("20", 0)])
def test_energy_counts_before_the_period(before: str, expected: int) -> None:
    program = program_of(element(ENERGY, min_kwh=10, max_kwh=20))
    found = priced_by(program, (0, {"ENERGY": before}), (30, {"ENERGY": "0.001"}))
    assert sum(1 for line in found.lines if line.period == 1) == expected


@pytest.mark.parametrize(("minutes", "expected"), [(29, 0), (30, 1), (59, 1), (60, 0)])
def test_duration_counts_from_the_start_of_the_session(minutes: int, expected: int) -> None:
    program = program_of(element(ENERGY, min_duration=1800, max_duration=3600))
    found = priced_by(program, (0, {"TIME": "0.1"}), (minutes, {"ENERGY": "1"}), minutes=90)
    assert len(found.lines) == expected


def test_duration_does_not_count_the_reservation() -> None:
    program = program_of(element(ENERGY, min_duration=1800))
    reserved = (0, {"RESERVATION_TIME": "0.5"})
    assert priced_by(program, reserved, (30, {"ENERGY": "1"}), minutes=90).lines == ()
    charged = priced_by(program, reserved, (30, {"TIME": "0.5"}), (60, {"ENERGY": "1"}), minutes=90)
    assert len(charged.lines) == 1


@pytest.mark.parametrize(
    ("restriction", "dims", "expected"),
    [
        ({"min_current": 32}, {"MIN_CURRENT": "32"}, True),
        ({"min_current": 32}, {"MIN_CURRENT": "31.9"}, False),
        ({"max_current": 32}, {"MAX_CURRENT": "31.9"}, True),
        ({"max_current": 32}, {"MAX_CURRENT": "32"}, False),
        ({"min_power": 16}, {"MIN_POWER": "16"}, True),
        ({"min_power": 16}, {"MIN_POWER": "15.99"}, False),
        ({"max_power": 16}, {"MAX_POWER": "15.99"}, True),
        ({"max_power": 16}, {"MAX_POWER": "16"}, False),
        ({"min_current": 32}, {"MAX_CURRENT": "40"}, True),  # the only measure stands in
        ({"max_current": 32}, {"CURRENT": "20"}, True),
        ({"min_current": 32}, {}, False),  # not measured: not shown to apply
        ({"max_current": 32}, {}, False),
        ({"min_power": 30, "max_power": 90}, {}, True),  # 1 kWh in a minute is 60 kW
        ({"min_power": 16, "max_power": 32}, {"MIN_POWER": "20", "MAX_POWER": "30"}, True),
        ({"min_power": 16, "max_power": 32}, {"MIN_POWER": "20", "MAX_POWER": "40"}, False),
    ],
)
def test_current_and_power(restriction: dict[str, int], dims: dict[str, str], *, expected: bool) -> None:
    assert applies("2026-03-02T12:00:00", dims=dims, **restriction) is expected


def test_all_restrictions_must_hold_at_once() -> None:
    both = {"start_time": "08:00", "end_time": "18:00", "day_of_week": ["MONDAY"]}
    assert applies("2026-03-02T12:00:00", **both)
    assert not applies("2026-03-03T12:00:00", **both)
    assert not applies("2026-03-02T18:00:00", **both)


def test_an_unknown_restriction_is_noted_and_never_applies() -> None:
    tariff = tariff_of(element(ENERGY, dayOfWeek=["MONDAY"]))
    assert codes(tariff) == {"unknown_restriction"}
    assert not applies("2026-03-02T12:00:00", dayOfWeek=["MONDAY"])
    assert applies("2026-03-02T12:00:00", dayOfWeek=None)


def test_an_unknown_reservation_kind_never_holds() -> None:
    assert codes(tariff_of(element(ENERGY, reservation="MAYBE"))) == {"unknown_value"}
    assert not applies("2026-03-02T12:00:00", reservation="MAYBE")


@pytest.mark.parametrize(
    ("restriction", "path"),
    [
        ({"start_time": "8:00"}, "$.elements[0].restrictions.start_time"),
        ({"end_time": "25:00"}, "$.elements[0].restrictions.end_time"),
        ({"start_time": "12:00:00"}, "$.elements[0].restrictions.start_time"),
        ({"start_time": "\uff11\uff12:00"}, "$.elements[0].restrictions.start_time"),
        ({"start_date": "2026-02-30"}, "$.elements[0].restrictions.start_date"),
        ({"end_date": "tomorrow"}, "$.elements[0].restrictions.end_date"),
        ({"min_kwh": "many"}, "$.elements[0].restrictions.min_kwh"),
        ({"day_of_week": "MONDAY"}, "$.elements[0].restrictions.day_of_week"),
    ],
)
def test_a_malformed_restriction_is_rejected_with_its_path(restriction: dict[str, Any], path: str) -> None:
    with pytest.raises(MalformedDocumentError) as rejected:
        tariff_of(element(ENERGY, **restriction))
    assert rejected.value.path == path
