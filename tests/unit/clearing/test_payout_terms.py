"""Periods, reserves and the forecast: days across the clock's changes, cents that are never lost."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.calendar import due_date, sales_day
from clearing.errors import InvalidAmountError
from clearing.parties.payout_terms import Cadence, PayoutHold, PayoutTerms, period_end
from clearing.payouts.forecast import DuePayable, payout_calendar
from clearing.payouts.reserve import withheld
from clearing.reference_data import bundled_data
from tests.fakes import clearing_fixtures as world

WEEKLY = PayoutTerms(cadence=Cadence.WEEKLY, cadence_day=5)
MONTHLY = PayoutTerms(cadence=Cadence.MONTHLY, cadence_day=31)


@pytest.mark.parametrize(
    ("day", "terms", "end"),
    [
        (date(2026, 10, 13), PayoutTerms(), date(2026, 10, 13)),
        (date(2026, 10, 13), WEEKLY, date(2026, 10, 16)),
        (date(2026, 10, 16), WEEKLY, date(2026, 10, 16)),
        (date(2026, 10, 17), WEEKLY, date(2026, 10, 23)),
        (date(2026, 12, 31), WEEKLY, date(2027, 1, 1)),
        (date(2028, 2, 10), MONTHLY, date(2028, 2, 29)),
        (date(2026, 4, 30), MONTHLY, date(2026, 4, 30)),
        (date(2026, 12, 16), replace(MONTHLY, cadence_day=15), date(2027, 1, 15)),
        (date(2027, 1, 31), replace(MONTHLY, cadence_day=30), date(2027, 2, 28)),
    ],
)
def test_a_period_ends_on_its_day(day: date, terms: PayoutTerms, end: date) -> None:
    assert period_end(day, terms) == end


@given(
    st.dates(date(2020, 1, 1), date(2040, 1, 1)),
    st.sampled_from([Cadence.WEEKLY, Cadence.MONTHLY]),
    st.data(),
)
def test_no_sale_waits_longer_than_its_period(day: date, cadence: Cadence, data: st.DataObject) -> None:
    on = data.draw(st.integers(1, 7 if cadence is Cadence.WEEKLY else 31))
    terms = PayoutTerms(cadence=cadence, cadence_day=on)
    end = period_end(day, terms)
    assert timedelta(0) <= end - day < timedelta(days=7 if cadence is Cadence.WEEKLY else 32)
    assert period_end(end, terms) == end


@pytest.mark.parametrize(
    ("sale_at", "cut_off", "expected"),
    [
        # Summer time ends on 25 October 2026 at 01:00 UTC: 02:30 local comes twice, both before 03:00.
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), 180, date(2026, 10, 25)),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), 180, date(2026, 10, 25)),
        (datetime(2026, 10, 25, 2, 0, tzinfo=UTC), 180, date(2026, 10, 26)),
        # It begins on 28 March 2027: 02:30 local does not exist; 00:59 UTC is 01:59, 01:00 UTC is 03:00.
        (datetime(2027, 3, 28, 0, 59, tzinfo=UTC), 150, date(2027, 3, 28)),
        (datetime(2027, 3, 28, 1, 0, tzinfo=UTC), 150, date(2027, 3, 29)),
        # The year's end, in Amsterdam and by its own midnight.
        (datetime(2026, 12, 31, 22, 59, tzinfo=UTC), 1440, date(2026, 12, 31)),
        (datetime(2026, 12, 31, 23, 0, tzinfo=UTC), 1440, date(2027, 1, 1)),
    ],
)
def test_the_cut_off_follows_the_partys_clock(sale_at: datetime, cut_off: int, expected: date) -> None:
    assert sales_day(sale_at, replace(world.NL_CPO, cut_off_minute=cut_off)) == expected


def test_the_last_sale_of_the_year_is_paid_on_the_second_clearing_day_of_the_next() -> None:
    sale = datetime(2026, 12, 31, 20, 0, tzinfo=UTC)
    assert due_date(sale, world.NL_CPO, bundled_data.calendars()) == date(2027, 1, 5)


@pytest.mark.parametrize(
    "fields",
    [
        {"cadence": Cadence.WEEKLY, "cadence_day": 8},
        {"cadence": Cadence.MONTHLY, "cadence_day": 0},
        {"reserve_bps": 10_001, "reserve_days": 1},
        {"reserve_bps": 1},
        {"approval_above_minor": -1},
    ],
)
def test_terms_that_make_no_sense_are_rejected(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidAmountError):
        PayoutTerms(**fields)  # type: ignore[arg-type]


def test_a_hold_is_in_force_between_its_days() -> None:
    hold = PayoutHold(reason="audit", since=date(2026, 10, 1), until=date(2026, 10, 3))
    assert [hold.holds_on(date(2026, 10, day)) for day in (1, 2, 3)] == [True, True, False]


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**12), st.integers(0, 10_000))
def test_a_reserve_is_within_half_a_cent_of_its_percentage_and_never_negative(
    sales: int, held: int, bps: int
) -> None:
    more = withheld(sales_minor=sales, held_minor=held, reserve_bps=bps)
    assert more >= 0
    if more:
        assert abs((more + held) * 10_000 - sales * bps) <= 5_000


def row(day: date, minor: int, *, state: str = "open", party: str = "NL-ABC") -> DuePayable:
    return DuePayable(
        party_id=party,
        currency="EUR",
        due_date=day,
        state=state,
        amount_minor=minor,
        sales_minor=minor,
        held_minor=0,
        sessions=1,
    )


def test_a_forecast_carries_held_sums_forward_and_releases_reserves() -> None:
    terms = PayoutTerms(reserve_bps=1000, reserve_days=5)
    party = replace(world.NL_CPO, minimum_payout_minor=500, payout_terms=terms)
    lines = payout_calendar(
        [row(date(2026, 10, 15), 400), row(date(2026, 10, 16), 600)],
        [],
        parties={party.id: party},
        today=date(2026, 10, 14),
        until=date(2026, 10, 30),
    )
    shown = [(line.due_date.day, line.state, line.amount_minor, line.hold) for line in lines]
    # 4.00 less 0.40 is below 5.00; with 6.00 it is 10.00 less 1.00, which comes back below the minimum.
    assert shown[0] == (15, "open", 400, "below_minimum_payout")
    assert shown[1:3] == [(16, "open", 600, None), (16, "reserve", -100, None)]
    assert shown[3] == (21, "reserve_release", 100, "below_minimum_payout")
