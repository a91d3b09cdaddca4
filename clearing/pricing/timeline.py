"""The timeline of a CDR: its charging periods in order, their ends, volumes and what holds at their start.

Owns: ordering periods, exact seconds, the running energy and duration, local time, what power a period shows,
and naming what is odd in all that. Must not know: prices or tariffs.
Computes with operators: its caller has exact arithmetic in force (clearing.exact).
Source: OCPI mod_cdrs, ChargingPeriod ("a period ends when the next period starts") and CdrDimensionType.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from clearing.errors import UnknownTimeZoneError
from clearing.pricing.cdr import UNIX_EPOCH, Cdr, Period, Quantity
from clearing.pricing.notes import Note, NoteCode, NoteSeverity
from clearing.pricing.program import Demand
from clearing.pricing.restrictions import DAY_SECONDS, Moment

ZERO: Final = Decimal(0)
HOUR_S: Final = Decimal(3600)
# Hours carry four decimals (OCPI types, number): 0.0001 h is 0.36 s. The specification's own CDR has three.
HOUR_DECIMALS: Final = -4
FOUR_DECIMALS_S: Final = Decimal("0.36")
THREE_DECIMALS_S: Final = Decimal("3.6")
# Sums of volumes rounded period by period drift from a total rounded once.
TOTAL_TOLERANCE: Final = Decimal("0.01")


class TimedPeriod(msgspec.Struct, gc=False):
    """One charging period placed in time. `place` is its index in the CDR; volumes in kWh and seconds.

    `wall_s` is how far the clock on the wall went on, where local time matters; `levels` are the currents and
    powers it states, by dimension, where the tariff needs them.
    """

    place: int
    start: datetime
    duration_us: int
    moment: Moment
    tariff_id: str | None
    energy_kwh: Decimal
    time_s: Decimal
    parking_s: Decimal
    reservation_s: Decimal = ZERO
    expired_s: Decimal = ZERO
    overtime_s: Decimal = ZERO
    wall_s: int = 0
    levels: dict[str, Decimal] | None = None

    @property
    def reserved_only(self) -> bool:
        """Whether nothing but a reservation ran in this period."""
        return bool(self.reservation_s or self.expired_s) and not (
            self.energy_kwh or self.time_s or self.parking_s or self.overtime_s
        )


# CdrDimensionType (2.2.1, 2.3.0, bookings): restrictions need levels, nothing prices the others.
_LEVELS: Final = frozenset({"MIN_CURRENT", "MAX_CURRENT", "CURRENT", "MIN_POWER", "MAX_POWER", "POWER"})
_UNPRICED: Final = frozenset({"FLAT", "ENERGY_EXPORT", "ENERGY_IMPORT", "STATE_OF_CHARGE"})
_MICROSECONDS: Final = 1_000_000
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)


@lru_cache(maxsize=1024)
def resolve_zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name. Raises UnknownTimeZoneError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownTimeZoneError(name) from None


def lay_out(cdr: Cdr, *, zone: ZoneInfo | None, demand: Demand, notes: list[Note]) -> list[TimedPeriod]:
    """The CDR's periods in order of time, each with what the restrictions need; appends what is odd.

    Only what `demand` names is computed; `zone` is None where no restriction looks at local time.
    """
    periods = cdr.periods
    order = _in_order(periods, notes)
    ends = [periods[place].start for place in order[1:]]
    ends.append(cdr.end)
    levels = demand.power or demand.current
    timed_periods = [
        _timed_period(periods[place], place, end, levels, notes)
        for place, end in zip(order, ends, strict=True)
    ]
    _check_session(cdr, timed_periods, notes)
    if demand.duration:
        _run_duration(timed_periods)
    total_kwh = _run_energy(timed_periods)
    if zone is not None:
        _localize(timed_periods, zone)
    if levels:
        for timed_period in timed_periods:
            if timed_period.energy_kwh or timed_period.time_s:
                _set_levels(timed_period, demand, notes)
    _check_totals(cdr, timed_periods, total_kwh, notes)
    return timed_periods


def note(
    notes: list[Note], code: NoteCode, path: str, text: str, severity: NoteSeverity = NoteSeverity.WARNING
) -> None:
    """Append one note."""
    notes.append(Note(code=code, severity=severity, path=path, text=text))


def _in_order(periods: tuple[Period, ...], notes: list[Note]) -> list[int]:
    places = list(range(len(periods)))
    before: datetime | None = None
    for period in periods:
        if before is not None and period.start <= before:
            break
        before = period.start
    else:
        return places
    places.sort(key=lambda place: (periods[place].start, _content(periods[place])))
    if any(periods[place].start > periods[place + 1].start for place in range(len(periods) - 1)):
        text = "the charging periods are not in order of time; they are priced in order of their start"
        note(notes, NoteCode.PERIODS_OUT_OF_ORDER, "$.charging_periods", text)
    return places


def _content(period: Period) -> tuple[tuple[str, Decimal], ...]:
    """What orders periods that start together, so that the order they were sent in decides nothing."""
    return tuple(sorted((quantity.type, quantity.volume) for quantity in period.dimensions))


def _timed_period(period: Period, place: int, end: datetime, levels: bool, notes: list[Note]) -> TimedPeriod:  # noqa: FBT001 - hot and private
    lasted = end - period.start
    whole_s, beyond_us = lasted.days * DAY_SECONDS + lasted.seconds, lasted.microseconds
    if whole_s < 0:
        whole_s = beyond_us = 0
    duration_us = whole_s * _MICROSECONDS + beyond_us
    exact = Decimal(duration_us).scaleb(-6) if beyond_us else Decimal(whole_s)
    energy = time = parking = ZERO
    rare: list[tuple[int, Quantity]] | None = None
    for spot, quantity in enumerate(period.dimensions):
        kind = quantity.type
        if kind == "ENERGY" and not energy:
            energy = quantity.volume
        elif kind == "TIME" and not time:
            time = _seconds(quantity.volume, exact)
        elif kind == "PARKING_TIME" and not parking:
            parking = _seconds(quantity.volume, exact)
        elif levels or kind not in _LEVELS:
            rare = [(spot, quantity)] if rare is None else [*rare, (spot, quantity)]
    timed_period = TimedPeriod(
        place, period.start, duration_us, Moment(0, ZERO), period.tariff_id, energy, time, parking
    )
    if rare is not None:
        for spot, quantity in rare:
            _add_rare(timed_period, quantity, exact, spot, notes)
    if energy < ZERO or time < ZERO or parking < ZERO or timed_period.reservation_s < ZERO:
        _note_negative(period, place, notes)
    if not duration_us or (time and time is not exact) or (parking and (time or parking is not exact)):
        _check_duration(timed_period, exact, notes)
    return timed_period


_RARE_TIMES: Final = {
    "TIME": "time_s",
    "PARKING_TIME": "parking_s",
    "RESERVATION_TIME": "reservation_s",
    "RESERVATION_EXPIRES": "expired_s",
    "RESERVATION_OVERTIME": "overtime_s",
}


def _add_rare(
    timed_period: TimedPeriod, quantity: Quantity, exact: Decimal, spot: int, notes: list[Note]
) -> None:
    """What most periods lack: reservation and overtime, levels, a dimension stated twice, an unknown one."""
    kind, volume = quantity.type, quantity.volume
    if kind in _LEVELS:
        levels = timed_period.levels
        if levels is None:
            timed_period.levels = {kind: volume}
        elif (before := levels.get(kind)) is None:
            levels[kind] = volume
        else:
            levels[kind] = (min if kind.startswith("MIN_") else max)(volume, before)
        return
    path = f"$.charging_periods[{timed_period.place}].dimensions[{spot}]"
    if kind == "ENERGY":
        timed_period.energy_kwh += volume
        note(notes, NoteCode.DIMENSION_REPEATED, path, "ENERGY is stated twice; the volumes are added")
    elif kind in _RARE_TIMES:
        name = _RARE_TIMES[kind]
        so_far: Decimal = getattr(timed_period, name)
        seconds = volume * HOUR_S if so_far else _seconds(volume, exact)
        setattr(timed_period, name, so_far + seconds)
        if so_far:
            note(notes, NoteCode.DIMENSION_REPEATED, path, f"{kind} is stated twice; the volumes are added")
    elif kind not in _UNPRICED:
        text = f"dimension {kind[:40]!r} is unknown; it is kept and not priced"
        note(notes, NoteCode.UNKNOWN_DIMENSION, f"{path}.type", text)


def _seconds(hours: Decimal, exact: Decimal) -> Decimal:
    """Hours as seconds; where they are the period's own duration as far as written, that `exact` one."""
    seconds = hours * HOUR_S
    if seconds == exact:
        return exact
    exponent = hours.as_tuple().exponent
    tolerance = (
        FOUR_DECIMALS_S if isinstance(exponent, int) and exponent <= HOUR_DECIMALS else THREE_DECIMALS_S
    )
    return exact if abs(seconds - exact) < tolerance else seconds


