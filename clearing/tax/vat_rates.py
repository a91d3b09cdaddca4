"""Dated facts of VAT: tax territories, the law that governs each, rates by day.

Owns: the look-up of a rate, which is refused where no row covers the day. Must not know: who supplies what to
whom.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from clearing.errors import RateUnavailableError, UnclearableError


class SupplyKind(StrEnum):
    """What is supplied."""

    ELECTRICITY = "electricity"
    SERVICE = "service"
    PARKING = "parking"


class Regime(StrEnum):
    """Which law governs a territory."""

    EU = "eu"
    EU_GOODS = "eu_goods"  # Northern Ireland: goods by Union rules, services by those of the United Kingdom
    UK = "uk"
    CH = "ch"  # Switzerland, Liechtenstein and the enclaves within the Swiss VAT area
    CH_SERVICES = "ch_services"  # Samnaun: services by Swiss rules, goods and so electricity outside VAT
    NO = "no"
    OTHER = "other"
    LOCAL_TAX = "local_tax"  # outside Union VAT with a tax of its own (Canaries, Ceuta, Melilla)
    NONE = "none"  # outside any VAT (Livigno, Svalbard, Heligoland)


@dataclass(frozen=True, slots=True, kw_only=True)
class Territory:
    """A tax territory: `vat_of` is the territory whose rates apply, "" where none does.

    `time_zone` (IANA) is whose days count there.
    """

    code: str
    country: str
    regime: Regime
    vat_of: str
    time_zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRow:
    """A dated rate in percent, both days inclusive, in the territory's local time.

    `valid_to` None is open.
    """

    territory: str
    supply: SupplyKind
    rate: Decimal
    valid_from: date
    valid_to: date | None
    source: str


class VatRates:
    """Dated VAT rates and territories. Look-ups only; a day without a row is refused, not guessed."""

    __slots__ = ("_rows", "_territories")

    def __init__(self, *, rows: Iterable[RateRow], territories: Iterable[Territory]) -> None:
        self._territories: Mapping[str, Territory] = {territory.code: territory for territory in territories}
        by_key: dict[tuple[str, SupplyKind], list[RateRow]] = {}
        for row in rows:
            by_key.setdefault((row.territory, row.supply), []).append(row)
        self._rows = by_key

    def territory(self, code: str) -> Territory:
        """The territory of that code. Raises UnclearableError for one that is not in the file."""
        try:
            return self._territories[code]
        except KeyError:
            raise UnclearableError(
                "unknown_territory", f"tax territory {code!r} is not known; add it to territories.csv"
            ) from None

    def rate(self, code: str, supply: SupplyKind, day: date) -> Decimal:
        """Percent on `day` (local). Raises RateUnavailableError where no dated row covers it."""
        for row in self._rows.get((code, supply), ()):
            if row.valid_from <= day and (row.valid_to is None or day <= row.valid_to):
                return row.rate
        raise RateUnavailableError(
            f"no {supply} VAT rate of {code} covers {day}; add a dated row with its source"
        )
