"""step_size: what is billed of what was measured.

Owns: the one rounding up per session of energy and the one of time. Must not know: prices, money.
Source: OCPI mod_cdrs, step_size: taken into account once per session for ENERGY and once for TIME and
PARKING_TIME combined, with the step_size of the last price component used, on that dimension's total.
"""

from decimal import Decimal
from typing import Final

from clearing.exact import EXACT
from clearing.program import Candidate, PricingProgram
from clearing.restrictions import Phase
from clearing.tariff import Dimension
from clearing.timeline import Stretch

WH_PER_KWH: Final = Decimal(1000)


class Charge:
    """A volume of one period with the price component that prices it; `billed` is the volume after steps."""

    __slots__ = ("billed", "candidate", "hourly", "phase", "program", "stretch", "volume")

    def __init__(
        self, candidate: Candidate, program: PricingProgram, stretch: Stretch, phase: Phase, volume: Decimal
    ) -> None:
        self.candidate = candidate
        self.program = program
        self.stretch = stretch
        self.phase = phase
        self.volume = volume
        self.billed = volume
        self.hourly = candidate.dimension in _HOURLY


_HOURLY: Final = frozenset({Dimension.TIME, Dimension.PARKING_TIME})


def apply_steps(charges: list[Charge]) -> None:
    """Raise the last priced period of energy, and the last of time, to whole steps of the dimension's total.

    Time of a reservation and of a booking's overtime is stepped by itself: it is priced apart. A step_size of
    0 or 1 second or watt-hour on a whole volume changes nothing; nothing is added to a total of zero or less.
    """
    last: dict[tuple[Phase, bool], Charge] = {}
    for charge in charges:
        if charge.candidate.dimension is not Dimension.FLAT:
            last[charge.phase, charge.hourly] = charge
    for (phase, _), charge in last.items():
        step = charge.candidate.step_size
        if step > 0:
            _step_up(charge, step, [other for other in charges if other.phase is phase])


def _step_up(last: Charge, step: int, charges: list[Charge]) -> None:
    dimension = last.candidate.dimension
    total = Decimal(0)
    for charge in charges:
        if charge.candidate.dimension is dimension:
            total = EXACT.add(total, charge.volume)
    if total <= 0:
        return
    block = Decimal(step) if last.hourly else EXACT.divide(Decimal(step), WH_PER_KWH)
    remainder = EXACT.remainder(total, block)
    if remainder:
        last.billed = EXACT.add(last.volume, EXACT.subtract(block, remainder))
