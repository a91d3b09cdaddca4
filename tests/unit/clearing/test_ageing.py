"""Debts by age, and payments ahead as the calendar says them."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing import reference
from clearing.desks.debt_desk import covering
from clearing.fx import FxLock, convert
from clearing.payouts.accuracy import clearing_days_between, payments_ahead
from clearing.payouts.ageing import BUCKETS, DebtLine, aged, bucket, may_be_given_up
from clearing.payouts.disbursement import HoldReason
from clearing.payouts.forecast import CalendarDay

TODAY = date(2026, 10, 15)


def owed(minor: int, days_ago: int) -> DebtLine:
    return DebtLine(
        party_id="p", currency="EUR", due_date=TODAY - timedelta(days=days_ago), amount_minor=minor
    )


@pytest.mark.parametrize(
    ("days", "name"),
    [(-3, "0-30"), (0, "0-30"), (30, "0-30"), (31, "31-60"), (60, "31-60"), (61, "61-90"), (90, "61-90"),
     (91, "over-90"), (4000, "over-90")],
)  # fmt: skip
def test_each_age_has_its_bucket(days: int, name: str) -> None:
    assert bucket(days) == name


def test_what_came_in_pays_the_oldest_debt_first() -> None:
    """1.00 owed for 100 days, 2.00 for 10; 0.60 came in: 0.40 is old, 2.00 is not."""
    (debt,) = aged([owed(-100, 100), owed(-200, 10), owed(60, 5)], today=TODAY)
    assert dict(debt.buckets) == {"0-30": 200, "31-60": 0, "61-90": 0, "over-90": 40}
    assert (debt.debt_minor, debt.age_days) == (240, 100)
    (younger,) = aged([owed(-100, 100), owed(-200, 10), owed(100, 5)], today=TODAY)
    assert (younger.debt_minor, younger.age_days) == (200, 10)


@given(st.lists(st.tuples(st.integers(-1000, 1000), st.integers(0, 200)), max_size=12))
def test_buckets_sum_to_the_debt_and_a_party_without_one_is_not_listed(told: list[tuple[int, int]]) -> None:
    found = aged([owed(minor, days) for minor, days in told], today=TODAY)
    whole = sum(minor for minor, _ in told)
    assert bool(found) == (whole < 0)
    for debt in found:
        assert sum(minor for _, minor in debt.buckets) == debt.debt_minor == -whole
        assert [name for name, _ in debt.buckets] == [name for _, name in BUCKETS]


def test_a_debt_is_given_up_when_the_party_left_or_it_is_old() -> None:
    assert may_be_given_up(91, deregistered=False)
    assert not may_be_given_up(90, deregistered=False)
    assert may_be_given_up(1, deregistered=True)


@given(debt=st.integers(1, 10**9), rate=st.decimals("0.001", "200", places=6))
def test_a_compensation_never_gives_more_than_the_debt_and_not_a_unit_less_than_it_could(
    debt: int, rate: Decimal
) -> None:
    lock = FxLock(base="CHF", quote="EUR", rate=rate, source="t", rate_date=TODAY, markup_bps=0)
    taken = covering(debt, lock)
    assert convert(taken, lock) <= debt < convert(taken + 1, lock)


def day(minor: int, on: int, *, hold: HoldReason | None = None, state: str = "open") -> CalendarDay:
    return CalendarDay(
        party_id="p", due_date=TODAY + timedelta(days=on), currency="EUR", amount_minor=minor, sessions=1,
        state=state, hold=hold,
    )  # fmt: skip


def test_what_waits_is_paid_with_the_next_day_and_what_is_overdue_today() -> None:
    lines = [
        day(100, -2), day(50, 0), day(7, 1, hold=HoldReason.BELOW_MINIMUM), day(30, 2),
        day(-3, 2, state="reserve"), day(999, 0, state="scheduled"), day(8, 3, hold=HoldReason.ON_HOLD),
    ]  # fmt: skip
    paid = payments_ahead(lines, today=TODAY)
    assert paid == {("p", "EUR", TODAY): 150, ("p", "EUR", TODAY + timedelta(days=2)): 34}


def test_days_ahead_are_clearing_days() -> None:
    friday, tuesday = date(2026, 10, 16), date(2026, 10, 20)
    assert (
        clearing_days_between(friday, tuesday, currency="EUR", country="NL", calendars=reference.calendars())
        == 2
    )
