"""Pricing: a compiled tariff and a CDR become lines that explain every cent.

Owns: what is billed of what was measured, step_size, the rounding policy, minimum and maximum, taxes by rate.
Must not know: who pays, what was authorized, any clock, any store. Same input, same money.
Source: OCPI mod_tariffs (Tariff, PriceComponent) and mod_cdrs (step_size).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from clearing.errors import InvalidAmountError
from clearing.money import MAX_MINOR, to_minor
from clearing.pricing.cdr import Cdr
from clearing.pricing.exact import exactly
from clearing.pricing.limits import Totals, apply_limits
from clearing.pricing.lines import Group, Line, Reason, component_totals
from clearing.pricing.notes import Note, NoteCode, NoteSeverity
from clearing.pricing.priced import PricedSession
from clearing.pricing.program import PricingProgram, compile_tariff
from clearing.pricing.selection import is_expired, select_charges
from clearing.pricing.step_size import PricedVolume, apply_steps
from clearing.pricing.taxes import RateTotals
from clearing.pricing.time_zones import choose_zone
from clearing.pricing.timeline import ZERO, TimedPeriod, lay_out, note

__all__ = ["POLICY", "Line", "PricedSession", "PricingProgram", "Reason", "compile_tariff", "price"]

POLICY: Final = "ocpi-4dp-half-away-v1"


@exactly
def price(
    program: PricingProgram,
    cdr: Cdr,
    *,
    time_zone: str | None = None,
    others: Mapping[str, PricingProgram] | None = None,
) -> PricedSession:
    """Price a CDR by a compiled tariff.

    `time_zone` is the location's IANA name; where it is None and a restriction needs local time, the CDR's
    own, then that of its country, then UTC is used, with a note. `others` are further tariffs by id (lower
    case), used for periods that name them; every other period is priced by `program`, whose limits hold.
    Raises UnknownTimeZoneError and InvalidAmountError (a total beyond 64 bits).
    """
    notes: list[Note] = list(program.notes)
    demand = program.demand
    if others:
        others = _of_one_currency(program, others, notes)
        for other in others.values():
            demand |= other.demand
    zone = choose_zone(time_zone, cdr, needed=demand.local_time, notes=notes)
    timed_periods = lay_out(cdr, zone=zone, demand=demand, notes=notes)
    _check_tariff(program, cdr, timed_periods, notes, others)
    expired = is_expired(timed_periods)
    if expired:
        text = "nothing was charged after the reservation: it is priced as expired"
        note(notes, NoteCode.RESERVATION_EXPIRED, "$.charging_periods", text, NoteSeverity.INFO)
    charges = select_charges(program, timed_periods, expired=expired, others=others, notes=notes)
    apply_steps(charges)
    return _total(program, cdr, timed_periods, charges, notes, expired=expired, zone=zone)


def _of_one_currency(
    program: PricingProgram, others: Mapping[str, PricingProgram], notes: list[Note]
) -> dict[str, PricingProgram]:
    """The further tariffs in the currency of the first: two currencies are never added up."""
    found: dict[str, PricingProgram] = {}
    for name, other in others.items():
        if other.currency == program.currency:
            found[name] = other
            notes.extend(other.notes)
        else:
            text = (
                f"tariff {other.tariff_id!r} is in {other.currency}, not {program.currency}; it is not used"
            )
            note(notes, NoteCode.CURRENCY_DIFFERS, "$.tariffs", text, NoteSeverity.DISPUTE)
    return found


def _check_tariff(
    program: PricingProgram,
    cdr: Cdr,
    timed_periods: list[TimedPeriod],
    notes: list[Note],
    others: Mapping[str, PricingProgram] | None,
) -> None:
    if cdr.currency != program.currency:
        text = f"the CDR is in {cdr.currency}, its tariff in {program.currency}: priced in the tariff's"
        note(notes, NoteCode.CURRENCY_DIFFERS, "$.currency", text, NoteSeverity.DISPUTE)
    if cdr.credit:
        text = "this credit CDR is priced as the CDR that it reverses; its total_cost is negative"
        note(notes, NoteCode.CREDIT_CDR, "$.credit", text, NoteSeverity.INFO)
    if (program.start and cdr.start < program.start) or (program.end and cdr.start >= program.end):
        text = "the session started outside the time in which the tariff is valid"
        note(notes, NoteCode.TARIFF_NOT_IN_FORCE, "$.start_date_time", text, NoteSeverity.DISPUTE)
    _check_owner(program, cdr, notes)
    mine = program.tariff_id
    for timed_period in timed_periods:
        named = timed_period.tariff_id
        if (
            named is None
            or named == mine
            or named.lower() == mine.lower()
            or (others and named.lower() in others)
        ):
            continue
        text = (
            f"it names tariff {named!r}, but is priced by {program.tariff_id!r}, which the session started on"
        )
        path = f"$.charging_periods[{timed_period.place}].tariff_id"
        note(notes, NoteCode.TARIFF_ID_DIFFERS, path, text)


def _check_owner(program: PricingProgram, cdr: Cdr, notes: list[Note]) -> None:
    owner, billed = (program.country_code, program.party_id), (cdr.country_code, cdr.party_id)
    if owner == billed or None in owner or None in billed:
        return
    ours, theirs = ("-".join(part or "" for part in pair) for pair in (owner, billed))
    if ours.lower() != theirs.lower():
        text = f"the CDR is of {theirs}, its tariff of {ours}"
        note(notes, NoteCode.TARIFF_OWNER_DIFFERS, "$.party_id", text)


def _total(
    program: PricingProgram,
    cdr: Cdr,
    timed_periods: list[TimedPeriod],
    charges: list[PricedVolume],
    notes: list[Note],
    *,
    expired: bool,
    zone: ZoneInfo | None,
) -> PricedSession:
    groups = _groups(charges)
    rates: list[RateTotals] = []
    net = gross = ZERO
    for group in groups:
        totals = component_totals(group)
        rates.append((group[0].candidate.vat, totals))
        net, gross = net + totals[0], gross + totals[1]
    if not charges:
        text = "the tariff prices nothing of what was measured"
        note(notes, NoteCode.NOTHING_PRICED, "$.elements", text)
    _check_unmeasured(program, cdr, timed_periods, notes)
    tax_known = all(charge.program.tax_known or charge.candidate.vat is not None for charge in charges)
    if not tax_known:
        text = "the tariff does not state the tax: both totals are its stated prices"
        note(notes, NoteCode.TAX_UNKNOWN, "$.elements", text, NoteSeverity.INFO)
    limited = apply_limits(program, Totals(net, gross), minimum=not expired, notes=notes)
    net_minor = to_minor(limited.totals.excl_vat, program.currency, rounding=limited.net_rounding)
    gross_minor = to_minor(limited.totals.incl_vat, program.currency, rounding=limited.gross_rounding)
    if max(abs(net_minor), abs(gross_minor)) > MAX_MINOR:
        raise InvalidAmountError(f"the price of {gross_minor} minor units does not fit a 64-bit amount")
    return PricedSession(
        currency=program.currency,
        excl_vat_minor=net_minor,
        incl_vat_minor=gross_minor,
        excl_vat=limited.totals.excl_vat,
        incl_vat=limited.totals.incl_vat,
        groups=groups,
        limits=limited.steps,
        rates=tuple(rates),
        notes=tuple(notes),
        energy_kwh=_energy(cdr, timed_periods[-1]),
        tax_known=tax_known,
        policy=POLICY,
        tariff_id=program.tariff_id,
        version=program.version,
        time_zone=None if zone is None else zone.key,
    )


def _energy(cdr: Cdr, last: TimedPeriod) -> Decimal:
    """The energy of all periods; where none states any, the CDR's own total."""
    return (last.moment.kwh + last.energy_kwh) or cdr.total_energy_kwh or ZERO


