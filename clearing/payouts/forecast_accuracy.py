"""The disbursements that a forecast expects on each day, to compare with what is paid.

Owns: how lines of the payout calendar become disbursements. Must not know: the database, how lines are made.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from clearing.calendar import Calendars
from clearing.parties.party import Party
from clearing.payouts.forecast import CalendarDay


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastError:
    """The distance of disbursements from their forecast over the window, in minor units.

    `ahead` is "day" (the last forecast before the day) or "terms" (as many clearing days before as the
    party's terms). The target is 0.
    """

    ahead: str
    currency: str
    error_minor: int
    paid_minor: int
    payments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastDay:
    """A past day's last forecast before it and what was paid on it, in minor units.

    `forecast_minor` None: no forecast had it, or none was made before that day.
    """

    day: date
    party_id: str
    currency: str
    forecast_minor: int | None
    actual_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPayment:
    """A disbursement expected on `pay_on`, `days_ahead` of the party's clearing days after the forecast."""

    party_id: str
    currency: str
    pay_on: date
    days_ahead: int
    amount_minor: int


def forecast_payments(lines: Iterable[CalendarDay], *, today: date) -> dict[tuple[str, str, date], int]:
    """Minor units by party, currency and day of disbursement, from today on.

    What is overdue is paid today; what is on hold is carried to the next day that pays. Disbursements that
    are planned already are not forecast.
    """
    days: dict[tuple[str, str, date], int] = {}
    held: dict[tuple[str, str, date], bool] = {}
    for line in lines:
        if line.state == "scheduled":
            continue
        key = (line.party_id, line.currency, max(line.due_date, today))
        days[key] = days.get(key, 0) + line.amount_minor
        held[key] = held.get(key, False) or line.hold is not None
    paid: dict[tuple[str, str, date], int] = {}
    carried: dict[tuple[str, str], int] = {}
    for key in sorted(days):
        balance = key[:2]
        minor = carried.pop(balance, 0) + days[key]
        if held[key]:
            carried[balance] = minor
        else:
            paid[key] = minor
    return paid


def expected_payments(
    paid: dict[tuple[str, str, date], int],
    *,
    parties: dict[str, Party],
    calendars: Calendars,
    today: date,
) -> list[ExpectedPayment]:
    """Each with the number of the party's clearing days until it. Raises CalendarExhaustedError."""
    days_ahead: dict[tuple[str, str, date], int] = {}
    found = []
    for (party_id, currency, pay_on), minor in paid.items():
        country = parties[party_id].country
        key = (currency, country, pay_on)
        if key not in days_ahead:
            days_ahead[key] = clearing_days_between(
                today, pay_on, currency=currency, country=country, calendars=calendars
            )
        found.append(
            ExpectedPayment(
                party_id=party_id,
                currency=currency,
                pay_on=pay_on,
                days_ahead=days_ahead[key],
                amount_minor=minor,
            )
        )
    return found


def clearing_days_between(
    first: date, last: date, *, currency: str, country: str, calendars: Calendars
) -> int:
    """Clearing days after `first` up to and including `last`."""
    days = (first + timedelta(days=step) for step in range(1, (last - first).days + 1))
    return sum(calendars.is_clearing_day(day, currency=currency, country=country) for day in days)
