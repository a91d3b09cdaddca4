"""Exchange: dated reference rates, the lock of one session and currency pair, and conversion by a lock.

Owns: which published rate binds a capture, triangulation through the euro, markup, age limits, end of
currencies.
Must not know: where rates are stored or fetched, who is paid.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from clearing.errors import CurrencyMismatchError, InvalidAmountError, RateUnavailableError
from clearing.money import EXACT, Rounding, exponent, quantize, round_units
from clearing.parties.agreement import BASIS_POINTS, MAX_MARKUP_BPS

PIVOT: Final = "EUR"
# The ECB concludes its reference rates at 14:15 and publishes them at about 16:00 Frankfurt time (ECB press
# release of 7 December 2015). Before that instant the day's rate is not known, so it can't bind a capture.
PUBLISHED_FROM: Final = time(16, 15)
FRANKFURT: Final = ZoneInfo("Europe/Berlin")
# Good Friday to Tuesday after Easter is five days without a publication; the Christmas days are fewer.
MAX_AGE_DAYS: Final = 7
# A lock's cross rate has this many decimals. Up to 10^12 minor units the amount is the exact quotient's,
# see the tests.
RATE_DIGITS: Final = 18
# Last day on which a currency could be settled, by the law that introduced the euro there, or (ROL, TRL) the
# new one in its place; those that the ECB has published (ISO 4217, list three).
LAST_DAY: Final = MappingProxyType(
    {
        "BGN": date(2025, 12, 31),
        "CYP": date(2007, 12, 31),
        "EEK": date(2010, 12, 31),
        "HRK": date(2022, 12, 31),
        "LTL": date(2014, 12, 31),
        "LVL": date(2013, 12, 31),
        "MTL": date(2007, 12, 31),
        "ROL": date(2005, 6, 30),
        "SIT": date(2006, 12, 31),
        "SKK": date(2008, 12, 31),
        "TRL": date(2004, 12, 31),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRate:
    """One unit of `base` is `rate` units of `quote`, published on `rate_date` by `source`."""

    base: str
    quote: str
    rate_date: date
    rate: Decimal
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FxLock:
    """The rate that binds a session: `rate` before markup, 18 decimals at most.

    `markup_bps` lessens what is received.
    """

    base: str
    quote: str
    rate: Decimal
    source: str
    rate_date: date
    markup_bps: int

    @property
    def applied_rate(self) -> Decimal:
        """The rate after markup, exactly."""
        return EXACT.multiply(self.rate, Decimal(BASIS_POINTS - self.markup_bps).scaleb(-4))


def convert(amount_minor: int, lock: FxLock) -> int:
    """Minor units of `lock.base` to minor units of `lock.quote`.

    Exact, then rounded once, half away from zero.
    """
    shift = exponent(lock.quote) - exponent(lock.base)
    exact = EXACT.multiply(Decimal(amount_minor), lock.applied_rate).scaleb(shift, context=EXACT)
    return round_units(exact, rounding=Rounding.HALF_AWAY)


def publication_day(at: datetime) -> date:
    """The last day whose reference rate could be known at `at` (aware).

    That day only from 16:15 Frankfurt time on.
    """
    if at.tzinfo is None:
        raise InvalidAmountError("a capture time needs a time zone to choose its exchange rate")
    local = at.astimezone(FRANKFURT)
    return local.date() if local.time() >= PUBLISHED_FROM else local.date() - timedelta(days=1)


def require_currency(currency: str, day: date) -> None:
    """Reject a currency that had ceased to exist on `day`.

    Raises RateUnavailableError, or UnknownCurrencyError for a code that never existed.
    """
    exponent(currency)
    last = LAST_DAY.get(currency)
    if last is not None and day > last:
        raise RateUnavailableError(f"{currency} can't be settled on {day}: its last day was {last}")


class RateTable:
    """Published rates against the euro, by day.

    Immutable after construction; look-ups choose, never interpolate.
    """

    __slots__ = ("_days", "_rates")

    def __init__(self, rates: Iterable[ReferenceRate]) -> None:
        """A table of the rates whose base is the euro; of two sources for one day the first is used."""
        by_quote: dict[str, dict[date, ReferenceRate]] = {}
        for rate in rates:
            if rate.base != PIVOT:
                raise CurrencyMismatchError(rate.base, PIVOT)
            by_quote.setdefault(rate.quote, {}).setdefault(rate.rate_date, rate)
        self._rates = by_quote
        self._days = {quote: sorted(days) for quote, days in by_quote.items()}

    def lock(
        self, *, base: str, quote: str, day: date, markup_bps: int = 0, max_age_days: int = MAX_AGE_DAYS
    ) -> FxLock:
        """The lock for `day`: the last rate published on or before it, crossed through the euro.

        Both legs of a cross come from one publication. Raises RateUnavailableError when there is none or the
        last is more than `max_age_days` old, InvalidAmountError on a markup outside 0 to 1000 basis points.
        """
        if not 0 <= markup_bps <= MAX_MARKUP_BPS:
            raise InvalidAmountError(
                f"an FX markup of {markup_bps} basis points is not within 0 to {MAX_MARKUP_BPS}"
            )
        if base == quote:
            raise CurrencyMismatchError(base, quote)
        require_currency(base, day)
        require_currency(quote, day)
        # Sessions that wait for an import are found by the text `reference rate`.
        published = self._last_common_day([currency for currency in (base, quote) if currency != PIVOT], day)
        if published is None:
            raise RateUnavailableError(f"no {base}-{quote} reference rate was published on or before {day}")
        if (day - published).days > max_age_days:
            raise RateUnavailableError(
                f"the last {base}-{quote} reference rate before {day} is of {published}, "
                f"older than {max_age_days} days; import newer rates"
            )
        divisor, dividend = self._against_pivot(base, published), self._against_pivot(quote, published)
        cross = EXACT.divide(dividend, divisor)
        rate = cross if base == PIVOT else quantize(cross, digits=RATE_DIGITS, rounding=Rounding.HALF_EVEN)
        known = self._rates[quote if quote != PIVOT else base][published]
        return FxLock(
            base=base, quote=quote, rate=rate, source=known.source, rate_date=published, markup_bps=markup_bps
        )

    @property
    def quotes(self) -> list[str]:
        """The currencies that have a rate, in order."""
        return sorted(self._rates)

    @property
    def newest(self) -> date | None:
        """The last day with a rate of any currency; None where there is none."""
        return max((days[-1] for days in self._days.values()), default=None)

    def of(self, quote: str) -> Mapping[date, ReferenceRate]:
        """The rates of one currency by day."""
        return MappingProxyType(self._rates.get(quote, {}))

    def last_day(self, quote: str, *, before: date) -> date | None:
        """The last day before that one with a rate of `quote`."""
        days = self._days.get(quote, [])
        place = bisect_left(days, before)
        return days[place - 1] if place else None

    def _against_pivot(self, currency: str, day: date) -> Decimal:
        return Decimal(1) if currency == PIVOT else self._rates[currency][day].rate

    def _last_common_day(self, quotes: list[str], day: date) -> date | None:
        """The last day on or before `day` with a rate for each quote."""
        cursor = day
        while True:
            found: date | None = None
            for quote in quotes:
                days = self._days.get(quote, [])
                place = bisect_right(days, cursor)
                if place == 0:
                    return None
                candidate = days[place - 1]
                found = candidate if found is None else min(found, candidate)
            if found is None or all(found in self._rates[quote] for quote in quotes):
                return found
            cursor = found
