"""The limits of the checks: numbers with a name and a date, bundled defaults under what was set for a CPO.

Owns: names, bounds, defaults, which value is in force at an instant. Must not know: what a limit is used for.
A limit that was set counts from its date on; a CDR is checked by the limits in force when its session began.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache, cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import Final

_FILE: Final = "cdr_limits.csv"
HIGHEST: Final = Decimal(100_000_000)
SCALE: Final = 100 * 3600 * 1_000_000  # percent and microseconds in an hour


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
class LimitSpans:
    """The limits that are spans of time; `clock_back` is the clock's slack below zero."""

    clock_slack: timedelta
    clock_back: timedelta
    latest_start: timedelta
    refused_future: timedelta
    cdr_age: timedelta
    usage_age: timedelta

    @classmethod
    def of(cls, values: Mapping[LimitName, Decimal]) -> "LimitSpans":
        """The spans of these limits, in whole seconds and days."""
        slack = timedelta(seconds=int(values[LimitName.CLOCK_SLACK_S]))
        return cls(
            clock_slack=slack,
            clock_back=-slack,
            latest_start=timedelta(seconds=int(values[LimitName.LATEST_START_S])),
            refused_future=timedelta(seconds=int(values[LimitName.REFUSED_FUTURE_S])),
            cdr_age=timedelta(days=int(values[LimitName.CDR_AGE_DAYS])),
            usage_age=timedelta(days=int(values[LimitName.USAGE_AGE_DAYS])),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLimits:
    """The limits of power: `slack_wh` in watt-hours, `slack` the same times `SCALE`."""

    percent: Decimal
    slack_wh: Decimal
    slack: Decimal

    @classmethod
    def of(cls, values: Mapping[LimitName, Decimal]) -> "PowerLimits":
        """The power limits of these limits."""
        slack_wh = values[LimitName.POWER_SLACK_WH]
        return cls(percent=values[LimitName.POWER_PERCENT], slack_wh=slack_wh, slack=slack_wh * SCALE)


@dataclass(frozen=True, kw_only=True)
class CdrLimits:
    """The limits in force for one CPO at one instant; units as the names say.

    What is looked at of every CDR is read from `values` once.
    """

    values: Mapping[LimitName, Decimal]

    @cached_property
    def spans(self) -> LimitSpans:
        """The limits that are spans of time."""
        return LimitSpans.of(self.values)

    @cached_property
    def session_energy_wh(self) -> Decimal:
        """The most energy of a session, in watt-hours."""
        return self.values[LimitName.SESSION_ENERGY_WH]

    @cached_property
    def time_slack_s(self) -> Decimal:
        """How much more time than the session took may be billed, in seconds."""
        return self.values[LimitName.TIME_SLACK_S]

    @cached_property
    def total_tolerance(self) -> Decimal:
        """How far the two totals may be apart, in major units."""
        return self.values[LimitName.TOTAL_TOLERANCE]

    @cached_property
    def power(self) -> PowerLimits:
        """The limits of power."""
        return PowerLimits.of(self.values)

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
    days = _default_days()
    day = days[-1] if days[-1] <= at else max((one for one in days if one <= at), default=None)
    defaults, own = _defaults_since(day), [row for row in rows if row.valid_from <= at]
    if not own:
        return defaults.limits
    values, ranks = dict(defaults.limits.values), dict(defaults.ranks)
    _take(own, values, ranks, platform_id)
    return CdrLimits(values=MappingProxyType(values))


_Ranks = dict[LimitName, tuple[int, datetime]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Defaults:
    """The bundled limits from one date on, and the rank of each."""

    limits: CdrLimits
    ranks: _Ranks


@cache
def _default_days() -> tuple[datetime, ...]:
    """The dates of the bundled limits, the latest last."""
    return tuple(sorted({row.valid_from for row in default_rows()}))


@cache
def _defaults_since(day: datetime | None) -> _Defaults:
    """`day` is the latest of `_default_days` that has come, None before all of them."""
    values: dict[LimitName, Decimal] = {}
    ranks: _Ranks = {}
    if day is not None:
        _take((row for row in default_rows() if row.valid_from <= day), values, ranks, "")
    return _Defaults(limits=CdrLimits(values=MappingProxyType(values)), ranks=ranks)


def _take(
    rows: Iterable[LimitRow], values: dict[LimitName, Decimal], ranks: _Ranks, platform_id: str
) -> None:
    """Put each row in its place unless a better one is there."""
    for row in rows:
        rank = (0 if row.party_id is None else 1 if row.party_id == platform_id else 2, row.valid_from)
        if row.name not in ranks or rank >= ranks[row.name]:
            ranks[row.name], values[row.name] = rank, row.value
