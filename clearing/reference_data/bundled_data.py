"""The dated data files that ship with clearing: VAT rates, tax jurisdictions, exchange rates, closing days.

Owns: their place and their reading. Must not know: what is decided with them. Each row carries its source.
"""

import csv
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Final

from clearing.calendar import Calendars, ClosingDays
from clearing.fx import ReferenceRate
from clearing.tax.vat_rates import Regime, SupplyKind, TaxJurisdiction, VatRate, VatRates

CALENDAR_NAMES: Final = ("swiss", "target", "united_kingdom")
# A row whose fact is not confirmed has its source and is not used.
CONFIRMED: Final = "confirmed"


def _rows(package: str, name: str) -> Iterator[dict[str, str]]:
    text = (files(package) / name).read_text(encoding="utf-8")
    yield from csv.DictReader(text.splitlines())


@cache
def vat_rate_rows() -> Sequence[VatRate]:
    """The confirmed rows of `rates/vat.csv`."""
    return tuple(
        VatRate(
            tax_jurisdiction=row["tax_jurisdiction"],
            supply=SupplyKind(row["supply"]),
            rate=Decimal(row["rate"]),
            valid_from=date.fromisoformat(row["valid_from"]),
            valid_to=date.fromisoformat(row["valid_to"]) if row["valid_to"] else None,
            source=row["source"],
        )
        for row in _rows("clearing.rates", "vat.csv")
        if row["status"] == CONFIRMED
    )


@cache
def vat_rates() -> VatRates:
    """The bundled VAT rates and tax jurisdictions; rows that are not confirmed are left out."""
    tax_jurisdictions = [
        TaxJurisdiction(
            code=row["tax_jurisdiction"],
            country=row["country"],
            regime=Regime(row["regime"]),
            vat_of=row["vat_of"],
            time_zone=row["time_zone"],
        )
        for row in _rows("clearing.rates", "tax_jurisdictions.csv")
    ]
    return VatRates(rows=vat_rate_rows(), tax_jurisdictions=tax_jurisdictions)


@cache
def ecb_reference_rates() -> Sequence[ReferenceRate]:
    """The bundled euro reference rates of the ECB, 2025-12-15 to 2026-10-30 (`rates/ecb_reference.csv`)."""
    return tuple(
        ReferenceRate(
            base=row["base"],
            quote=row["quote"],
            rate_date=date.fromisoformat(row["rate_date"]),
            rate=Decimal(row["rate"]),
            source=row["source"],
        )
        for row in _rows("clearing.rates", "ecb_reference.csv")
    )


@cache
def closing_days() -> tuple[ClosingDays, ...]:
    """The bundled closing days of each system.

    A day marked `check` counts as closed: a due date is never a doubtful day.
    """
    loaded = []
    for name in CALENDAR_NAMES:
        days = frozenset(date.fromisoformat(row["day"]) for row in _rows("clearing.calendars", f"{name}.csv"))
        years = [day.year for day in days]
        loaded.append(ClosingDays(name=name, days=days, first_year=min(years), last_year=max(years)))
    return tuple(loaded)


@cache
def calendars() -> Calendars:
    """The bundled calendars, joint."""
    return Calendars(closing_days())
