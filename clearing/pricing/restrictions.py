"""Tariff restrictions: when a tariff element is active.

Owns: reading TariffRestrictions, its exact bounds, and turning them into checks on one moment of a session.
Must not know: prices. Lower bounds are inclusive, upper ones exclusive (OCPI mod_tariffs).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from clearing.errors import MalformedDocumentError
from clearing.pricing import json_document as document
from clearing.pricing.notes import Note, NoteCode, NoteSeverity

DAYS: Final = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
DAY_SECONDS: Final = 86_400

_TIME: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_DATE: Final = re.compile(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]", re.ASCII)


class Phase(StrEnum):
    """Which part of a stay an element prices: charging itself, or what surrounds it."""

    SESSION = "session"
    RESERVATION = "reservation"
    RESERVATION_EXPIRES = "reservation_expires"
    OVERTIME = "overtime"  # 2.3.0 bookings: the stay beyond the booked slot
    CANCELLATION = "cancellation"  # 2.3.0 bookings: nothing in a CDR says it; never matched
    UNKNOWN = "unknown"


_RESERVATION: Final = {
    "RESERVATION": Phase.RESERVATION,
    "RESERVATION_EXPIRES": Phase.RESERVATION_EXPIRES,
}
_BOOKING: Final = {
    "BOOKING": Phase.RESERVATION,
    "BOOKING_EXPIRES": Phase.RESERVATION_EXPIRES,
    "BOOKING_OVERTIME": Phase.OVERTIME,
    "BOOKING_CANCELLATION_FEES": Phase.CANCELLATION,
}


class WireRestrictions(msgspec.Struct, forbid_unknown_fields=False):
    """TariffRestrictions as sent, all versions together."""

    start_time: str | None = None
    end_time: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    min_kwh: Decimal | None = None
    max_kwh: Decimal | None = None
    min_current: Decimal | None = None
    max_current: Decimal | None = None
    min_power: Decimal | None = None
    max_power: Decimal | None = None
    min_duration: Decimal | None = None
    max_duration: Decimal | None = None
    day_of_week: list[str] | None = None
    reservation: str | None = None
    booking: str | None = None


FIELDS: Final = frozenset(WireRestrictions.__struct_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restrictions:
    """All must hold at once. Times are seconds of the local day, dates local, durations seconds.

    `start_second` and `end_second` are both set or both None; `end_second` of a whole day is 86 400, and an
    end before the start wraps over midnight. `unknown` names restrictions that can't be evaluated.
    """

    phase: Phase
    start_second: int | None
    end_second: int | None
    start_date: date | None
    end_date: date | None
    min_kwh: Decimal | None
    max_kwh: Decimal | None
    min_current: Decimal | None
    max_current: Decimal | None
    min_power: Decimal | None
    max_power: Decimal | None
    min_duration: Decimal | None
    max_duration: Decimal | None
    weekdays: frozenset[int] | None  # Monday is 0
    unknown: tuple[str, ...] = ()

    @property
    def needs_local_time(self) -> bool:
        """Whether the time zone of the location decides."""
        return any(
            value is not None for value in (self.start_second, self.start_date, self.end_date, self.weekdays)
        )


class Moment(msgspec.Struct, gc=False):
    """What is known of one moment of a session, at which restrictions are evaluated.

    `second`, `weekday` and `day` are local; `elapsed_us` counts from the session's start, without its
    reservation; `kwh` is the energy consumed before this moment; power in kW, current in A.
    """

    elapsed_us: int
    kwh: Decimal
    second: int = 0
    weekday: int = 0
    day: date = date.min
    min_current: Decimal | None = None
    max_current: Decimal | None = None
    min_power: Decimal | None = None
    max_power: Decimal | None = None


Check = Callable[[Moment], bool]


def read_restrictions(
    wire: WireRestrictions, *, path: str, notes: list[Note], unknown: tuple[str, ...] = ()
) -> Restrictions:
    """Read and check one TariffRestrictions object; appends notes. Raises MalformedDocumentError."""
    start, end = (
        _time(wire.start_time, f"{path}.start_time"),
        _end_time(wire.end_time, f"{path}.end_time", notes),
    )
    if start is not None or end is not None:
        start, end = start or 0, DAY_SECONDS if end is None else end
    return Restrictions(
        phase=_phase(wire, path, notes),
        start_second=start,
        end_second=end,
        start_date=_date(wire.start_date, f"{path}.start_date"),
        end_date=_date(wire.end_date, f"{path}.end_date"),
        min_kwh=_number(wire.min_kwh, f"{path}.min_kwh"),
        max_kwh=_number(wire.max_kwh, f"{path}.max_kwh"),
        min_current=_number(wire.min_current, f"{path}.min_current"),
        max_current=_number(wire.max_current, f"{path}.max_current"),
        min_power=_number(wire.min_power, f"{path}.min_power"),
        max_power=_number(wire.max_power, f"{path}.max_power"),
        min_duration=_number(wire.min_duration, f"{path}.min_duration"),
        max_duration=_number(wire.max_duration, f"{path}.max_duration"),
        weekdays=_weekdays(wire.day_of_week, f"{path}.day_of_week", notes),
        unknown=unknown,
    )


def _phase(wire: WireRestrictions, path: str, notes: list[Note]) -> Phase:
    for name, value, known in (
        ("reservation", wire.reservation, _RESERVATION),
        ("booking", wire.booking, _BOOKING),
    ):
        if value is None:
            continue
        if value not in known:
            text = f"{name} {value!r} is unknown; the element is kept and never applies"
            at = f"{path}.{name}"
            notes.append(Note(code=NoteCode.UNKNOWN_VALUE, severity=NoteSeverity.WARNING, path=at, text=text))
        return known.get(value, Phase.UNKNOWN)
    return Phase.SESSION


def _number(value: Decimal | None, path: str) -> Decimal | None:
    return None if value is None else document.check_number(value, document="tariff", path=path)


def _time(text: str | None, path: str) -> int | None:
    if text is None:
        return None
    if not _TIME.fullmatch(text):
        raise MalformedDocumentError(
            document="tariff", path=path, problem=f"expected a time of day such as 13:30, got {text[:20]!r}"
        )
    return int(text[:2]) * 3600 + int(text[3:]) * 60


def _end_time(text: str | None, path: str, notes: list[Note]) -> int | None:
    if text == "24:00":
        note = "24:00 is not an OCPI time; it is read as the end of the day, which OCPI writes 00:00"
        notes.append(Note(code=NoteCode.END_OF_DAY_AS_24, severity=NoteSeverity.INFO, path=path, text=note))
        return DAY_SECONDS
    second = _time(text, path)
    return DAY_SECONDS if second == 0 else second


def _date(text: str | None, path: str) -> date | None:
    if text is None:
        return None
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise MalformedDocumentError(
        document="tariff", path=path, problem=f"expected a date such as 2026-12-24, got {text[:20]!r}"
    )


def _weekdays(names: list[str] | None, path: str, notes: list[Note]) -> frozenset[int] | None:
    if not names:  # an absent list and an empty one restrict nothing
        return None
    for place, name in enumerate(names):
        if name not in DAYS:
            text = f"day_of_week {name[:40]!r} is unknown and matches no day"
            at = f"{path}[{place}]"
            notes.append(Note(code=NoteCode.UNKNOWN_VALUE, severity=NoteSeverity.WARNING, path=at, text=text))
    return frozenset(DAYS.index(name) for name in names if name in DAYS)


def checks(restrictions: Restrictions) -> tuple[Check, ...]:
    """The restrictions as a tuple of checks that must all hold; empty when nothing restricts.

    A restriction on power or current that was not measured, or one that is unknown, holds never: an element
    is priced only where the CDR shows that it applies.
    """
    if restrictions.unknown:
        return (_never,)
    found: list[Check] = []
    found += _time_checks(restrictions)
    found += _volume_checks(restrictions)
    found += _power_checks(restrictions)
    return tuple(found)


def _never(_moment: Moment) -> bool:
    return False


def _time_checks(rules: Restrictions) -> list[Check]:
    found: list[Check] = []
    start, end = rules.start_second, rules.end_second
    if start is not None and end is not None:
        if start <= end:
            found.append(lambda moment: start <= moment.second < end)
        else:
            found.append(lambda moment: moment.second >= start or moment.second < end)
    first, last = rules.start_date, rules.end_date
    if first is not None:
        found.append(lambda moment: moment.day >= first)
    if last is not None:
        found.append(lambda moment: moment.day < last)
    weekdays = rules.weekdays
    if weekdays is not None:
        found.append(lambda moment: moment.weekday in weekdays)
    return found


def _volume_checks(rules: Restrictions) -> list[Check]:
    found: list[Check] = []
    min_kwh, max_kwh = rules.min_kwh, rules.max_kwh
    if min_kwh is not None:
        found.append(lambda moment: moment.kwh >= min_kwh)
    if max_kwh is not None:
        found.append(lambda moment: moment.kwh < max_kwh)
    if rules.min_duration is not None:
        least_us = int(rules.min_duration * 1_000_000)
        found.append(lambda moment: moment.elapsed_us >= least_us)
    if rules.max_duration is not None:
        most_us = int(rules.max_duration * 1_000_000)
        found.append(lambda moment: moment.elapsed_us < most_us)
    return found


def _power_checks(rules: Restrictions) -> list[Check]:
    found: list[Check] = []
    min_current, max_current = rules.min_current, rules.max_current
    if min_current is not None:
        found.append(lambda moment: moment.min_current is not None and moment.min_current >= min_current)
    if max_current is not None:
        found.append(lambda moment: moment.max_current is not None and moment.max_current < max_current)
    min_power, max_power = rules.min_power, rules.max_power
    if min_power is not None:
        found.append(lambda moment: moment.min_power is not None and moment.min_power >= min_power)
    if max_power is not None:
        found.append(lambda moment: moment.max_power is not None and moment.max_power < max_power)
    return found
