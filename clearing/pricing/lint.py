"""Tariff lint: what is wrong or unwise in a tariff, found before it bills anybody.

Owns: what the restrictions of a tariff do together, and AFIR's rules. Must not know: CDRs, files.

Every restriction is a half-open interval on one axis (time of day, date, weekday, energy, duration, current,
power), so the bounds of a tariff cut each axis into cells inside which nothing changes. Asking every cell
which component applies proves what is never reached and where a dimension is free; nothing is sampled.
"""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import product
from math import prod
from typing import Final

from clearing.pricing.explain import describe_moment
from clearing.pricing.lint_components import component_findings
from clearing.pricing.lint_finding import LintCode, LintFinding, warn
from clearing.pricing.notes import NoteCode, NoteSeverity
from clearing.pricing.program import Candidate, PricingProgram, compile_tariff
from clearing.pricing.restrictions import Moment, Phase, Restrictions
from clearing.pricing.tariff import Dimension, PriceComponent, Tariff

MAX_CELLS: Final = 100_000
MONDAY: Final = date(2024, 1, 1)  # any Monday: the weekday axis of tariffs without dates
WEEK: Final = 7
AFIR_POWER_KW: Final = Decimal(50)

SECONDS_PER_MINUTE: Final = 60


def lint(tariff: Tariff, *, power_kw: Decimal | None = None) -> tuple[LintFinding, ...]:
    """All findings of a tariff, in the order of its elements.

    `power_kw` is the power of the charge points it is used at: from 50 kW on, a price for ad hoc payment must
    be per kWh (Regulation (EU) 2023/1804 art. 5(4)). Without it, that rule is only information.
    """
    program = compile_tariff(tariff)
    found: list[LintFinding] = []
    found += _wire(program)
    found += _reach_and_gaps(tariff, program)
    found += _dates(tariff)
    found += component_findings(tariff)
    found += _afir(tariff, power_kw)
    return tuple(sorted(found, key=lambda finding: _position(finding.path)))


def _position(path: str) -> tuple[int, ...]:
    return tuple(int(part.partition("]")[0]) for part in path.split("[")[1:])


def _wire(program: PricingProgram) -> Iterator[LintFinding]:
    """What reading the tariff already noted."""
    for note in program.notes:
        code = LintCode.NOT_EVALUATED if note.code is NoteCode.UNKNOWN_RESTRICTION else LintCode.WIRE
        yield warn(code, note.path, note.text, note.severity)


def _at(candidate: Candidate) -> str:
    return f"$.elements[{candidate.element}].price_components[{candidate.component}]"


def _reach_and_gaps(tariff: Tariff, program: PricingProgram) -> Iterator[LintFinding]:
    rules = [element.restrictions for element in tariff.elements if element.restrictions is not None]
    axes = _axes(rules)
    if prod(len(axis) for axis in axes) > MAX_CELLS:
        text = "the restrictions are too many to be checked together for gaps and unreachable elements"
        yield warn(LintCode.TOO_MANY_CELLS, "$.elements", text, NoteSeverity.INFO)
        return
    cells = [_moment(cell) for cell in product(*axes)]
    for phase, phase_candidates in program.by_phase.items():
        if phase in {Phase.UNKNOWN, Phase.CANCELLATION}:
            continue
        for dimension, candidates in phase_candidates.by_dimension():
            own = [found for found in candidates if _phase_of(tariff, found) is phase]
            reached, true, gap = _survey(candidates, cells)
            yield from _unreached(own, reached, true)
            if gap is not None and phase is Phase.SESSION and dimension is not Dimension.FLAT:
                where = describe_moment(gap, by_date=any(rule.start_date or rule.end_date for rule in rules))
                text = f"{dimension.value} is free where no element applies, for example {where}"
                yield warn(LintCode.FREE_GAP, _at(candidates[-1]), text)


def _phase_of(tariff: Tariff, candidate: Candidate) -> Phase:
    rules = tariff.elements[candidate.element].restrictions
    return Phase.SESSION if rules is None else rules.phase


def _survey(candidates: Iterable[Candidate], cells: list[Moment]) -> tuple[set[int], set[int], Moment | None]:
    """Which candidates are picked in some cell, which hold in some cell, and a cell in which none does."""
    reached, true = set[int](), set[int]()
    gap: Moment | None = None
    for cell in cells:
        holding = [found.slot for found in candidates if all(check(cell) for check in found.checks)]
        true.update(holding)
        if holding:
            reached.add(holding[0])
        elif gap is None:
            gap = cell
    return reached, true, gap


def _unreached(own: list[Candidate], reached: set[int], true: set[int]) -> Iterator[LintFinding]:
    for candidate in own:
        if candidate.slot not in true:
            text = "its restrictions can never hold together: it is never charged"
            yield warn(LintCode.NEVER_TRUE, _at(candidate), text)
        elif candidate.slot not in reached:
            text = f"an earlier element always prices {candidate.dimension.value} first: it is never charged"
            yield warn(LintCode.NEVER_REACHED, _at(candidate), text)


_Axes = tuple[list[int], list[date], list[Decimal], list[int], list[Decimal], list[Decimal]]


