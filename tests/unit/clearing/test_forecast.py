"""The calendar ahead nets as planning does, also what is overdue."""

from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from clearing.payouts.forecast import CalendarDay, DuePayable, payout_calendar
from clearing.payouts.forecast_accuracy import forecast_payments
from clearing.payouts.netting import HoldReason
from tests.fakes import clearing_fixtures as world

TODAY = date(2026, 10, 15)


def due(days: int, minor: int, currency: str = "EUR") -> DuePayable:
    return DuePayable(
        party_id="NL-ABC",
        currency=currency,
        due_date=TODAY + timedelta(days=days),
        state="open",
        amount_minor=minor,
        sales_minor=minor,
        held_minor=0,
        sessions=1,
    )


def ahead(*rows: DuePayable, **changes: object) -> list[CalendarDay]:
    party = replace(world.NL_CPO, **changes)  # type: ignore[arg-type]
    return payout_calendar(rows, [], parties={party.id: party}, today=TODAY, until=TODAY + timedelta(days=60))


def paid(lines: list[CalendarDay]) -> dict[date, int]:
    return {day: minor for (_, _, day), minor in forecast_payments(lines, today=TODAY).items()}


def test_what_is_overdue_is_netted_in_one_as_it_will_be_paid() -> None:
    lines = ahead(due(-2, 500), due(-1, -800), due(1, 1000))
    assert [line.hold for line in lines] == [HoldReason.RECEIVABLE, HoldReason.RECEIVABLE, None]
    assert paid(lines) == {TODAY + timedelta(days=1): 700}


def test_a_sum_below_the_minimum_is_paid_today_when_today_reaches_it() -> None:
    lines = ahead(due(-3, 400), due(0, 700), minimum_payout_minor=1000)
    assert paid(lines) == {TODAY: 1100}


@given(st.lists(st.tuples(st.integers(-5, 10), st.integers(-3000, 3000)), max_size=12))
def test_forecast_payments_are_those_of_planning_day_by_day(sums: list[tuple[int, int]]) -> None:
    """Planning: on each day with something new, all that is due is paid if it is positive, in whole tens."""
    rows = [due(days, minor, "KWD") for days, minor in sums if minor]
    expected: dict[date, int] = {}
    open_minor, back = 0, 0
    for day in range(60):
        new = back + sum(row.amount_minor for row in rows if max((row.due_date - TODAY).days, 0) == day)
        had_any = bool(back) or any(max((row.due_date - TODAY).days, 0) == day for row in rows)
        open_minor, back = open_minor + new, 0
        if had_any and open_minor >= 10:
            back = open_minor % 10
            expected[TODAY + timedelta(days=day)] = open_minor - back
            open_minor = 0
    assert paid(ahead(*rows, settlement_currency="KWD")) == expected
