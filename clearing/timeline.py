"""The timeline of a CDR: its charging periods in order, their ends, volumes and what holds at their start.

Owns: ordering periods, exact seconds, the running energy and duration, local time, what power a period shows,
and naming what is odd in all that. Must not know: prices or tariffs.
Source: OCPI mod_cdrs, ChargingPeriod ("a period ends when the next period starts") and CdrDimensionType.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from clearing.cdr import UNIX_EPOCH, Cdr, Period, Quantity
from clearing.errors import UnknownTimeZoneError
from clearing.exact import EXACT
from clearing.notes import Note, NoteCode, Severity
from clearing.restrictions import Moment

ZERO: Final = Decimal(0)
HOUR_S: Final = Decimal(3600)
# Hours carry four decimals (OCPI types, number): 0.0001 h is 0.36 s. The specification's own CDR has three.
HOUR_DECIMALS: Final = -4
FOUR_DECIMALS_S: Final = Decimal("0.36")
THREE_DECIMALS_S: Final = Decimal("3.6")
# Sums of volumes rounded period by period drift from a total rounded once.
TOTAL_TOLERANCE: Final = Decimal("0.01")


class Stretch(msgspec.Struct):
    """One charging period placed in time. `place` is its index in the CDR; volumes in kWh and seconds."""

    place: int
    start: datetime
    duration_us: int
    moment: Moment
    tariff_id: str | None
    energy_kwh: Decimal = ZERO
    time_s: Decimal = ZERO
    parking_s: Decimal = ZERO
    reservation_s: Decimal = ZERO
    expired_s: Decimal = ZERO
    overtime_s: Decimal = ZERO
    min_current: Decimal | None = None
    max_current: Decimal | None = None
    current: Decimal | None = None
    min_power: Decimal | None = None
    max_power: Decimal | None = None
    power: Decimal | None = None

    @property
    def reserved_only(self) -> bool:
        """Whether nothing but a reservation ran in this period."""
        return bool(self.reservation_s or self.expired_s) and not (
            self.energy_kwh or self.time_s or self.parking_s or self.overtime_s
        )


# CdrDimensionType (2.2.1, 2.3.0, bookings) and where its volume goes; 2.1.1 has a subset and FLAT.
_VOLUMES: Final = {
    "ENERGY": "energy_kwh",
    "TIME": "time_s",
    "PARKING_TIME": "parking_s",
    "RESERVATION_TIME": "reservation_s",
    "RESERVATION_EXPIRES": "expired_s",
    "RESERVATION_OVERTIME": "overtime_s",
}
_LEVELS: Final = {
    "MIN_CURRENT": "min_current",
    "MAX_CURRENT": "max_current",
    "CURRENT": "current",
    "MIN_POWER": "min_power",
    "MAX_POWER": "max_power",
    "POWER": "power",
}
_UNPRICED: Final = frozenset({"FLAT", "ENERGY_EXPORT", "ENERGY_IMPORT", "STATE_OF_CHARGE"})
_MICROSECOND: Final = timedelta(microseconds=1)


@lru_cache(maxsize=1024)
def resolve_zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name. Raises UnknownTimeZoneError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownTimeZoneError(name) from None


def lay_out(cdr: Cdr, *, zone: ZoneInfo | None, needs_power: bool, notes: list[Note]) -> list[Stretch]:
    """The CDR's periods in order of time, each knowing what the restrictions ask; appends what is odd.

    `zone` is None where no restriction looks at local time.
    """
    order = _in_order(cdr.periods, notes)
    stretches: list[Stretch] = []
    last = len(order) - 1
    for rank, place in enumerate(order):
        period = cdr.periods[place]
        end = cdr.end if rank == last else cdr.periods[order[rank + 1]].start
        stretches.append(_stretch(period, place, end, notes))
    _check_session(cdr, stretches, notes)
    _run(stretches)
    if zone is not None:
        _localize(stretches, zone)
    if needs_power:
        for stretch in stretches:
            _levels(stretch, notes)
    _check_totals(cdr, stretches, notes)
    return stretches


def note(
    notes: list[Note], code: NoteCode, path: str, text: str, severity: Severity = Severity.WARNING
) -> None:
    """Append one note."""
    notes.append(Note(code=code, severity=severity, path=path, text=text))


def _in_order(periods: tuple[Period, ...], notes: list[Note]) -> list[int]:
    places = list(range(len(periods)))
    if all(periods[place].start < periods[place + 1].start for place in places[:-1]):
        return places
    places.sort(key=lambda place: (periods[place].start, _content(periods[place])))
    if any(periods[place].start > periods[place + 1].start for place in range(len(periods) - 1)):
        text = "the charging periods are not in order of time; they are priced in order of their start"
        note(notes, NoteCode.PERIODS_OUT_OF_ORDER, "$.charging_periods", text)
    return places


def _content(period: Period) -> tuple[tuple[str, Decimal], ...]:
    """What orders periods that start together, so that the order they were sent in decides nothing."""
    return tuple(sorted((quantity.type, quantity.volume) for quantity in period.dimensions))


def _stretch(period: Period, place: int, end: datetime, notes: list[Note]) -> Stretch:
    lasted = end - period.start
    duration_us = (lasted.days * 86_400 + lasted.seconds) * 1_000_000 + lasted.microseconds
    stretch = Stretch(
        place=place,
        start=period.start,
        duration_us=max(duration_us, 0),
        moment=Moment(elapsed_us=0, kwh=ZERO),
        tariff_id=period.tariff_id,
    )
    for spot, quantity in enumerate(period.dimensions):
        kind = quantity.type
        if kind == "ENERGY":
            stretch.energy_kwh = _added(stretch.energy_kwh, quantity, place, spot, notes)
        elif kind in _VOLUMES:
            name = _VOLUMES[kind]
            seconds = _seconds(quantity.volume, stretch.duration_us)
            setattr(stretch, name, EXACT.add(getattr(stretch, name), seconds))
            if quantity.volume < 0:
                _note_negative(quantity, place, spot, notes)
        elif kind in _LEVELS:
            _set_level(stretch, quantity)
        elif kind not in _UNPRICED:
            text = f"dimension {kind[:40]!r} is unknown; it is kept and not priced"
            note(
                notes,
                NoteCode.UNKNOWN_DIMENSION,
                f"$.charging_periods[{place}].dimensions[{spot}].type",
                text,
            )
    _check_duration(stretch, notes)
    return stretch


def _added(before: Decimal, quantity: Quantity, place: int, spot: int, notes: list[Note]) -> Decimal:
    if quantity.volume < 0:
        _note_negative(quantity, place, spot, notes)
    return EXACT.add(before, quantity.volume) if before else quantity.volume


def _note_negative(quantity: Quantity, place: int, spot: int, notes: list[Note]) -> None:
    text = f"the {quantity.type} volume {quantity.volume} is negative"
    path = f"$.charging_periods[{place}].dimensions[{spot}].volume"
    note(notes, NoteCode.NEGATIVE_VOLUME, path, text, Severity.DISPUTE)


def _seconds(hours: Decimal, duration_us: int) -> Decimal:
    """Hours as seconds; where they are the period's own duration as far as written, the exact one."""
    seconds = EXACT.multiply(hours, HOUR_S)
    exact = Decimal(duration_us).scaleb(-6) if duration_us % 1_000_000 else Decimal(duration_us // 1_000_000)
    if seconds == exact:
        return exact
    exponent = hours.as_tuple().exponent
    tolerance = (
        FOUR_DECIMALS_S if isinstance(exponent, int) and exponent <= HOUR_DECIMALS else THREE_DECIMALS_S
    )
    return exact if abs(EXACT.subtract(seconds, exact)) < tolerance else seconds


def _set_level(stretch: Stretch, quantity: Quantity) -> None:
    name = _LEVELS[quantity.type]
    before = getattr(stretch, name)
    if before is None:
        setattr(stretch, name, quantity.volume)
    else:
        setattr(stretch, name, (min if name.startswith("min") else max)(before, quantity.volume))


def _check_duration(stretch: Stretch, notes: list[Note]) -> None:
    path = f"$.charging_periods[{stretch.place}]"
    timed = stretch.time_s + stretch.parking_s + stretch.reservation_s + stretch.expired_s
    lasted = Decimal(stretch.duration_us).scaleb(-6)
    if timed > lasted + THREE_DECIMALS_S:
        text = f"its times add up to {timed} s, but it lasts {lasted} s; the times are billed as stated"
        note(notes, NoteCode.TIME_EXCEEDS_PERIOD, path, text, Severity.DISPUTE)
    elif not stretch.duration_us and (timed or stretch.energy_kwh):
        note(notes, NoteCode.PERIOD_ZERO_LENGTH, path, "it ends where it starts, yet it has volumes")


def _check_session(cdr: Cdr, stretches: list[Stretch], notes: list[Note]) -> None:
    if UNIX_EPOCH in (cdr.start, cdr.end):
        text = "the session's start or end is given as unknown (1970-01-01); periods are priced as stated"
        note(notes, NoteCode.SESSION_TIMES_UNKNOWN, "$.start_date_time", text)
        return
    if cdr.end < cdr.start:
        text = f"the session ends at {cdr.end.isoformat()}, before its start at {cdr.start.isoformat()}"
        note(notes, NoteCode.SESSION_ENDS_BEFORE_START, "$.end_date_time", text, Severity.DISPUTE)
        return
    for stretch in (stretches[0], stretches[-1]) if len(stretches) > 1 else stretches:
        if not cdr.start <= stretch.start <= cdr.end:
            text = f"it starts at {stretch.start.isoformat()}, outside the session"
            path = f"$.charging_periods[{stretch.place}].start_date_time"
            note(notes, NoteCode.PERIOD_OUTSIDE_SESSION, path, text, Severity.DISPUTE)


def _run(stretches: list[Stretch]) -> None:
    """Energy and duration before each period. A session's duration starts when its reservation ended."""
    origin = stretches[0].start
    session = next((stretch.start for stretch in stretches if not stretch.reserved_only), origin)
    kwh = ZERO
    for stretch in stretches:
        since = origin if stretch.reserved_only else session
        moment = stretch.moment
        moment.elapsed_us = (stretch.start - since) // _MICROSECOND
        moment.kwh = kwh
        if stretch.energy_kwh:
            kwh = EXACT.add(kwh, stretch.energy_kwh)


def _localize(stretches: list[Stretch], zone: ZoneInfo) -> None:
    for stretch in stretches:
        local = stretch.start.astimezone(zone)
        moment = stretch.moment
        moment.second = local.hour * 3600 + local.minute * 60 + local.second
        moment.weekday = local.weekday()
        moment.day = local.date()


def _levels(stretch: Stretch, notes: list[Note]) -> None:
    """What a period shows of its current and power, the nearest measure first.

    A CPO starts a new period whenever a price changes (mod_cdrs, ChargingPeriod), so within one period every
    measure lies on the same side of a bound and may stand in for a missing one; that is noted.
    """
    if not (stretch.energy_kwh or stretch.time_s):
        return
    moment = stretch.moment
    moment.min_current = _first(stretch.min_current, stretch.current, stretch.max_current)
    moment.max_current = _first(stretch.max_current, stretch.current, stretch.min_current)
    moment.min_power = _first(stretch.min_power, stretch.power, stretch.max_power)
    moment.max_power = _first(stretch.max_power, stretch.power, stretch.min_power)
    if moment.min_power is None and stretch.energy_kwh > 0:
        seconds = stretch.time_s or Decimal(stretch.duration_us).scaleb(-6)
        if seconds > 0:
            average = EXACT.divide(EXACT.multiply(stretch.energy_kwh, HOUR_S), seconds)
            moment.min_power = moment.max_power = average
            text = f"no power was measured; {average.normalize():.3f} kW on average stands in for it"
            path = f"$.charging_periods[{stretch.place}]"
            note(notes, NoteCode.POWER_INFERRED, path, text, Severity.INFO)


def _first(*values: Decimal | None) -> Decimal | None:
    return next((value for value in values if value is not None), None)


def _check_totals(cdr: Cdr, stretches: list[Stretch], notes: list[Note]) -> None:
    tolerance = TOTAL_TOLERANCE
    if cdr.total_energy_kwh is not None:
        measured = sum((stretch.energy_kwh for stretch in stretches), ZERO)
        if measured and abs(measured - cdr.total_energy_kwh) > tolerance:
            text = f"total_energy is {cdr.total_energy_kwh} kWh, its periods add up to {measured} kWh"
            note(notes, NoteCode.TOTAL_ENERGY_DIFFERS, "$.total_energy", text, Severity.DISPUTE)
    if cdr.total_parking_time_h is not None:
        parked = sum((stretch.parking_s for stretch in stretches), ZERO)
        if abs(parked - cdr.total_parking_time_h * HOUR_S) > tolerance * HOUR_S:
            text = f"total_parking_time is {cdr.total_parking_time_h} h, its periods add up to {parked} s"
            note(notes, NoteCode.TOTAL_TIME_DIFFERS, "$.total_parking_time", text, Severity.DISPUTE)