def _check_unmeasured(
    program: PricingProgram, cdr: Cdr, timed_periods: list[TimedPeriod], notes: list[Note]
) -> None:
    """Name a dimension that the tariff prices and the CDR totals, but that no period measures."""
    phase_candidates = program.session
    if phase_candidates.energy and cdr.total_energy_kwh and not any(s.energy_kwh for s in timed_periods):
        text = f"total_energy is {cdr.total_energy_kwh} kWh, but no period states ENERGY: it is not priced"
        note(notes, NoteCode.DIMENSION_UNMEASURED, "$.total_energy", text, NoteSeverity.DISPUTE)
    if not (phase_candidates.time and cdr.total_time_h):
        return
    if not any(s.time_s or s.parking_s or s.reservation_s or s.expired_s for s in timed_periods):
        text = f"total_time is {cdr.total_time_h} h, but no period states TIME: it is not priced"
        note(notes, NoteCode.DIMENSION_UNMEASURED, "$.total_time", text, NoteSeverity.DISPUTE)


def _groups(charges: list[PricedVolume]) -> tuple[Group, ...]:
    """The charges of each price component, in the order in which the first of them came."""
    groups: dict[int, list[PricedVolume]] = {}
    for charge in charges:
        groups.setdefault(id(charge.candidate), []).append(charge)
    return tuple(groups.values())
