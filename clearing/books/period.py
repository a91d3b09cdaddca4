"""A period of the books, whole days in the platform's time zone, and how it is converted to one currency.

Owns: these values. Must not know: the database, file formats. Sources: Directive 2006/112/EC art. 91(2) (the
ECB's rate at the time, or a rate that the member state prescribes); UStG section 16(6) (monthly averages of
the Federal Ministry of Finance); MWSTV art. 45 (daily or monthly rates of the Swiss tax administration); VAT
Notice 700 section 7 (HMRC's monthly rates).
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final
from zoneinfo import ZoneInfo

from clearing.errors import InvalidBooksRequestError, RateUnavailableError
from clearing.fx import RateTable
from clearing.money import exponent

_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_RATE_COLUMNS: Final = ("month", "currency", "rate", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksPeriod:
    """Days from `first` to `last`, both inclusive, in `time_zone` (IANA)."""

    first: date
    last: date
    time_zone: str

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise InvalidBooksRequestError("period", f"{self.last} lies before {self.first}")

    @property
    def since(self) -> datetime:
        """The first instant."""
        return datetime.combine(self.first, time(), ZoneInfo(self.time_zone))

    @property
    def until(self) -> datetime:
        """The instant at which it has ended."""
        return datetime.combine(self.last + timedelta(days=1), time(), ZoneInfo(self.time_zone))


def parse_period(text: str, *, time_zone: str) -> BooksPeriod:
    """A month such as `2026-10`, or days such as `2026-10-01/2026-12-31`. Raises InvalidBooksRequestError."""
    month = _MONTH.fullmatch(text)
    try:
        if month is not None:
            first = date(int(month[1]), int(month[2]), 1)
            following = (first + timedelta(days=31)).replace(day=1)
            return BooksPeriod(first=first, last=following - timedelta(days=1), time_zone=time_zone)
        start, separator, end = text.partition("/")
        if separator:
            return BooksPeriod(
                first=date.fromisoformat(start), last=date.fromisoformat(end), time_zone=time_zone
            )
    except ValueError:
        pass
    raise InvalidBooksRequestError(
        "period", f"{text!r} is neither a month such as 2026-10 nor days such as 2026-10-01/2026-12-31"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportingRate:
    """What one unit of `currency` is worth on `day` in the reporting currency, and who published it."""

    currency: str
    day: date
    rate: Decimal
    source: str


class ReportingRates:
    """The rates of one reporting currency: those prescribed for months if given, else the ECB's daily."""

    __slots__ = ("_daily", "_monthly", "currency")

    def __init__(
        self, currency: str, daily: RateTable, monthly: Mapping[tuple[str, str], tuple[Decimal, str]]
    ) -> None:
        """`monthly`: rate and source by month (`2026-10`) and currency; never mixed with daily ones.

        Raises UnknownCurrencyError.
        """
        exponent(currency)
        self.currency, self._daily, self._monthly = currency, daily, monthly

    def on(self, currency: str, day: date) -> ReportingRate:
        """The rate of a day. Raises RateUnavailableError where none is prescribed or published."""
        if currency == self.currency:
            return ReportingRate(currency=currency, day=day, rate=Decimal(1), source="")
        month = f"{day:%Y-%m}"
        if self._monthly:
            found = self._monthly.get((month, currency))
            if found is None:
                raise RateUnavailableError(
                    f"no monthly rate of {currency} for {month}; add it to the file of rates"
                )
            return ReportingRate(currency=currency, day=day, rate=found[0], source=f"{found[1]} {month}")
        lock = self._daily.lock(base=currency, quote=self.currency, day=day)
        return ReportingRate(
            currency=currency, day=day, rate=lock.rate, source=f"{lock.source} {lock.rate_date}"
        )


def parse_monthly_rates(text: str) -> dict[tuple[str, str], tuple[Decimal, str]]:
    """Prescribed rates from CSV: month, currency, rate (of one unit in the reporting currency), source.

    Raises InvalidBooksRequestError with the line.
    """
    reader = csv.DictReader(text.lstrip("\ufeff").splitlines())
    if tuple(reader.fieldnames or ()) != _RATE_COLUMNS:
        raise InvalidBooksRequestError("rates line 1", f"expected the columns {','.join(_RATE_COLUMNS)}")
    return dict(_monthly_rows(reader))


def _monthly_rows(reader: Iterable[dict[str, str]]) -> Iterable[tuple[tuple[str, str], tuple[Decimal, str]]]:
    for line, row in enumerate(reader, start=2):
        month, currency = (row["month"] or "").strip(), (row["currency"] or "").strip()
        try:
            rate = Decimal((row["rate"] or "").strip())
        except InvalidOperation:
            rate = Decimal(0)
        if (
            _MONTH.fullmatch(month) is None
            or not rate.is_finite()
            or rate <= 0
            or not (row["source"] or "").strip()
        ):
            raise InvalidBooksRequestError(
                f"rates line {line}",
                "expected a month such as 2026-10, a currency, a rate above 0 and its source",
            )
        exponent(currency)
        yield (month, currency), (rate, row["source"].strip())
