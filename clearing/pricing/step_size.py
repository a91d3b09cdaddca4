"""step_size: what is billed of what was measured.

Owns: the one rounding up per session of energy and the one of time. Must not know: prices, money.
Computes with operators: its caller has exact arithmetic in force (clearing.exact).
Source: OCPI mod_cdrs, step_size: taken into account once per session for ENERGY and once for TIME and
PARKING_TIME combined, with the step_size of the last price component used, on that dimension's total.
"""

from decimal import Decimal

import msgspec

from clearing.pricing.program import Candidate, PricingProgram
from clearing.pricing.restrictions import Phase
from clearing.pricing.tariff import Dimension
from clearing.pricing.timeline import ZERO, TimedPeriod


class PricedVolume(msgspec.Struct, gc=False):
    """A volume of one period with the price component that prices it; `billed` is the volume after steps."""

    candidate: Candidate
    program: PricingProgram
    timed_period: TimedPeriod
    phase: Phase
    volume: Decimal
    billed: Decimal


def apply_steps(charges: list[PricedVolume]) -> None:
    """Raise the last priced period of energy, and the last of time, to whole steps of the dimension's total.

    Time of a reservation and of a booking's overtime is stepped by itself: it is priced apart. Nothing is
    added where step_size is 0, or to a total of zero or less.
    """
    last: dict[tuple[Phase, bool], PricedVolume] = {}
    for charge in charges:
        candidate = charge.candidate
        if candidate.dimension is not _FLAT:
            last[charge.phase, candidate.hourly] = charge
    for charge in last.values():
        if charge.candidate.step_size > 0:
            _step_up(charge, charges)


def _step_up(last: PricedVolume, charges: list[PricedVolume]) -> None:
    dimension, phase, total = last.candidate.dimension, last.phase, ZERO
    for charge in charges:
        if charge.candidate.dimension is dimension and charge.phase is phase:
            total += charge.volume
    block = last.candidate.step
    remainder = total % block
    if remainder > 0:
        last.billed = last.volume + (block - remainder)


_FLAT = Dimension.FLAT