def _note_negative(period: Period, place: int, notes: list[Note]) -> None:
    for spot, quantity in enumerate(period.dimensions):
        if quantity.volume < ZERO and quantity.type not in _LEVELS:
            text = f"the {quantity.type} volume {quantity.volume} is negative"
            path = f"$.charging_periods[{place}].dimensions[{spot}].volume"
            note(notes, NoteCode.NEGATIVE_VOLUME, path, text, NoteSeverity.DISPUTE)


def _check_duration(timed_period: TimedPeriod, lasted: Decimal, notes: list[Note]) -> None:
    """Name times that add up to more than the period, and volumes in a period of no length."""
    path = f"$.charging_periods[{timed_period.place}]"
    timed_s = timed_period.time_s + timed_period.parking_s + timed_period.reservation_s
    if not timed_period.duration_us:
        if timed_s or timed_period.energy_kwh:
            note(notes, NoteCode.PERIOD_ZERO_LENGTH, path, "it ends where it starts, yet it has volumes")
    elif timed_s > lasted + THREE_DECIMALS_S:
        text = f"its times add up to {timed_s} s, but it lasts {lasted} s; the times are billed as stated"
        note(notes, NoteCode.TIME_EXCEEDS_PERIOD, path, text, NoteSeverity.DISPUTE)


