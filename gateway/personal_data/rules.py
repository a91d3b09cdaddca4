"""The table of personal data: which columns, why they are kept, for how long, what happens then.

Owns: reading the table and what an operator set apart from it, and until when a row is kept. Must not know:
SQL, the clock, whose data it is. Sources: Regulation (EU) 2016/679 art. 5(1)(e), 17; the laws are named in
personal.toml.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from typing_extensions import override

from gateway.errors import ConfigurationError

_KEEP: Final = re.compile(r"([1-9][0-9]{0,3}) (hours|days|months)")
_DEFAULT: Final = "*"
_MONTHS: Final = 12
_MAX_YEARS: Final = 100


class Disposal(StrEnum):
    """What happens to personal data whose time is over."""

    DELETE = "delete"  # the row
    BLOT = "blot"  # the columns; the row stays
    NEVER = "never"


class KeepUnit(StrEnum):
    """What a period is counted in."""

    HOURS = "hours"
    DAYS = "days"
    MONTHS = "months"
    LAW = "law"  # with the invoice
    CAUSE = "cause"  # while what the rule's `since` names lasts


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepPeriod:
    """How long something is kept; `count` is 0 for LAW and CAUSE."""

    unit: KeepUnit
    count: int = 0

    def before(self, now: datetime) -> datetime:
        """What began before this instant is over. For HOURS, DAYS and MONTHS."""
        if self.unit is KeepUnit.MONTHS:
            return subtract_months(now, self.count)
        return now - (timedelta(hours=self.count) if self.unit is KeepUnit.HOURS else timedelta(self.count))

    def is_shorter(self, other: "KeepPeriod") -> bool:
        """Whether this period ends before the other, both counted."""
        at = datetime(2026, 3, 1, tzinfo=UTC)
        return self.before(at) > other.before(at)

    @property
    def counted(self) -> bool:
        """Whether it is a number of hours, days or months."""
        return self.unit not in {KeepUnit.LAW, KeepUnit.CAUSE}

    @override
    def __str__(self) -> str:
        if self.counted:
            unit = self.unit.value.removesuffix("s") if self.count == 1 else self.unit.value
            return f"{self.count} {unit}"
        return "by law" if self.unit is KeepUnit.LAW else "with its cause"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """Columns that are kept and disposed of together. `columns` are `schema.table.column`."""

    name: str
    columns: Sequence[str]
    what: str
    why: str
    keep: KeepPeriod
    since: str
    then: Disposal
    erase: str
    fixed: bool
    at_least: KeepPeriod | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalPeriod:
    """For how many years a country's law keeps what proves an invoice.

    `confirmed`: the law's or the authority's words were read at `source`; else the number is from memory.
    `is_own`: an operator has set it, and answers for it.
    """

    years: int
    law: str
    confirmed: bool
    source: str | None = None
    is_own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """Every rule, and for how many years the law of each country keeps what proves an invoice."""

    as_of: date
    rules: Mapping[str, RetentionRule]
    legal: Mapping[str, LegalPeriod]
    also: Sequence[str]

    @property
    def legal_years(self) -> Mapping[str, int]:
        """The years by country; "*": every other country."""
        return {country: period.years for country, period in self.legal.items()}

    @property
    def unconfirmed(self) -> Sequence[str]:
        """The countries whose number is from memory, and "*"."""
        return [one for one, period in self.legal.items() if not (period.confirmed or period.is_own)]

    def years(self, tax_jurisdiction: str) -> int:
        """Years after the calendar year of the sale, by the longest law that binds the platform there."""
        countries = [country_of(tax_jurisdiction), *self.also]
        return max(self.legal.get(one, self.legal[_DEFAULT]).years for one in countries)

    def kept_until(self, sale: datetime, tax_jurisdiction: str) -> date:
        """The last day on which the law keeps what proves a sale."""
        return date(sale.year + self.years(tax_jurisdiction), 12, 31)

    def legal_limits(self, now: datetime) -> Mapping[str, datetime]:
        """By country, the instant before which sales need no proof any more; "*": every other country."""
        known = {*self.legal, "XI"}
        return {one: datetime(now.year - self.years(one), 1, 1, tzinfo=UTC) for one in sorted(known)}


def country_of(tax_jurisdiction: str) -> str:
    """The country whose law counts: `ES-CN` is in ES, Northern Ireland (XI) in GB."""
    country = tax_jurisdiction[:2]
    return "GB" if country == "XI" else country or _DEFAULT


def subtract_months(at: datetime, months: int) -> datetime:
    """The same day so many months before, or the last of a shorter month."""
    index = at.year * _MONTHS + at.month - 1 - months
    year, month = divmod(index, _MONTHS)
    for day in range(at.day, 0, -1):
        try:
            return at.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    raise ValueError(f"no day {months} months before {at}")


@cache
def default_policy() -> RetentionPolicy:
    """The table as it ships."""
    return _read_policy(tomllib.loads(_text("personal.toml")))


def load_policy(path: str | None) -> RetentionPolicy:
    """The table as it ships, changed by the operator's file; no path: as it ships.

    The file may have `[keep]` (a period by the name of a rule), `[legal_years]` and `[legal]`. Raises
    ConfigurationError: it can't be read, names no rule, or a period that may not be.
    """
    policy = default_policy()
    if path is None:
        return policy
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - the path is the operator's own text
            given = tomllib.load(file)
        return changed_policy(policy, given)
    except OSError as error:
        raise ConfigurationError(f"retention_path {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"retention_path {path}: {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"retention_path {path}: {error}") from None


def changed_policy(policy: RetentionPolicy, given: Mapping[str, Any]) -> RetentionPolicy:
    """The policy with an operator's changes. Raises ValueError, which says what is wrong."""
    for name in given:
        if name not in {"keep", "legal_years", "legal"}:
            raise ValueError(f"[{name}] is not known; expected [keep], [legal_years] or [legal]")
    rules = dict(policy.rules)
    for name, text in given.get("keep", {}).items():
        rules[name] = _changed_rule(rules.get(name), name, text)
    legal = dict(policy.legal)
    for country, count in given.get("legal_years", {}).items():
        if not isinstance(count, int) or not 0 < count <= _MAX_YEARS:
            raise ValueError(f"legal_years.{country}: expected a number of years from 1 to {_MAX_YEARS}")
        legal[country] = LegalPeriod(years=count, law="set by the operator", confirmed=False, is_own=True)
    also = given.get("legal", {}).get("also", policy.also)
    if not isinstance(also, list | tuple) or not all(one in legal for one in also):
        raise ValueError("legal.also: expected a list of countries that [legal_years] names")
    return replace(policy, rules=rules, legal=legal, also=tuple(also))


