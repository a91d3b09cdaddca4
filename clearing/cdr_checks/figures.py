"""A CDR with its volumes added up once, for all rules.

Owns: the sums. Must not know: limits, facts of the session, what is odd.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from clearing.pricing.cdr import Cdr

WH_PER_KWH: Final = 1000
_NOTHING: Final = Decimal(0)


class VolumeRole(IntEnum):
    """What the volume of a dimension counts as."""

    ENERGY = 1
    BILLED_TIME = 2
    RESERVATION = 3
    NEVER_NEGATIVE = 4


ROLES: Final[Mapping[str, VolumeRole]] = MappingProxyType(
    {
        "ENERGY": VolumeRole.ENERGY,
        "TIME": VolumeRole.BILLED_TIME,
        "PARKING_TIME": VolumeRole.BILLED_TIME,
        "RESERVATION_TIME": VolumeRole.RESERVATION,
        "ENERGY_IMPORT": VolumeRole.NEVER_NEGATIVE,
        "ENERGY_EXPORT": VolumeRole.NEVER_NEGATIVE,
    }
)


@dataclass(slots=True, kw_only=True)
class CdrFigures:
    """The sums over a CDR's charging periods.

    `listed_kwh` is None where no period names energy; `energy_wh` the larger of that sum and total_energy.
    `energies` are the periods by start, each with its energy in kWh, those that start together as one;
    `negative` describes a volume below zero.
    """

    cdr: Cdr
    listed_kwh: Decimal | None
    energy_wh: Decimal
    billed_h: Decimal
    energies: Sequence[tuple[datetime, Decimal]]
    is_reservation: bool
    negative: str | None

    @classmethod
    def of(cls, cdr: Cdr) -> "CdrFigures":
        """The sums of `cdr`, in one pass."""
        energies: list[tuple[datetime, Decimal]] = []
        billed, listed, reservation, negative = _NOTHING, None, False, None
        ordered = True
        for place, period in enumerate(cdr.periods):
            energy = _NOTHING
            for quantity in period.dimensions:
                role = ROLES.get(quantity.type) or ROLES.get(quantity.type.upper())
                if role is None:
                    continue
                volume = quantity.volume
                if role is VolumeRole.ENERGY:
                    energy += volume
                    listed = volume if listed is None else listed + volume
                elif role is VolumeRole.BILLED_TIME:
                    billed += volume
                elif role is VolumeRole.RESERVATION:
                    reservation = True
                if negative is None and volume < 0:
                    negative = f"{quantity.type.upper()} of charging_periods[{place}] is {volume}"
            if energies and period.start <= energies[-1][0]:
                ordered = False
            energies.append((period.start, energy))
        total = cdr.total_energy_kwh
        return cls(
            cdr=cdr,
            listed_kwh=listed,
            energy_wh=WH_PER_KWH * max(listed or _NOTHING, total or _NOTHING),
            billed_h=billed,
            energies=energies if ordered else _merged(energies),
            is_reservation=reservation,
            negative=negative or _negative_total(cdr),
        )

    @property
    def coarsest_digit(self) -> Decimal:
        """One in the last digit of the coarsest energy of a period, in kWh."""
        return max(
            last_digit(quantity.volume)
            for period in self.cdr.periods
            for quantity in period.dimensions
            if quantity.type.upper() == VolumeRole.ENERGY.name
        )


def _merged(energies: Sequence[tuple[datetime, Decimal]]) -> list[tuple[datetime, Decimal]]:
    """By start; periods that start together are one."""
    by_start: dict[datetime, Decimal] = {}
    for start, energy in energies:
        by_start[start] = by_start.get(start, _NOTHING) + energy
    return sorted(by_start.items())


def last_digit(value: Decimal) -> Decimal:
    """One in the last digit of a number as it was sent: 0.01 for 20.50."""
    exponent = value.as_tuple().exponent
    return Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0)


def _negative_total(cdr: Cdr) -> str | None:
    for name, total in (
        ("total_energy", cdr.total_energy_kwh),
        ("total_time", cdr.total_time_h),
        ("total_parking_time", cdr.total_parking_time_h),
    ):
        if total is not None and total < 0:
            return f"{name} is {total}"
    return None
