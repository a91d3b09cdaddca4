"""Selection: which price component prices each volume of a session.

Owns: which phase a volume belongs to, flat fees billed once, periods that name another tariff.
Must not know: rounding, money, limits.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from clearing.notes import Note, NoteCode
from clearing.program import NONE, PricingProgram, pick
from clearing.restrictions import Phase
from clearing.spans import note_spans
from clearing.steps import Charge
from clearing.tariff import Dimension
from clearing.timeline import Stretch, note

ONE: Final = Decimal(1)


def is_expired(stretches: list[Stretch]) -> bool:
    """Whether this is a reservation that no charging followed (mod_tariffs, RESERVATION_EXPIRES)."""
    return all(stretch.reserved_only for stretch in stretches)


def select_charges(
    program: PricingProgram,
    stretches: list[Stretch],
    *,
    expired: bool,
    others: Mapping[str, PricingProgram] | None,
    notes: list[Note],
) -> list[Charge]:
    """Each measured volume with the component that prices it, in the order of time; appends notes.

    What no component prices is free (mod_tariffs, Tariff object) and is left out.
    """
    charges: list[Charge] = []
    flats: dict[Phase, Charge] = {}
    for stretch in stretches:
        ruling = program
        if others and stretch.tariff_id is not None:
            ruling = others.get(stretch.tariff_id.lower(), program)
        for phase, measured in _measured(stretch, expired=expired):
            lane = ruling.lanes[phase]
            if not lane:
                continue
            for dimension, volume in measured:
                found = pick(lane.get(dimension, NONE), stretch.moment)
                if found is not None:
                    charges.append(Charge(found, ruling, stretch, phase, volume))
            if Dimension.FLAT in lane:
                found = pick(lane[Dimension.FLAT], stretch.moment)
                if found is not None:
                    charge = Charge(found, ruling, stretch, phase, ONE)
                    _bill_flat(charge, charges=charges, flats=flats, notes=notes)
        if ruling.bounds:
            note_spans(ruling, stretch, expired=expired, notes=notes)
    return charges


Measured = list[tuple[Dimension, Decimal]]


def _measured(stretch: Stretch, *, expired: bool) -> list[tuple[Phase, Measured]]:
    """The volumes of a period by the phase that prices them."""
    found: list[tuple[Phase, Measured]] = []
    reserved = stretch.reservation_s + stretch.expired_s if stretch.expired_s else stretch.reservation_s
    if reserved:
        phase = Phase.RESERVATION_EXPIRES if expired or stretch.expired_s else Phase.RESERVATION
        found.append((phase, [(Dimension.TIME, reserved)]))
        if stretch.reserved_only:
            return found
    volumes: Measured = []
    if stretch.energy_kwh:
        volumes.append((Dimension.ENERGY, stretch.energy_kwh))
    if stretch.time_s:
        volumes.append((Dimension.TIME, stretch.time_s))
    if stretch.parking_s:
        volumes.append((Dimension.PARKING_TIME, stretch.parking_s))
    found.append((Phase.SESSION, volumes))
    if stretch.overtime_s:
        found.append((Phase.OVERTIME, [(Dimension.TIME, stretch.overtime_s)]))
    return found


def _bill_flat(
    charge: Charge, *, charges: list[Charge], flats: dict[Phase, Charge], notes: list[Note]
) -> None:
    """A flat fee is billed once for each phase: the first that applies."""
    billed = flats.setdefault(charge.phase, charge)
    if billed is charge:
        charges.append(charge)
    elif billed.candidate is not charge.candidate:
        text = "another flat fee applies from this period on; a flat fee is billed once, the first stands"
        note(notes, NoteCode.FLAT_CHANGED, f"$.charging_periods[{charge.stretch.place}]", text)
