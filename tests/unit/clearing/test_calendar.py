"""Bank days: cut-offs, joint calendars, and due dates."""

import csv
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files

import holidays
import pytest
import QuantLib
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.calendar import due_date, sales_day
from clearing.errors import CalendarExhaustedError
from clearing.reference_data import bundled_data
from tests.fakes import clearing_fixtures as world

CALENDARS = bundled_data.calendars()


def test_ascension_day_2026_is_open_in_target_and_closed_in_switzerland() -> None:
    ascension = date(2026, 5, 14)
    assert CALENDARS.is_clearing_day(ascension, currency="EUR", country="NL")
    assert not CALENDARS.is_clearing_day(ascension, currency="CHF", country="CH")
    assert not CALENDARS.is_clearing_day(ascension, currency="EUR", country="CH")  # joint: the bank is closed


def test_a_sale_before_easter_is_due_after_it() -> None:
    # Thursday 2026-04-02 + 2: Good Friday, the weekend and Easter Monday are closed: Tuesday, Wednesday.
    thursday = datetime(2026, 4, 2, 12, 0, tzinfo=UTC)
    assert due_date(thursday, world.NL_CPO, CALENDARS) == date(2026, 4, 8)


def test_a_saturday_sale_is_due_on_tuesday() -> None:
    assert due_date(datetime(2026, 10, 10, 12, 0, tzinfo=UTC), world.NL_CPO, CALENDARS) == date(2026, 10, 13)


def test_the_sales_day_is_the_partys_local_day() -> None:
    late = datetime(
        2026, 10, 13, 22, 30, tzinfo=UTC
    )  # half past midnight in Amsterdam, half past eleven in London
    assert sales_day(late, world.NL_CPO) == date(2026, 10, 14)
    assert sales_day(late, world.GB_CPO) == date(2026, 10, 13)


def test_from_the_cut_off_on_a_sale_belongs_to_the_next_day() -> None:
    party = replace(world.NL_CPO, cut_off_minute=17 * 60)
    assert sales_day(datetime(2026, 10, 13, 14, 59, tzinfo=UTC), party) == date(2026, 10, 13)
    assert sales_day(datetime(2026, 10, 13, 15, 0, tzinfo=UTC), party) == date(2026, 10, 14)


def test_no_terms_means_the_same_day_if_it_is_open() -> None:
    party = replace(world.NL_CPO, terms_days=0)
    assert due_date(datetime(2026, 10, 13, 12, 0, tzinfo=UTC), party, CALENDARS) == date(2026, 10, 13)
    assert due_date(datetime(2026, 10, 10, 12, 0, tzinfo=UTC), party, CALENDARS) == date(2026, 10, 12)


def test_a_year_beyond_the_file_is_rejected() -> None:
    with pytest.raises(CalendarExhaustedError, match="2025 to 2028"):
        due_date(datetime(2028, 12, 31, 12, 0, tzinfo=UTC), world.NL_CPO, CALENDARS)


def test_target_days_agree_with_an_independent_calendar() -> None:
    independent = holidays.financial_holidays("XECB", years=range(2025, 2029))
    for offset in range((date(2028, 12, 31) - date(2025, 1, 1)).days):
        day = date(2025, 1, 1) + timedelta(days=offset)
        expected = day.weekday() < 5 and day not in independent
        assert CALENDARS.is_clearing_day(day, currency="EUR", country="NL") == expected, day


@pytest.mark.parametrize(
    ("name", "independent"),
    [
        ("target", QuantLib.TARGET()),
        ("swiss", QuantLib.Switzerland()),
        ("united_kingdom", QuantLib.UnitedKingdom(QuantLib.UnitedKingdom.Settlement)),
    ],
)
def test_each_file_agrees_with_quantlib_on_every_day_that_it_covers(
    name: str, independent: QuantLib.Calendar
) -> None:
    (ours,) = [calendar for calendar in bundled_data.closing_days() if calendar.name == name]
    day, last = date(ours.first_year, 1, 1), date(ours.last_year, 12, 31)
    while day <= last:
        theirs = independent.isBusinessDay(QuantLib.Date(day.day, day.month, day.year))
        assert ours.is_open(day) == theirs, day
        day += timedelta(days=1)


def test_every_row_of_a_calendar_names_its_source_and_lies_within_whole_years() -> None:
    for name in bundled_data.CALENDAR_NAMES:
        text = (files("clearing.calendars") / f"{name}.csv").read_text(encoding="utf-8")
        rows = list(csv.DictReader(text.splitlines()))
        assert all(row["source"] and row["status"] in {"confirmed", "check"} for row in rows), name
        assert len({row["day"] for row in rows}) == len(rows), name
        years = {int(row["day"][:4]) for row in rows}
        assert years == set(range(min(years), max(years) + 1)), name
        # Each year has its Christmas: a year that was begun and not finished would be missing it.
        assert {f"{year}-12-25" for year in years} <= {row["day"] for row in rows}, name


@pytest.mark.parametrize("year", [2024, 2029])
def test_a_due_day_outside_the_files_is_rejected_with_the_next_step(year: int) -> None:
    with pytest.raises(CalendarExhaustedError, match="add the year's closing days"):
        CALENDARS.is_clearing_day(date(year, 6, 3), currency="EUR", country="NL")


@given(
    offset=st.integers(0, 1000), terms=st.integers(0, 10), party=st.sampled_from(list(world.PARTIES.values()))
)
def test_a_due_date_is_an_open_day_after_the_agreed_number_of_open_days(
    offset: int, terms: int, party: object
) -> None:
    agreed = replace(party, terms_days=terms)  # type: ignore[type-var]
    at = datetime(2025, 1, 1, 12, 0, tzinfo=UTC) + timedelta(days=offset)
    start, due = sales_day(at, agreed), due_date(at, agreed, CALENDARS)

    def is_open(day: date) -> bool:
        return CALENDARS.is_clearing_day(day, currency=agreed.settlement_currency, country=agreed.country)

    assert is_open(due)
    days = [start + timedelta(days=step) for step in range(1, (due - start).days + 1)]
    if terms:
        assert sum(is_open(day) for day in days) == terms


@settings(deadline=None)
@given(
    cut_off=st.integers(1, 1440),
    zone=st.sampled_from(["Europe/Zurich", "Europe/Lisbon", "Atlantic/Azores"]),
    start=st.sampled_from([datetime(2026, 10, 24, 20, tzinfo=UTC), datetime(2026, 3, 28, 20, tzinfo=UTC)]),
)
def test_a_later_sale_never_has_an_earlier_day_when_the_clock_changes(
    cut_off: int, zone: str, start: datetime
) -> None:
    """As it was: with a cut-off at 2:30, a sale at 2:45 had the 26th, and one at 2:15 later the 25th."""
    party = replace(world.NL_CPO, time_zone=zone, cut_off_minute=cut_off)
    days = [sales_day(start + timedelta(minutes=10 * step), party) for step in range(6 * 30)]
    assert days == sorted(days)


def test_a_cut_off_in_the_repeated_hour_is_its_first_occurrence() -> None:
    party = replace(world.NL_CPO, time_zone="Europe/Zurich", cut_off_minute=150)
    for minutes, expected in ((29, 25), (30, 26), (75, 26), (120, 26)):
        at = datetime(2026, 10, 25, 0, 0, tzinfo=UTC) + timedelta(minutes=minutes)  # 2:00 in summer time
        assert sales_day(at, party).day == expected