def _changed_rule(rule: RetentionRule | None, name: str, text: Any) -> RetentionRule:
    if rule is None:
        raise ValueError(f"keep.{name} is no rule; networkcore retention lists them")
    if rule.fixed or not rule.keep.counted:
        raise ValueError(f"keep.{name} can't be set: it is kept {rule.keep}")
    keep = _read_keep(text)
    if not keep.counted:
        raise ValueError(f"keep.{name}: expected a number of hours, days or months")
    if rule.at_least is not None and keep.is_shorter(rule.at_least):
        raise ValueError(f"keep.{name}: {keep} is shorter than {rule.at_least}, the least that works")
    return replace(rule, keep=keep)


def list_not_personal() -> Mapping[str, str]:
    """Each column that holds no personal data, as `schema.table.column`, and why not."""
    found: dict[str, str] = {}
    for group in tomllib.loads(_text("not_personal.toml")).values():
        for table, columns in group["columns"].items():
            for column in columns.split():
                found[f"{table}.{column}"] = group["reason"]
    return found


def _read_policy(table: Mapping[str, Any]) -> RetentionPolicy:
    return RetentionPolicy(
        as_of=table["as_of"],
        rules={name: _read_rule(name, one) for name, one in table["rule"].items()},
        legal={country: LegalPeriod(**one) for country, one in table["legal_years"].items()},
        also=tuple(table["legal"]["also"]),
    )


def _read_rule(name: str, one: Mapping[str, Any]) -> RetentionRule:
    return RetentionRule(
        name=name,
        columns=tuple(one["columns"]),
        what=one["what"],
        why=one["why"],
        keep=_read_keep(one["keep"]),
        since=one["from"],
        then=Disposal(one["then"]),
        erase=one["erase"],
        fixed=one.get("fixed", False),
        at_least=_read_keep(one["at_least"]) if "at_least" in one else None,
    )


def _read_keep(text: Any) -> KeepPeriod:
    if text in {KeepUnit.LAW, KeepUnit.CAUSE}:
        return KeepPeriod(unit=KeepUnit(text))
    found = _KEEP.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!r}: expected a period such as '90 days' or '13 months'")
    return KeepPeriod(unit=KeepUnit(found[2]), count=int(found[1]))


def _text(name: str) -> str:
    return files("gateway").joinpath("personal_data", name).read_text(encoding="utf-8")
