"""The reference data that sessions are cleared with, as one value.

Owns: its shape. Must not know: where it is stored, how long it stays valid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clearing.calendar import Calendars
from clearing.fx import RateTable
from clearing.parties.agreement import Agreement
from clearing.parties.party import Party
from clearing.tax.vat_rates import VatRates


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesAndCalendars:
    """The dated facts: VAT rates, exchange rates and the calendars of the clearing systems."""

    vat: VatRates
    fx: RateTable
    calendars: Calendars


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceData:
    """Parties by id, agreements by CPO, and the dated facts."""

    parties: Mapping[str, Party]
    agreements: Mapping[str, Sequence[Agreement]]
    rates_and_calendars: RatesAndCalendars
