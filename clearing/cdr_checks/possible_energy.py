"""The most energy that a connector gives in a time.

Owns: the power that counts, slack included, and the comparison that is exact at the limit. Must not know:
rules.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Final

from clearing.cdr_checks.facts import SessionFacts
from clearing.cdr_checks.figures import WH_PER_KWH
from clearing.cdr_checks.limits import SCALE, CdrLimits, LimitName

MICROSECOND: Final = timedelta(microseconds=1)
KWH_SCALE: Final = Decimal(WH_PER_KWH * SCALE)  # kWh times this compare with `PossibleEnergy.scaled`
_SCALE: Final = Decimal(SCALE)


class PossibleEnergy:
    """The most energy by time: the connector's power, or the usual one of its kind where it is not known."""

    __slots__ = ("_per_microsecond", "_slack", "_slack_wh")

    def __init__(self, facts: SessionFacts, limits: CdrLimits) -> None:
        watts: int | Decimal | None = facts.max_power_w
        if not watts:
            alternating = (facts.power_type or "").upper().startswith("AC")
            watts = limits[LimitName.UNKNOWN_AC_W if alternating else LimitName.UNKNOWN_DC_W]
        power = limits.power
        self._per_microsecond = watts * power.percent  # in Wh times SCALE
        self._slack_wh = power.slack_wh
        self._slack = power.slack

    def wh(self, span: timedelta) -> Decimal:
        """In watt-hours."""
        return self._per_microsecond * (span // MICROSECOND) / _SCALE + self._slack_wh

    def covers(self, kwh: Decimal, span: timedelta) -> bool:
        """Whether `kwh` can have been given in `span`, which counts as nothing where it is negative."""
        return kwh * KWH_SCALE <= self.scaled(span)

    def scaled(self, span: timedelta) -> Decimal:
        """In kilowatt-hours times `KWH_SCALE`: without a division, so exact."""
        microseconds = span // MICROSECOND
        return self._slack if microseconds <= 0 else self._per_microsecond * microseconds + self._slack