def _check_session(cdr: Cdr, timed_periods: list[TimedPeriod], notes: list[Note]) -> None:
    if UNIX_EPOCH in (cdr.start, cdr.end):
        text = "the session's start or end is given as unknown (1970-01-01); periods are priced as stated"
        note(notes, NoteCode.SESSION_TIMES_UNKNOWN, "$.start_date_time", text)
        return
    if cdr.end < cdr.start:
        text = f"the session ends at {cdr.end.isoformat()}, before its start at {cdr.start.isoformat()}"
        note(notes, NoteCode.SESSION_ENDS_BEFORE_START, "$.end_date_time", text, NoteSeverity.DISPUTE)
        return
    for timed_period in (timed_periods[0], timed_periods[-1]) if len(timed_periods) > 1 else timed_periods:
        if not cdr.start <= timed_period.start <= cdr.end:
            text = f"it starts at {timed_period.start.isoformat()}, outside the session"
            path = f"$.charging_periods[{timed_period.place}].start_date_time"
            note(notes, NoteCode.PERIOD_OUTSIDE_SESSION, path, text, NoteSeverity.DISPUTE)


def _run_duration(timed_periods: list[TimedPeriod]) -> None:
    """The duration before each period. A session's starts where its reservation ended."""
    origin = timed_periods[0].start
    session = next(
        (timed_period.start for timed_period in timed_periods if not timed_period.reserved_only), origin
    )
    for timed_period in timed_periods:
        since = origin if timed_period.reserved_only else session
        timed_period.moment.elapsed_us = (timed_period.start - since) // _MICROSECOND


def _run_energy(timed_periods: list[TimedPeriod]) -> Decimal:
    """The energy before each period; returns the whole."""
    kwh = ZERO
    for timed_period in timed_periods:
        timed_period.moment.kwh = kwh
        if timed_period.energy_kwh:
            kwh += timed_period.energy_kwh
    return kwh


