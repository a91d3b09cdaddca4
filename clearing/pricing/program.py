"""A tariff compiled once into an immutable program that prices many CDRs.

Owns: turning a Tariff into candidates by phase and dimension, and picking the one that applies.
Must not know: CDRs, volumes, rounding.
Source: OCPI mod_tariffs, Tariff object: for each dimension the first element in the list that has a price
component for it and whose restrictions match is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import msgspec

from clearing.pricing.exact import EXACT
from clearing.pricing.notes import Note, NoteCode, NoteSeverity
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.restrictions import DAY_SECONDS, Check, Moment, Phase, Restrictions, checks
from clearing.pricing.tariff import Dimension, PriceComponent, PriceLimit, Tariff, TaxMode


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One price component at its place in the tariff, with the checks that must hold for it to apply."""

    slot: int  # its rank in the program: components are distinguished by it
    element: int
    component: int
    dimension: Dimension
    price: Decimal
    vat: Decimal | None
    step_size: int
    checks: tuple[Check, ...]
    hourly: bool  # priced per hour, measured in seconds; otherwise per kWh or once
    step: Decimal  # step_size in the unit of the volume: seconds or kWh
    factor: Decimal  # what a net price is multiplied by to become gross: 1.10 for 10 percent


Candidates = tuple[Candidate, ...]


