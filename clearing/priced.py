"""What a session costs, and why: the result of pricing.

Owns: the lines, the totals, their breakdown as plain JSON values. Must not know: how they were found.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from clearing.document import plain_number
from clearing.exact import EXACT
from clearing.money import to_major
from clearing.notes import Note
from clearing.ocpi import OcpiVersion
from clearing.restrictions import Phase
from clearing.tariff import Dimension
from clearing.taxes import RateTotals, TaxShare, share_taxes

WH_PER_KWH: Final = Decimal(1000)


def decimal_text(value: Decimal) -> str:
    """A decimal as text without exponent and idle zeros."""
    return str(plain_number(value))


class Reason(StrEnum):
    """Why a line bills what it bills."""

    MEASURED = "measured"  # the volume as measured
    STEPPED = "stepped"  # the last period of its dimension, rounded up by step_size
    FLAT = "flat"  # once
    MIN_PRICE = "min_price"  # raised to the minimum
    MAX_PRICE = "max_price"  # lowered to the maximum
    FLOOR = "floor"  # a negative total is nothing to pay


class Line(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of a price, its amounts in major units with four decimals.

    `period`, `element` and `component` are places in the CDR and the tariff, None where a limit made it.
    `unit` is kWh, s or session; `price` is per kWh, per hour or per session; `tax_percent` None if unstated.
    """

    period: int | None
    tariff_id: str | None
    element: int | None
    component: int | None
    phase: Phase
    dimension: Dimension | None
    volume: Decimal
    billed_volume: Decimal
    unit: str
    price: Decimal | None
    tax_percent: Decimal | None
    excl_vat: Decimal
    incl_vat: Decimal
    reason: Reason
    step_size: int

    def to_dict(self) -> dict[str, Any]:
        """The line as JSON-able values, decimals as strings."""
        return {
            "period": self.period,
            "tariff_id": self.tariff_id,
            "element": self.element,
            "component": self.component,
            "phase": self.phase.value,
            "dimension": None if self.dimension is None else self.dimension.value,
            "volume": decimal_text(self.volume),
            "billed_volume": decimal_text(self.billed_volume),
            "unit": self.unit,
            "price": None if self.price is None else decimal_text(self.price),
            "step_size": self.step_size,
            "tax_percent": None if self.tax_percent is None else decimal_text(self.tax_percent),
            "excl_vat": format(self.excl_vat, ".4f"),
            "incl_vat": format(self.incl_vat, ".4f"),
            "reason": self.reason.value,
        }


class PricedSession(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a session costs, and why. Minor units are final; `lines` sum to `excl_vat` and `incl_vat`.

    `rates` are each component's tax rate and totals, before any limit; `energy_kwh` is what was charged;
    `time_zone` is the one local time was read in, None where none was. `tax_known` is False where the tariff
    leaves the tax to others: then both totals are its stated prices.
    """

    currency: str
    excl_vat_minor: int
    incl_vat_minor: int
    excl_vat: Decimal
    incl_vat: Decimal
    lines: tuple[Line, ...]
    rates: tuple[RateTotals, ...]
    notes: tuple[Note, ...]
    energy_kwh: Decimal
    tax_known: bool
    policy: str
    tariff_id: str
    version: OcpiVersion
    time_zone: str | None

    @property
    def taxes(self) -> tuple[TaxShare, ...]:
        """The tax by rate, in minor units that add up to gross less net."""
        return share_taxes(self.rates, net_minor=self.excl_vat_minor, gross_minor=self.incl_vat_minor)

    @property
    def energy_wh(self) -> Decimal:
        """The energy in watt-hours, exactly."""
        return EXACT.multiply(self.energy_kwh, WH_PER_KWH)

    def to_dict(self) -> dict[str, Any]:
        """The breakdown as JSON-able values: money, volumes and prices are decimal strings, never floats.

        `excl_vat` and `incl_vat` carry the currency's digits ("12.50"), those of a line four decimals.
        """
        return {
            "currency": self.currency,
            "excl_vat": str(to_major(self.excl_vat_minor, self.currency)),
            "incl_vat": str(to_major(self.incl_vat_minor, self.currency)),
            "tax": str(to_major(self.incl_vat_minor - self.excl_vat_minor, self.currency)),
            "excl_vat_minor": self.excl_vat_minor,
            "incl_vat_minor": self.incl_vat_minor,
            "tax_known": self.tax_known,
            "energy_kwh": decimal_text(self.energy_kwh),
            "policy": self.policy,
            "tariff": {"id": self.tariff_id, "version": self.version.value},
            "time_zone": self.time_zone,
            "lines": [line.to_dict() for line in self.lines],
            "taxes": [share.to_dict(self.currency) for share in self.taxes],
            "notes": [note.to_dict() for note in self.notes],
        }
