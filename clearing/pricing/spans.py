"""Periods that run across a price change.

Owns: finding the bounds that lie inside a period, so that the note can say which. Must not know: prices.
Source: OCPI mod_cdrs, ChargingPeriod: a CPO shall start a new period when another price component applies.
"""

from bisect import bisect_right
from datetime import date, timedelta
from decimal import Decimal

from clearing.pricing.notes import Note, NoteCode
from clearing.pricing.program import Bounds, PricingProgram, pick
from clearing.pricing.restrictions import DAY_SECONDS, Moment, Phase
from clearing.pricing.tariff import Dimension
from clearing.pricing.timeline import TimedPeriod, note


def note_spans(
    program: PricingProgram, timed_period: TimedPeriod, *, expired: bool, notes: list[Note]
) -> None:
    """Note a period inside which another price component would apply. It is priced as it starts."""
    if not _meets_a_bound(program.bounds, timed_period):
        return
    before = timed_period.moment
    for moment, where in _changes(program, timed_period):
        for phase in _phases(timed_period, expired=expired):
            for dimension, candidates in program.by_phase[phase].by_dimension():
                if dimension is Dimension.FLAT or pick(candidates, before) is pick(candidates, moment):
                    continue
                text = f"another price applies from {where} on; the period is priced as it starts"
                path = f"$.charging_periods[{timed_period.place}]"
                note(notes, NoteCode.PERIOD_SPANS_PRICE_CHANGE, path, text)
                return


def _meets_a_bound(bounds: Bounds, timed_period: TimedPeriod) -> bool:
    """A quick first look, which most periods fail: whether any bound lies inside the period."""
    moment = timed_period.moment
    if bounds.clock:
        ends = moment.second + timed_period.wall_s
        after = bisect_right(bounds.clock, moment.second)
        if (bounds.clock[after] if after < len(bounds.clock) else DAY_SECONDS + bounds.clock[0]) < ends:
            return True
    if bounds.kwh and timed_period.energy_kwh > 0:
        after = bisect_right(bounds.kwh, moment.kwh)
        if after < len(bounds.kwh) and bounds.kwh[after] < moment.kwh + timed_period.energy_kwh:
            return True
    if bounds.elapsed_us:
        after = bisect_right(bounds.elapsed_us, moment.elapsed_us)
        return after < len(bounds.elapsed_us) and (
            bounds.elapsed_us[after] < moment.elapsed_us + timed_period.duration_us
        )
    return False


def _phases(timed_period: TimedPeriod, *, expired: bool) -> tuple[Phase, ...]:
    if not timed_period.reserved_only:
        return (Phase.SESSION,)
    return (Phase.RESERVATION_EXPIRES if expired else Phase.RESERVATION,)


def _changes(program: PricingProgram, timed_period: TimedPeriod) -> list[tuple[Moment, str]]:
    """The moments inside the period at which a bound is met, each with its name."""
    bounds, start = program.bounds, timed_period.moment
    found: list[tuple[Moment, str]] = []
    if bounds.kwh and timed_period.energy_kwh > 0:
        until = start.kwh + timed_period.energy_kwh
        found += [
            (_moved(start, kwh=bound), f"{bound} kWh") for bound in bounds.kwh if start.kwh < bound < until
        ]
    ends_us = start.elapsed_us + timed_period.duration_us
    found += [
        (_moved(start, elapsed_us=bound), f"{bound // 1_000_000} s")
        for bound in bounds.elapsed_us
        if start.elapsed_us < bound < ends_us
    ]
    if bounds.clock:
        found += _local_changes(program, timed_period)
    return found


def _local_changes(program: PricingProgram, timed_period: TimedPeriod) -> list[tuple[Moment, str]]:
    start = timed_period.moment
    ends = start.second + timed_period.wall_s
    found: list[tuple[Moment, str]] = []
    for days in range(min(ends // DAY_SECONDS, 8) + 1):
        for second in program.bounds.clock:
            if start.second < days * DAY_SECONDS + second < ends:
                day = start.day + timedelta(days=days)
                moment = _moved(start, second=second, day=day)
                found.append((moment, f"{second // 3600:02}:{second % 3600 // 60:02}"))
    return found


def _moved(
    start: Moment,
    *,
    kwh: Decimal | None = None,
    elapsed_us: int | None = None,
    second: int | None = None,
    day: date | None = None,
) -> Moment:
    return Moment(
        elapsed_us=start.elapsed_us if elapsed_us is None else elapsed_us,
        kwh=start.kwh if kwh is None else kwh,
        second=start.second if second is None else second,
        weekday=start.weekday if day is None else day.weekday(),
        day=start.day if day is None else day,
        min_current=start.min_current,
        max_current=start.max_current,
        min_power=start.min_power,
        max_power=start.max_power,
    )