class PhaseCandidates(msgspec.Struct, frozen=True, kw_only=True):
    """The candidates of one phase by dimension, in the order of the tariff."""

    energy: Candidates = ()
    time: Candidates = ()
    parking: Candidates = ()
    flat: Candidates = ()

    def __bool__(self) -> bool:
        return bool(self.energy or self.time or self.parking or self.flat)

    def by_dimension(self) -> tuple[tuple[Dimension, Candidates], ...]:
        """The dimensions that have candidates."""
        every = (
            (Dimension.ENERGY, self.energy),
            (Dimension.TIME, self.time),
            (Dimension.PARKING_TIME, self.parking),
            (Dimension.FLAT, self.flat),
        )
        return tuple(entry for entry in every if entry[1])


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What the restrictions of a program look at; the rest of a timeline need not be computed."""

    local_time: bool = False
    current: bool = False
    power: bool = False
    kwh: bool = False
    duration: bool = False

    def __or__(self, other: "Demand") -> "Demand":
        return Demand(
            local_time=self.local_time or other.local_time,
            current=self.current or other.current,
            power=self.power or other.power,
            kwh=self.kwh or other.kwh,
            duration=self.duration or other.duration,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Where a restriction changes its mind: seconds of the local day, kWh, microseconds of the session.

    Midnight is among the seconds where dates or weekdays matter.
    """

    clock: tuple[int, ...]
    kwh: tuple[Decimal, ...]
    elapsed_us: tuple[int, ...]

    def __bool__(self) -> bool:
        return bool(self.clock or self.kwh or self.elapsed_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingProgram:
    """A compiled tariff.

    `by_phase` holds the candidates of each phase and dimension in the tariff's order.
    """

    version: OcpiVersion
    tariff_id: str
    country_code: str | None
    party_id: str | None
    currency: str
    tax_mode: TaxMode
    min_price: PriceLimit | None
    max_price: PriceLimit | None
    preauthorize_amount: Decimal | None
    start: datetime | None
    end: datetime | None
    session: PhaseCandidates
    by_phase: Mapping[Phase, PhaseCandidates]
    bounds: Bounds
    demand: Demand
    tax_known: bool
    notes: tuple[Note, ...]


def compile_tariff(tariff: Tariff) -> PricingProgram:
    """Compile a tariff. The program is immutable, reusable for any number of CDRs, and safe to share."""
    notes = list(tariff.notes)
    by_phase = _candidates_by_phase(tariff, notes)
    rules = [element.restrictions for element in tariff.elements if element.restrictions is not None]
    return PricingProgram(
        version=tariff.version,
        tariff_id=tariff.id,
        country_code=tariff.country_code,
        party_id=tariff.party_id,
        currency=tariff.currency,
        tax_mode=tariff.tax_mode,
        min_price=tariff.min_price,
        max_price=tariff.max_price,
        preauthorize_amount=tariff.preauthorize_amount,
        start=tariff.start,
        end=tariff.end,
        session=by_phase[Phase.SESSION],
        by_phase=by_phase,
        bounds=_bounds(rules),
        demand=_demand(rules),
        tax_known=_tax_known(tariff),
        notes=tuple(notes),
    )


def pick(candidates: Candidates, moment: Moment) -> Candidate | None:
    """The first candidate whose restrictions all hold, or None: then the dimension costs nothing."""
    for candidate in candidates:
        for check in candidate.checks:
            if not check(moment):
                break
        else:
            return candidate
    return None


def _candidates_by_phase(tariff: Tariff, notes: list[Note]) -> Mapping[Phase, PhaseCandidates]:
    found: dict[Phase, dict[Dimension, list[Candidate]]] = {phase: {} for phase in Phase}
    slot = 0
    for place, element in enumerate(tariff.elements):
        rules = element.restrictions
        phase = Phase.SESSION if rules is None else rules.phase
        phase_candidates, path = found[phase], f"$.elements[{place}]"
        for spot, component in enumerate(element.components):
            if component.dimension is None:
                continue
            vat = _vat(tariff.tax_mode, component, f"{path}.price_components[{spot}].vat", notes)
            candidate = _candidate(component, component.dimension, vat, rules, (slot, place, spot))
            phase_candidates.setdefault(component.dimension, []).append(candidate)
            slot += 1
    # An expired reservation is still a reservation: where nothing prices its expiry, its own price applies.
    expires, reserved = found[Phase.RESERVATION_EXPIRES], found[Phase.RESERVATION]
    for dimension, candidates in reserved.items():
        expires[dimension] = expires.get(dimension, []) + candidates
    return {
        phase: PhaseCandidates(
            energy=tuple(phase_candidates.get(Dimension.ENERGY, ())),
            time=tuple(phase_candidates.get(Dimension.TIME, ())),
            parking=tuple(phase_candidates.get(Dimension.PARKING_TIME, ())),
            flat=tuple(phase_candidates.get(Dimension.FLAT, ())),
        )
        for phase, phase_candidates in found.items()
    }


def _candidate(
    component: PriceComponent,
    dimension: Dimension,
    vat: Decimal | None,
    rules: Restrictions | None,
    place: tuple[int, int, int],
) -> Candidate:
    step = Decimal(component.step_size)
    return Candidate(
        slot=place[0],
        element=place[1],
        component=place[2],
        dimension=dimension,
        price=component.price,
        vat=vat,
        step_size=component.step_size,
        checks=() if rules is None else checks(rules),
        hourly=dimension in {Dimension.TIME, Dimension.PARKING_TIME},
        step=step.scaleb(-3, context=EXACT) if dimension is Dimension.ENERGY else step,
        factor=EXACT.add(Decimal(1), (vat or Decimal(0)).scaleb(-2, context=EXACT)),
    )


def _demand(rules: list[Restrictions]) -> Demand:
    return Demand(
        local_time=any(rule.needs_local_time for rule in rules),
        current=any(rule.min_current is not None or rule.max_current is not None for rule in rules),
        power=any(rule.min_power is not None or rule.max_power is not None for rule in rules),
        kwh=any(rule.min_kwh is not None or rule.max_kwh is not None for rule in rules),
        duration=any(rule.min_duration is not None or rule.max_duration is not None for rule in rules),
    )


def _vat(mode: TaxMode, component: PriceComponent, path: str, notes: list[Note]) -> Decimal | None:
    if mode is not TaxMode.NOT_APPLICABLE or component.vat is None:
        return component.vat
    text = f"vat {component.vat} is ignored, as tax_included says that no tax applies to this tariff"
    notes.append(Note(code=NoteCode.TAX_RATE_IGNORED, severity=NoteSeverity.WARNING, path=path, text=text))
    return None


def _tax_known(tariff: Tariff) -> bool:
    """Whether an unstated rate means that no tax applies, and not that somebody else adds it.

    2.2.1: an omitted vat means none applies. 2.1.1 has no field for it; in 2.3.0 a tariff without rates and
    tax_included YES or NO is taxed by local rules that it does not state (North American examples).
    """
    match tariff.version:
        case OcpiVersion.V2_1_1:
            return False
        case OcpiVersion.V2_2_1:
            return True
        case OcpiVersion.V2_3_0:
            return tariff.tax_mode is TaxMode.NOT_APPLICABLE


def _bounds(rules: list[Restrictions]) -> Bounds:
    clock, kwh, elapsed = set[int](), set[Decimal](), set[int]()
    for rule in rules:
        if rule.start_second is not None and rule.end_second is not None:
            clock |= {rule.start_second, rule.end_second % DAY_SECONDS}
        if rule.start_date is not None or rule.end_date is not None or rule.weekdays is not None:
            clock.add(0)
        kwh |= {bound for bound in (rule.min_kwh, rule.max_kwh) if bound is not None}
        elapsed |= {
            int(bound * 1_000_000) for bound in (rule.min_duration, rule.max_duration) if bound is not None
        }
    return Bounds(clock=tuple(sorted(clock)), kwh=tuple(sorted(kwh)), elapsed_us=tuple(sorted(elapsed)))
