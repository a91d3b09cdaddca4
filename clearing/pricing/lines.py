"""The lines of a price: how each component's cost is found, and what a reader is shown of it.

Owns: the exact cost of a volume, its rounding, and the lines that add up to it. Must not know: limits, notes.
Lines are computed on request; what a component costs does not depend on them.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from clearing.money import four_decimals
from clearing.pricing.exact import exactly
from clearing.pricing.limits import LimitStep, Totals
from clearing.pricing.restrictions import Phase
from clearing.pricing.step_size import PricedVolume
from clearing.pricing.tariff import Dimension, TaxMode

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)
HOUR_S: Final = Decimal(3600)
# The charges of one price component, in the order of time: they are summed before they are rounded.
Group = Sequence[PricedVolume]


def decimal_text(value: Decimal) -> str:
    """A decimal as text without exponent and idle zeros."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


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


def component_totals(group: Group) -> Totals:
    """Net and gross of one component over all its periods, rounded once to four decimals.

    A period that is split where nothing changes costs the same. The caller has exact arithmetic in force.
    """
    first = group[0]
    volume = first.billed
    if len(group) > 1:
        volume = sum((charge.billed for charge in group), ZERO)
    return _cost(first, volume)


def _cost(charge: PricedVolume, volume: Decimal) -> Totals:
    candidate = charge.candidate
    amount = taxed = candidate.price * volume
    included = charge.program.tax_mode is _INCLUDED
    if candidate.vat:
        taxed = amount / candidate.factor if included else amount * candidate.factor
    if candidate.hourly:  # divided last: until here every product is exact
        amount, taxed = amount / HOUR_S, taxed / HOUR_S
    if included:
        amount, taxed = taxed, amount
    return Totals(four_decimals(amount), four_decimals(taxed))


_INCLUDED: Final = TaxMode.INCLUDED


@exactly
def explain_lines(groups: Sequence[Group], limits: Sequence[LimitStep]) -> tuple[Line, ...]:
    """One line for each charge, then one for each limit that was met; they add up to the price exactly.

    The lines of one component are differences of its rounded running sum.
    """
    found = [line for group in groups for line in _component_lines(group)]
    found += [_limit_line(step) for step in limits]
    return tuple(found)


def _component_lines(group: Group) -> Iterator[Line]:
    volume, before = ZERO, Totals(ZERO, ZERO)
    for charge in group:
        volume += charge.billed
        now = _cost(charge, volume)
        yield _line(charge, Totals(now.excl_vat - before.excl_vat, now.incl_vat - before.incl_vat))
        before = now


_UNIT: Final = {
    Dimension.ENERGY: "kWh",
    Dimension.TIME: "s",
    Dimension.PARKING_TIME: "s",
    Dimension.FLAT: "session",
}


def _line(charge: PricedVolume, cost: Totals) -> Line:
    candidate = charge.candidate
    if candidate.dimension is Dimension.FLAT:
        reason = Reason.FLAT
    else:
        reason = Reason.MEASURED if charge.billed == charge.volume else Reason.STEPPED
    return Line(
        period=charge.timed_period.place,
        tariff_id=charge.program.tariff_id,
        element=candidate.element,
        component=candidate.component,
        phase=charge.phase,
        dimension=candidate.dimension,
        volume=charge.volume,
        billed_volume=charge.billed,
        unit=_UNIT[candidate.dimension],
        price=candidate.price,
        tax_percent=candidate.vat,
        excl_vat=cost.excl_vat,
        incl_vat=cost.incl_vat,
        reason=reason,
        step_size=candidate.step_size,
    )


def _limit_line(step: LimitStep) -> Line:
    return Line(
        period=None,
        tariff_id=None,
        element=None,
        component=None,
        phase=Phase.SESSION,
        dimension=None,
        volume=ONE,
        billed_volume=ONE,
        unit="session",
        price=None,
        tax_percent=None,
        excl_vat=step.excl_vat,
        incl_vat=step.incl_vat,
        reason=Reason(step.reason),
        step_size=0,
    )
