"""The limits of the checks: numbers with a name and a date, bundled defaults under what was set for a CPO.

Owns: names, bounds, defaults, which value is in force at an instant. Must not know: what a limit is used for.
A limit that was set counts from its date on; a CDR is checked by the limits in force when its session began.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

_FILE: Final = "cdr_limits.csv"
HIGHEST: Final = Decimal(100_000_000)


class LimitName(StrEnum):
    """Every limit; its unit is the end of its name, or in `UNITS`."""

    CLOCK_SLACK_S = "clock_slack_s"
    LATEST_START_S = "latest_start_s"
    REFUSED_FUTURE_S = "refused_future_s"
    CDR_AGE_DAYS = "cdr_age_days"
    USAGE_AGE_DAYS = "usage_age_days"
    POWER_PERCENT = "power_percent"
    POWER_SLACK_WH = "power_slack_wh"
    UNKNOWN_DC_W = "unknown_dc_w"
    UNKNOWN_AC_W = "unknown_ac_w"
    SESSION_ENERGY_WH = "session_energy_wh"
    TIME_SLACK_S = "time_slack_s"
    ENERGY_PERCENT = "energy_percent"
    TOTAL_TOLERANCE = "total_tolerance"
    LOWER_OF_BOTH = "lower_of_both"
    CREDIT_WAIT_H = "credit_wait_h"
    USAGE_ENERGY_PERCENT = "usage_energy_percent"
    USAGE_ENERGY_SLACK_WH = "usage_energy_slack_wh"
    USAGE_TIME_SLACK_S = "usage_time_slack_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow:
    """A value of a limit from `valid_from` (aware) on. `party_id` None: the bundled default."""

    name: LimitName
    value: Decimal
    valid_from: datetime
    party_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrLimits:
    """The limits in force for one CPO at one instant; units as the names say."""

    values: Mapping[LimitName, Decimal]

    def __getitem__(self, name: LimitName) -> Decimal:
        return self.values[name]

    @property
    def takes_lower(self) -> bool:
        """Whether a CPO's total below the tariff's price is captured as it is, by agreement."""
        return self.values[LimitName.LOWER_OF_BOTH] > 0


@cache
def default_rows() -> tuple[LimitRow, ...]:
    """The rows of `rates/cdr_limits.csv`."""
    text = (files("clearing.rates") / _FILE).read_text(encoding="utf-8")
    return tuple(
        LimitRow(
            name=LimitName(row["name"]),
            value=Decimal(row["value"]),
            valid_from=datetime.fromisoformat(row["valid_from"]).replace(tzinfo=UTC),
        )
        for row in csv.DictReader(text.splitlines())
    )


def is_allowed(name: LimitName, value: Decimal) -> bool:
    """Whether a limit may have this value: not negative, bounded; `lower_of_both` is 0 or 1."""
    highest = Decimal(1) if name is LimitName.LOWER_OF_BOTH else HIGHEST
    if not value.is_finite() or not 0 <= value <= highest:
        return False
    return name is not LimitName.LOWER_OF_BOTH or value == value.to_integral_value()


def limits_at(rows: Iterable[LimitRow], at: datetime, *, platform_id: str = "platform") -> CdrLimits:
    """The limits in force at `at`: the CPO's own, else the platform's, else the default; the latest of each.

    `rows` are those of one CPO and of the platform, in any order.
    """
    values: dict[LimitName, Decimal] = {}
    ranks: dict[LimitName, tuple[int, datetime]] = {}
    for row in (*default_rows(), *rows):
        if row.valid_from > at:
            continue
        rank = (0 if row.party_id is None else 1 if row.party_id == platform_id else 2, row.valid_from)
        if row.name not in ranks or rank >= ranks[row.name]:
            ranks[row.name], values[row.name] = rank, row.value
    return CdrLimits(values=MappingProxyType(values))