def _axes(rules: list[Restrictions]) -> _Axes:
    """One representative of every cell of each axis: zero and each bound."""
    seconds, kwh, elapsed = {0}, {Decimal(0)}, {0}
    current, power = {Decimal(0)}, {Decimal(0)}
    for rule in rules:
        if rule.start_second is not None and rule.end_second is not None:
            seconds |= {rule.start_second % 86_400, rule.end_second % 86_400}
        kwh |= {bound for bound in (rule.min_kwh, rule.max_kwh) if bound is not None}
        current |= {bound for bound in (rule.min_current, rule.max_current) if bound is not None}
        power |= {bound for bound in (rule.min_power, rule.max_power) if bound is not None}
        elapsed |= {
            int(bound * 10**6) for bound in (rule.min_duration, rule.max_duration) if bound is not None
        }
    return sorted(seconds), _day_axis(rules), sorted(kwh), sorted(elapsed), sorted(current), sorted(power)


def _day_axis(rules: list[Restrictions]) -> list[date]:
    bounds = sorted({day for rule in rules for day in (rule.start_date, rule.end_date) if day is not None})
    by_weekday = any(rule.weekdays is not None for rule in rules)
    starts = [bounds[0] - timedelta(days=WEEK), *bounds] if bounds else [MONDAY]
    if not by_weekday:
        return starts
    days: set[date] = set()
    for place, start in enumerate(starts):
        end = starts[place + 1] if place + 1 < len(starts) else start + timedelta(days=WEEK)
        days |= {start + timedelta(days=ahead) for ahead in range(min(WEEK, (end - start).days))}
    return sorted(days)


def _moment(cell: tuple[int, date, Decimal, int, Decimal, Decimal]) -> Moment:
    second, day, kwh, elapsed_us, current, power = cell
    return Moment(
        elapsed_us=elapsed_us,
        kwh=kwh,
        second=second,
        weekday=day.weekday(),
        day=day,
        min_current=current,
        max_current=current,
        min_power=power,
        max_power=power,
    )


def _dates(tariff: Tariff) -> Iterator[LintFinding]:
    """Elements that price one dimension in overlapping seasons: the earlier one wins, in silence."""
    seasons = [
        (place, element.restrictions, {component.dimension for component in element.components})
        for place, element in enumerate(tariff.elements)
        if element.restrictions is not None
        and (element.restrictions.start_date or element.restrictions.end_date)
    ]
    for rank, (place, rule, dimensions) in enumerate(seasons):
        for earlier, other, others in seasons[:rank]:
            if dimensions & others and rule.phase is other.phase and _overlap(rule, other):
                text = f"its dates overlap those of element {earlier}, which is used where both apply"
                yield warn(LintCode.DATES_OVERLAP, f"$.elements[{place}].restrictions", text)


def _overlap(one: Restrictions, other: Restrictions) -> bool:
    same_span = (one.start_date, one.end_date) == (other.start_date, other.end_date)
    if same_span and (one.start_second, one.weekdays) != (other.start_second, other.weekdays):
        return False  # the same season, distinguished by time of day or weekday
    starts = max(one.start_date or date.min, other.start_date or date.min)
    return starts < min(one.end_date or date.max, other.end_date or date.max)


def _afir(tariff: Tariff, power_kw: Decimal | None) -> Iterator[LintFinding]:
    """Art. 5(4): from 50 kW on, the ad hoc price is per kWh; only a per-minute occupancy fee may be added."""
    found = [
        (f"$.elements[{place}].price_components[{spot}]", component)
        for place, element in enumerate(tariff.elements)
        if element.restrictions is None or element.restrictions.phase is Phase.SESSION
        for spot, component in enumerate(element.components)
    ]
    if not any(component.price for _, component in found):
        return
    if power_kw is None:
        others = sorted({component.type for _, component in found if _is_other_than_kwh(component)})
        if others:
            text = (
                f"not for ad hoc payment at 50 kW and above: it prices {', '.join(others)} (AFIR art. 5(4))"
            )
            yield warn(LintCode.AFIR_NOT_KWH_BASED, "$.elements", text, NoteSeverity.INFO)
        return
    if power_kw >= AFIR_POWER_KW:
        yield from _afir_fast(found)


def _is_other_than_kwh(component: PriceComponent) -> bool:
    return bool(component.price) and component.dimension in {Dimension.TIME, Dimension.FLAT}


def _afir_fast(found: list[tuple[str, PriceComponent]]) -> Iterator[LintFinding]:
    if not any(component.dimension is Dimension.ENERGY for _, component in found):
        text = "at 50 kW and above an ad hoc price is per kWh (AFIR art. 5(4)); this tariff has none"
        yield warn(LintCode.AFIR_NO_ENERGY, "$.elements", text)
    for path, component in found:
        if _is_other_than_kwh(component):
            text = f"at 50 kW and above an ad hoc price has no {component.type} part (AFIR art. 5(4))"
            yield warn(LintCode.AFIR_NOT_KWH_BASED, path, text)
        if component.dimension is Dimension.PARKING_TIME and component.step_size > SECONDS_PER_MINUTE:
            text = "an occupancy fee is a price per minute (AFIR art. 5(4)); its step is longer"
            yield warn(LintCode.AFIR_STEP, f"{path}.step_size", text)
