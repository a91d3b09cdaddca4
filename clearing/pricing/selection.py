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
from clearing.pricing.steps import Charge
from clearing.pricing.timeline import Stretch, note

ONE: Final = Decimal(1)
_SESSION: Final = Phase.SESSION


class Selector:
    """Collects the charges of one session, in the order of time."""

    __slots__ = ("charges", "expired", "flats", "notes")

    def __init__(self, *, expired: bool, notes: list[Note]) -> None:
        self.charges: list[Charge] = []
        self.flats: dict[Phase, Charge] = {}
        self.expired = expired
        self.notes = notes

    def take(self, program: PricingProgram, stretch: Stretch) -> None:
        """Charge what one period measured. What no component prices is free and left out."""
        if stretch.reservation_s or stretch.expired_s or stretch.overtime_s:
            self._take_around(program, stretch)
            if stretch.reserved_only:
                return
        lane = program.session
        if stretch.energy_kwh and lane.energy:
            self._charge(lane.energy, program, stretch, _SESSION, stretch.energy_kwh)
        if stretch.time_s and lane.time:
            self._charge(lane.time, program, stretch, _SESSION, stretch.time_s)
        if stretch.parking_s and lane.parking:
            self._charge(lane.parking, program, stretch, _SESSION, stretch.parking_s)
        if lane.flat:
            self._bill_flat(lane.flat, program, stretch, _SESSION)

    def _charge(
        self, candidates: Candidates, program: PricingProgram, stretch: Stretch, phase: Phase, volume: Decimal
    ) -> None:
        found = pick(candidates, stretch.moment)
        if found is not None:
            self.charges.append(Charge(found, program, stretch, phase, volume, volume))

    def _take_around(self, program: PricingProgram, stretch: Stretch) -> None:
        """What surrounds a session: its reservation, used or expired, and the time beyond a booking."""
        reserved = stretch.reservation_s + stretch.expired_s
        if reserved:
            expires = self.expired or bool(stretch.expired_s)
            phase = Phase.RESERVATION_EXPIRES if expires else Phase.RESERVATION
            self._charge(program.lanes[phase].time, program, stretch, phase, reserved)
            self._bill_flat(program.lanes[phase].flat, program, stretch, phase)
        if stretch.overtime_s:
            phase = Phase.OVERTIME
            self._charge(program.lanes[phase].time, program, stretch, phase, stretch.overtime_s)
            self._bill_flat(program.lanes[phase].flat, program, stretch, phase)

    def _bill_flat(
        self, candidates: Candidates, program: PricingProgram, stretch: Stretch, phase: Phase
    ) -> None:
        """A flat fee is billed once for each phase: the first that applies."""
        billed = self.flats.get(phase)
        if billed is not None and len(candidates) == 1:
            return
        found = pick(candidates, stretch.moment)
        if found is None:
            return
        if billed is None:
            self.flats[phase] = charge = Charge(found, program, stretch, phase, ONE, ONE)
            self.charges.append(charge)
        elif billed.candidate is not found:
            text = "another flat fee applies from this period on; a flat fee is billed once, the first stands"
            note(self.notes, NoteCode.FLAT_CHANGED, f"$.charging_periods[{stretch.place}]", text)


def select_charges(
    program: PricingProgram,
    stretches: list[Stretch],
    *,
    expired: bool,
    others: Mapping[str, PricingProgram] | None,
    notes: list[Note],
) -> list[Charge]:
    """Each measured volume with the component that prices it, in the order of time; appends notes.

    A period is priced by the tariff it names where that is among `others`, else by `program`. What no
    component prices is free (mod_tariffs, Tariff object) and is left out.
    """
    selector = Selector(expired=expired, notes=notes)
    for stretch in stretches:
        ruling = program
        if others and stretch.tariff_id is not None:
            ruling = others.get(stretch.tariff_id.lower(), program)
        selector.take(ruling, stretch)
        if ruling.bounds:
            note_spans(ruling, stretch, expired=expired, notes=notes)
    return selector.charges


def is_expired(stretches: list[Stretch]) -> bool:
    """Whether this is a reservation that no charging followed (mod_tariffs, RESERVATION_EXPIRES)."""
    return stretches[0].reserved_only and all(stretch.reserved_only for stretch in stretches)
