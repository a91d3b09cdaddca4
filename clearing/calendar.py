"""Bank days: when a party's sale day ends, and on which joint clearing day its money is due.

Owns: joint calendars of currency and bank, sales day with cut-off, due dates. Must not know: amounts,
parties' stores.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from clearing.errors import CalendarExhaustedError
from clearing.parties.party import END_OF_DAY_MINUTE, Party
from clearing.parties.payout_terms import period_end

SATURDAY: Final = 5
# Which payment system settles a currency; currencies without one of their own here settle through TARGET's
# days.
CALENDAR_OF_CURRENCY: Final = MappingProxyType({"CHF": "swiss", "EUR": "target", "GBP": "united_kingdom"})
CALENDAR_OF_BANK: Final = MappingProxyType({"CH": "swiss", "LI": "swiss", "GB": "united_kingdom"})
FALLBACK_CALENDAR: Final = "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingDays:
    """The closing days of one payment system besides Saturday and Sunday, whole for its years."""

    name: str
    days: frozenset[date]
    first_year: int
    last_year: int

    def is_open(self, day: date) -> bool:
        """Whether it settles on `day`.

        Raises CalendarExhaustedError outside the years that the file covers.
        """
        if not self.first_year <= day.year <= self.last_year:
            raise CalendarExhaustedError(
                f"calendar {self.name!r} covers {self.first_year} to {self.last_year}, not {day}; "
                "add the year's closing days"
            )
        return day.weekday() < SATURDAY and day not in self.days


class Calendars:
    """All dated calendars. Answers for a currency and the country of the bank jointly: both must be open."""

    __slots__ = ("_by_name",)

    def __init__(self, calendars: Iterable[ClosingDays]) -> None:
        self._by_name: Mapping[str, ClosingDays] = {calendar.name: calendar for calendar in calendars}

    def joint(self, *, currency: str, country: str) -> tuple[ClosingDays, ...]:
        """The calendars that must all be open to pay `currency` to a bank in `country`."""
        names = {
            CALENDAR_OF_CURRENCY.get(currency, FALLBACK_CALENDAR),
            CALENDAR_OF_BANK.get(country, FALLBACK_CALENDAR),
        }
        return tuple(self._by_name[name] for name in sorted(names))

    def is_clearing_day(self, day: date, *, currency: str, country: str) -> bool:
        """Whether `currency` can be paid to a bank in `country` on `day`."""
        return all(calendar.is_open(day) for calendar in self.joint(currency=currency, country=country))

    def add_clearing_days(self, day: date, count: int, *, currency: str, country: str) -> date:
        """The `count`-th clearing day after `day`; for 0 the first on or after it. A Saturday + 1 is Monday.

        Raises CalendarExhaustedError where the files end.
        """
        calendars = self.joint(currency=currency, country=country)
        left, cursor = count, day if count == 0 else day + timedelta(days=1)
        while True:
            if all(calendar.is_open(cursor) for calendar in calendars):
                left -= 1
                if left <= 0:
                    return cursor
            cursor += timedelta(days=1)


def sales_day(sale_at: datetime, party: Party) -> date:
    """The party's local day of the sale; from its cut-off on, the next day.

    A cut-off within an hour that the clock repeats is its first occurrence, and one within an hour that it
    skips is the moment of the skip, so that a later sale never has an earlier day.
    """
    zone = ZoneInfo(party.time_zone)
    local = sale_at.astimezone(zone)
    if party.cut_off_minute == END_OF_DAY_MINUTE:
        return local.date()
    hour, minute = divmod(party.cut_off_minute, 60)
    cut_off = datetime.combine(local.date(), time(hour, minute, fold=0), zone)
    # Compared as instants: two times of one zone are compared by their clock, which goes back.
    passed = sale_at.astimezone(UTC) >= cut_off.astimezone(UTC)
    after_cut_off = passed or local.time() >= cut_off.time()
    return local.date() + timedelta(days=1) if after_cut_off else local.date()


def due_date(sale_at: datetime, party: Party, calendars: Calendars) -> date:
    """The due date: the end of the sale's payout period + the party's terms.

    Counted in clearing days of its currency and bank.
    """
    closed = period_end(sales_day(sale_at, party), party.payout_terms)
    return calendars.add_clearing_days(
        closed, party.terms_days, currency=party.settlement_currency, country=party.country
    )
