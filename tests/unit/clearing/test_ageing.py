"""Receivables by age, and payments ahead as the calendar says them."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.fx import FxLock, convert
from clearing.payouts.forecast import CalendarDay
from clearing.payouts.forecast_accuracy import clearing_days_between, forecast_payments
from clearing.payouts.netting import HoldReason
from clearing.receivables.ageing import BUCKETS, ReceivableLine, aged, bucket, may_be_written_off
from clearing.receivables.set_off import covering_amount
from clearing.reference_data import bundled_data

TODAY = date(2026, 10, 15)


def owed(minor: int, days_ago: int) -> ReceivableLine:
    return ReceivableLine(
        party_id="p", currency="EUR", due_date=TODAY - timedelta(days=days_ago), amount_minor=minor
    )


@pytest.mark.parametrize(
    ("days", "name"),
    [
        (-3, "0-30"),
        (0, "0-30"),
        (30, "0-30"),
        (31, "31-60"),
        (60, "31-60"),
        (61, "61-90"),
        (90, "61-90"),
        (91, "over-90"),
        (4000, "over-90"),
    ],
)
def test_each_age_has_its_bucket(days: int, name: str) -> None:
    assert bucket(days) == name


def test_a_credit_pays_the_oldest_part_first() -> None:
    """1.00 owed for 100 days, 2.00 for 10; 0.60 came in: 0.40 is old, 2.00 is not."""
    (receivable,) = aged([owed(-100, 100), owed(-200, 10), owed(60, 5)], today=TODAY)
    assert dict(receivable.buckets) == {"0-30": 200, "31-60": 0, "61-90": 0, "over-90": 40}
    assert (receivable.receivable_minor, receivable.age_days) == (240, 100)
    (younger,) = aged([owed(-100, 100), owed(-200, 10), owed(100, 5)], today=TODAY)
    assert (younger.receivable_minor, younger.age_days) == (200, 10)


@given(st.lists(st.tuples(st.integers(-1000, 1000), st.integers(0, 200)), max_size=12))
def test_buckets_sum_to_the_receivable_and_a_party_without_one_is_not_listed(
    sums: list[tuple[int, int]],
) -> None:
    found = aged([owed(minor, days) for minor, days in sums], today=TODAY)
    whole = sum(minor for minor, _ in sums)
    assert bool(found) == (whole < 0)
    for receivable in found:
        assert sum(minor for _, minor in receivable.buckets) == receivable.receivable_minor == -whole
        assert [name for name, _ in receivable.buckets] == [name for _, name in BUCKETS]


def test_a_receivable_may_be_written_off_if_the_party_is_deregistered_or_it_is_old() -> None:
    assert may_be_written_off(91, deregistered=False)
    assert not may_be_written_off(90, deregistered=False)
    assert may_be_written_off(1, deregistered=True)


@given(receivable=st.integers(1, 10**9), rate=st.decimals("0.001", "200", places=6))
def test_a_set_off_never_pays_more_than_the_receivable_and_no_unit_less_than_it_could(
    receivable: int, rate: Decimal
) -> None:
    lock = FxLock(base="CHF", quote="EUR", rate=rate, source="t", rate_date=TODAY, markup_bps=0)
    covering = covering_amount(receivable, lock)
    assert convert(covering, lock) <= receivable < convert(covering + 1, lock)


def day(minor: int, on: int, *, hold: HoldReason | None = None, state: str = "open") -> CalendarDay:
    return CalendarDay(
        party_id="p",
        due_date=TODAY + timedelta(days=on),
        currency="EUR",
        amount_minor=minor,
        sessions=1,
        state=state,
        hold=hold,
    )


def test_what_waits_is_paid_with_the_next_day_and_what_is_overdue_today() -> None:
    lines = [
        day(100, -2),
        day(50, 0),
        day(7, 1, hold=HoldReason.BELOW_MINIMUM),
        day(30, 2),
        day(-3, 2, state="reserve"),
        day(999, 0, state="scheduled"),
        day(8, 3, hold=HoldReason.ON_HOLD),
    ]
    paid = forecast_payments(lines, today=TODAY)
    assert paid == {("p", "EUR", TODAY): 150, ("p", "EUR", TODAY + timedelta(days=2)): 34}


def test_days_ahead_are_clearing_days() -> None:
    friday, tuesday = date(2026, 10, 16), date(2026, 10, 20)
    assert (
        clearing_days_between(
            friday, tuesday, currency="EUR", country="NL", calendars=bundled_data.calendars()
        )
        == 2
    )
