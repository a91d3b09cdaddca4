"""Dated facts of VAT: tax jurisdictions, the law that governs each, rates by day.

Owns: the look-up of a rate, which is rejected where no row covers the day. Must not know: who supplies what
to whom.
"""

from collections.abc import Iterable, Mapping, Sequence
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
    """Which law governs a tax jurisdiction."""

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
class TaxJurisdiction:
    """A tax jurisdiction: `vat_of` is the tax jurisdiction whose rates apply, "" where none does.

    `time_zone` (IANA) is whose days count there.
    """

    code: str
    country: str
    regime: Regime
    vat_of: str
    time_zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VatRate:
    """A dated rate in percent, both days inclusive, in the tax jurisdiction's local time.

    `valid_to` None is open.
    """

    tax_jurisdiction: str
    supply: SupplyKind
    rate: Decimal
    valid_from: date
    valid_to: date | None
    source: str


class VatRates:
    """Dated VAT rates and tax_jurisdictions. Look-ups only; a day without a row is rejected, not guessed."""

    __slots__ = ("_rows", "_tax_jurisdictions")

    def __init__(self, *, rows: Iterable[VatRate], tax_jurisdictions: Iterable[TaxJurisdiction]) -> None:
        self._tax_jurisdictions: Mapping[str, TaxJurisdiction] = {
            tax_jurisdiction.code: tax_jurisdiction for tax_jurisdiction in tax_jurisdictions
        }
        by_key: dict[tuple[str, SupplyKind], list[VatRate]] = {}
        for row in rows:
            by_key.setdefault((row.tax_jurisdiction, row.supply), []).append(row)
        self._rows = by_key

    @property
    def codes(self) -> Sequence[str]:
        """Every known tax jurisdiction."""
        return list(self._tax_jurisdictions)

    def tax_jurisdiction(self, code: str) -> TaxJurisdiction:
        """The tax jurisdiction of that code. Raises UnclearableError for one that is not in the file."""
        try:
            return self._tax_jurisdictions[code]
        except KeyError:
            raise UnclearableError(
                "unknown_tax_jurisdiction",
                f"tax jurisdiction {code!r} is not known; add it to tax_jurisdictions.csv",
            ) from None

    def rate(self, code: str, supply: SupplyKind, day: date) -> Decimal:
        """Percent on `day` (local). Raises RateUnavailableError where no dated row covers it."""
        for row in self._rows.get((code, supply), ()):
            if row.valid_from <= day and (row.valid_to is None or day <= row.valid_to):
                return row.rate
        raise RateUnavailableError(
            f"no {supply} VAT rate of {code} covers {day}; add a dated row with its source"
        )