def _localize(timed_periods: list[TimedPeriod], zone: ZoneInfo) -> None:
    """Local time of each start, counted on from the first where no clock is changed in between."""
    origin = timed_periods[0].start
    first = origin.astimezone(zone)
    span = timed_periods[-1].start + timed_periods[-1].duration_us * _MICROSECOND - origin
    # Two local times of one zone differ by the clock on the wall: by the span only where no clock is changed.
    steady = span < _DAY and (origin + span).astimezone(zone) - first == span
    second, weekday, day = first.hour * 3600 + first.minute * 60 + first.second, first.weekday(), first.date()
    for timed_period in timed_periods:
        moment = timed_period.moment
        timed_period.wall_s = timed_period.duration_us // _MICROSECONDS
        local = first
        if not steady:
            local = timed_period.start.astimezone(zone)
            end = (timed_period.start + timed_period.duration_us * _MICROSECOND).astimezone(zone)
            timed_period.wall_s = (end - local) // _SECOND
        elif (now := second + (timed_period.start - origin).seconds) < DAY_SECONDS:
            moment.second, moment.weekday, moment.day = now, weekday, day
            continue
        else:
            local = first + (timed_period.start - origin)
        moment.second = local.hour * 3600 + local.minute * 60 + local.second
        moment.weekday = local.weekday()
        moment.day = local.date()


def _set_levels(timed_period: TimedPeriod, demand: Demand, notes: list[Note]) -> None:
    """What a period shows of its current and power, the nearest measure first.

    A CPO starts a new period whenever a price changes (mod_cdrs, ChargingPeriod), so within one period every
    measure lies on the same side of a bound and may replace a missing one; an average is noted.
    """
    moment, stated = timed_period.moment, timed_period.levels
    if stated:
        if demand.current:
            moment.min_current = _first(stated, "MIN_CURRENT", "CURRENT", "MAX_CURRENT")
            moment.max_current = _first(stated, "MAX_CURRENT", "CURRENT", "MIN_CURRENT")
        if demand.power:
            moment.min_power = _first(stated, "MIN_POWER", "POWER", "MAX_POWER")
            moment.max_power = _first(stated, "MAX_POWER", "POWER", "MIN_POWER")
    if demand.power and moment.min_power is None and timed_period.energy_kwh > ZERO:
        _infer_power(timed_period, notes)


def _infer_power(timed_period: TimedPeriod, notes: list[Note]) -> None:
    seconds = timed_period.time_s or Decimal(timed_period.duration_us).scaleb(-6)
    if seconds <= 0:
        return
    average = timed_period.energy_kwh * HOUR_S / seconds
    timed_period.moment.min_power = timed_period.moment.max_power = average
    text = f"no power was measured; {average:.3f} kW on average stands in for it"
    note(notes, NoteCode.POWER_INFERRED, f"$.charging_periods[{timed_period.place}]", text, NoteSeverity.INFO)


def _first(stated: dict[str, Decimal], nearest: str, average: str, other: str) -> Decimal | None:
    return stated[nearest] if nearest in stated else stated.get(average, stated.get(other))


def _check_totals(cdr: Cdr, timed_periods: list[TimedPeriod], measured: Decimal, notes: list[Note]) -> None:
    total = cdr.total_energy_kwh
    if total is not None and measured and measured != total and abs(measured - total) > TOTAL_TOLERANCE:
        text = f"total_energy is {total} kWh, its periods add up to {measured} kWh"
        note(notes, NoteCode.TOTAL_ENERGY_DIFFERS, "$.total_energy", text, NoteSeverity.DISPUTE)
    if cdr.total_parking_time_h is not None:
        parking_s = sum((timed_period.parking_s for timed_period in timed_periods), ZERO)
        if abs(parking_s - cdr.total_parking_time_h * HOUR_S) > TOTAL_TOLERANCE * HOUR_S:
            text = f"total_parking_time is {cdr.total_parking_time_h} h, its periods add up to {parking_s} s"
            note(notes, NoteCode.TOTAL_TIME_DIFFERS, "$.total_parking_time", text, NoteSeverity.DISPUTE)
