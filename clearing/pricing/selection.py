"""Selection: which price component prices each volume of a session.

Owns: which phase a volume belongs to, flat fees billed once, periods that name another tariff.
Must not know: rounding, money, limits.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from clearing.pricing.notes import Note, NoteCode
from clearing.pricing.program import Candidates, PricingProgram, pick
from clearing.pricing.restrictions import Phase
from clearing.pricing.spans import note_spans
from clearing.pricing.step_size import PricedVolume
from clearing.pricing.timeline import TimedPeriod, note

ONE: Final = Decimal(1)
_SESSION: Final = Phase.SESSION


class Selector:
    """Collects the charges of one session, in the order of time."""

    __slots__ = ("charges", "expired", "flats", "notes")

    def __init__(self, *, expired: bool, notes: list[Note]) -> None:
        self.charges: list[PricedVolume] = []
        self.flats: dict[Phase, PricedVolume] = {}
        self.expired = expired
        self.notes = notes

    def add(self, program: PricingProgram, timed_period: TimedPeriod) -> None:
        """Charge what one period measured. What no component prices is free and left out."""
        if timed_period.reservation_s or timed_period.expired_s or timed_period.overtime_s:
            self._take_around(program, timed_period)
            if timed_period.reserved_only:
                return
        phase_candidates = program.session
        if timed_period.energy_kwh and phase_candidates.energy:
            self._charge(phase_candidates.energy, program, timed_period, _SESSION, timed_period.energy_kwh)
        if timed_period.time_s and phase_candidates.time:
            self._charge(phase_candidates.time, program, timed_period, _SESSION, timed_period.time_s)
        if timed_period.parking_s and phase_candidates.parking:
            self._charge(phase_candidates.parking, program, timed_period, _SESSION, timed_period.parking_s)
        if phase_candidates.flat:
            self._bill_flat(phase_candidates.flat, program, timed_period, _SESSION)

    def _charge(
        self,
        candidates: Candidates,
        program: PricingProgram,
        timed_period: TimedPeriod,
        phase: Phase,
        volume: Decimal,
    ) -> None:
        found = pick(candidates, timed_period.moment)
        if found is not None:
            self.charges.append(PricedVolume(found, program, timed_period, phase, volume, volume))

    def _take_around(self, program: PricingProgram, timed_period: TimedPeriod) -> None:
        """What surrounds a session: its reservation, used or expired, and the time beyond a booking."""
        reserved = timed_period.reservation_s + timed_period.expired_s
        if reserved:
            expires = self.expired or bool(timed_period.expired_s)
            phase = Phase.RESERVATION_EXPIRES if expires else Phase.RESERVATION
            self._charge(program.by_phase[phase].time, program, timed_period, phase, reserved)
            self._bill_flat(program.by_phase[phase].flat, program, timed_period, phase)
        if timed_period.overtime_s:
            phase = Phase.OVERTIME
            self._charge(program.by_phase[phase].time, program, timed_period, phase, timed_period.overtime_s)
            self._bill_flat(program.by_phase[phase].flat, program, timed_period, phase)

    def _bill_flat(
        self, candidates: Candidates, program: PricingProgram, timed_period: TimedPeriod, phase: Phase
    ) -> None:
        """A flat fee is billed once for each phase: the first that applies."""
        billed = self.flats.get(phase)
        if billed is not None and len(candidates) == 1:
            return
        found = pick(candidates, timed_period.moment)
        if found is None:
            return
        if billed is None:
            self.flats[phase] = charge = PricedVolume(found, program, timed_period, phase, ONE, ONE)
            self.charges.append(charge)
        elif billed.candidate is not found:
            text = "another flat fee applies from this period on; a flat fee is billed once, the first stands"
            note(self.notes, NoteCode.FLAT_CHANGED, f"$.charging_periods[{timed_period.place}]", text)


def select_charges(
    program: PricingProgram,
    timed_periods: list[TimedPeriod],
    *,
    expired: bool,
    others: Mapping[str, PricingProgram] | None,
    notes: list[Note],
) -> list[PricedVolume]:
    """Each measured volume with the component that prices it, in the order of time; appends notes.

    A period is priced by the tariff it names where that is among `others`, else by `program`. What no
    component prices is free (mod_tariffs, Tariff object) and is left out.
    """
    selector = Selector(expired=expired, notes=notes)
    for timed_period in timed_periods:
        ruling = program
        if others and timed_period.tariff_id is not None:
            ruling = others.get(timed_period.tariff_id.lower(), program)
        selector.add(ruling, timed_period)
        if ruling.bounds:
            note_spans(ruling, timed_period, expired=expired, notes=notes)
    return selector.charges


def is_expired(timed_periods: list[TimedPeriod]) -> bool:
    """Whether this is a reservation that no charging followed (mod_tariffs, RESERVATION_EXPIRES)."""
    return timed_periods[0].reserved_only and all(
        timed_period.reserved_only for timed_period in timed_periods
    )
