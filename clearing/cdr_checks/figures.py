"""A CDR with its volumes added up once, for all rules.

Owns: the sums. Must not know: limits, facts of the session, what is odd.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from clearing.pricing.cdr import Cdr

WH_PER_KWH: Final = 1000
_ENERGY: Final = "ENERGY"
_TIMES: Final = frozenset({"TIME", "PARKING_TIME"})
_RESERVATION: Final = "RESERVATION_TIME"
_NEVER_NEGATIVE: Final = _TIMES | {_ENERGY, "ENERGY_IMPORT", "ENERGY_EXPORT", _RESERVATION}
_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrFigures:
    """The sums over a CDR's charging periods.

    `listed_kwh` is None where no period names energy; `energy_wh` the larger of that sum and total_energy.
    `energy_at` is the energy in kWh by the start of its period, of periods that start together the sum;
    `coarsest_exponent` is the power of ten of the coarsest energy; `negative` describes a volume below zero.
    """

    cdr: Cdr
    listed_kwh: Decimal | None
    energy_wh: Decimal
    billed_h: Decimal
    energy_at: dict[datetime, Decimal]
    coarsest_exponent: int
    is_reservation: bool
    negative: str | None

    @classmethod
    def of(cls, cdr: Cdr) -> "CdrFigures":
        """The sums of `cdr`, in one pass."""
        energy_at: dict[datetime, Decimal] = {}
        billed, coarsest, reservation, negative = _NOTHING, -99, False, None
        for place, period in enumerate(cdr.periods):
            for quantity in period.dimensions:
                kind, volume = quantity.type.upper(), quantity.volume
                if kind == _ENERGY:
                    known = energy_at.get(period.start)
                    energy_at[period.start] = volume if known is None else known + volume
                    coarsest = max(coarsest, _exponent(volume))
                elif kind in _TIMES:
                    billed += volume
                elif kind == _RESERVATION:
                    reservation = True
                if volume < 0 and kind in _NEVER_NEGATIVE and negative is None:
                    negative = f"{kind} of charging_periods[{place}] is {volume}"
        listed = sum(energy_at.values(), _NOTHING) if energy_at else None
        total = cdr.total_energy_kwh
        return cls(
            cdr=cdr,
            listed_kwh=listed,
            energy_wh=WH_PER_KWH * max(listed or _NOTHING, total or _NOTHING),
            billed_h=billed,
            energy_at=energy_at,
            coarsest_exponent=coarsest if total is None else max(coarsest, _exponent(total)),
            is_reservation=reservation,
            negative=negative or _negative_total(cdr),
        )


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _negative_total(cdr: Cdr) -> str | None:
    for name, total in (
        ("total_energy", cdr.total_energy_kwh),
        ("total_time", cdr.total_time_h),
        ("total_parking_time", cdr.total_parking_time_h),
    ):
        if total is not None and total < 0:
            return f"{name} is {total}"
    return None
