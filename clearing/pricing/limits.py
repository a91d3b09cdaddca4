"""min_price and max_price of a session.

Owns: how a net and a gross total meet their limits. Must not know: volumes, periods.
Source: OCPI mod_tariffs, notes on min_price and max_price: each holds on the net and on the gross total.
"""

from decimal import Decimal
from typing import Final, NamedTuple

from clearing.money import Rounding, quantize
from clearing.pricing.exact import EXACT
from clearing.pricing.notes import Note, NoteCode, NoteSeverity
from clearing.pricing.program import PricingProgram
from clearing.pricing.tariff import PriceLimit

ZERO: Final = Decimal(0)
DIGITS: Final = 4


class Totals(NamedTuple):
    """A net and a gross total in major units."""

    excl_vat: Decimal
    incl_vat: Decimal

    def plus(self, other: "Totals") -> "Totals":
        """The sum, exactly."""
        return Totals(EXACT.add(self.excl_vat, other.excl_vat), EXACT.add(self.incl_vat, other.incl_vat))


class LimitStep(NamedTuple):
    """What a limit added (or, negative, took away), and which one: min_price, max_price or floor."""

    reason: str
    excl_vat: Decimal
    incl_vat: Decimal


class CappedTotals(NamedTuple):
    """Totals within their limits. A total that met its maximum is rounded down, so as never to pass it."""

    totals: Totals
    steps: tuple[LimitStep, ...]
    net_rounding: Rounding
    gross_rounding: Rounding


_UNLIMITED: Final = (Rounding.HALF_AWAY, Rounding.HALF_AWAY)


def apply_limits(
    program: PricingProgram, totals: Totals, *, minimum: bool, notes: list[Note]
) -> CappedTotals:
    """Hold the totals within the tariff's limits; `minimum` is False for an unused reservation.

    Net and gross are limited independently. Where a limit states only one of them and it bites, the other is
    scaled along, so that the tax stays in proportion. A maximum below the minimum wins.
    """
    free = program.min_price is None and program.max_price is None
    if free and totals.excl_vat >= ZERO and totals.incl_vat >= ZERO:
        return CappedTotals(totals, (), Rounding.HALF_AWAY, Rounding.HALF_AWAY)
    rounding = _UNLIMITED
    steps: list[LimitStep] = []
    now = totals
    if now.excl_vat < 0 or now.incl_vat < 0:
        now = _record(steps, "floor", now, Totals(max(now.excl_vat, ZERO), max(now.incl_vat, ZERO)))
        text = "the total is negative; nothing is captured"
        _add(notes, NoteCode.NEGATIVE_TOTAL, "$", text, NoteSeverity.DISPUTE)
    if program.min_price is not None and minimum:
        now = _record(steps, "min_price", now, _meet(now, program.min_price, program, notes, upper=False))
    if program.max_price is not None:
        now = _record(steps, "max_price", now, _meet(now, program.max_price, program, notes, upper=True))
        limit = program.max_price
        rounding = (
            Rounding.DOWN if limit.excl_vat is not None and now.excl_vat >= limit.excl_vat else rounding[0],
            Rounding.DOWN if limit.incl_vat is not None and now.incl_vat >= limit.incl_vat else rounding[1],
        )
    if now.incl_vat < now.excl_vat and (program.min_price or program.max_price):
        text = "the limits leave less with tax than without; the net total is lowered to the gross"
        _add(notes, NoteCode.LIMIT_CONTRADICTS, "$.max_price", text, NoteSeverity.WARNING)
        now = _record(steps, "max_price", now, Totals(now.incl_vat, now.incl_vat))
    return CappedTotals(totals=now, steps=tuple(steps), net_rounding=rounding[0], gross_rounding=rounding[1])


def _record(steps: list[LimitStep], reason: str, before: Totals, after: Totals) -> Totals:
    if after != before:
        steps.append(
            LimitStep(
                reason,
                EXACT.subtract(after.excl_vat, before.excl_vat),
                EXACT.subtract(after.incl_vat, before.incl_vat),
            )
        )
    return after


def _meet(
    now: Totals, limit: PriceLimit, program: PricingProgram, notes: list[Note], *, upper: bool
) -> Totals:
    net, gross = _bound(now.excl_vat, limit.excl_vat, upper), _bound(now.incl_vat, limit.incl_vat, upper)
    name = "max_price" if upper else "min_price"
    if limit.incl_vat is None and net != now.excl_vat:
        gross = _scale(net, now.incl_vat, now.excl_vat, program)
        text = "states no gross amount; the tax follows the limited net total in proportion"
        _add(notes, NoteCode.LIMIT_GROSS_DERIVED, f"$.{name}", text, NoteSeverity.INFO)
    elif limit.excl_vat is None and gross != now.incl_vat:
        net = _scale(gross, now.excl_vat, now.incl_vat, None)
    return Totals(net, gross)


def _bound(value: Decimal, limit: Decimal | None, upper: bool) -> Decimal:  # noqa: FBT001 - private, one call
    if limit is None:
        return value
    return min(value, limit) if upper else max(value, limit)


def _scale(limited: Decimal, other: Decimal, base: Decimal, program: PricingProgram | None) -> Decimal:
    if base:
        return quantize(
            EXACT.divide(EXACT.multiply(limited, other), base), digits=DIGITS, rounding=Rounding.HALF_AWAY
        )
    rates = _rates(program)
    if len(rates) == 1:
        factor = EXACT.add(Decimal(100), rates.pop())
        return quantize(
            EXACT.divide(EXACT.multiply(limited, factor), Decimal(100)),
            digits=DIGITS,
            rounding=Rounding.HALF_AWAY,
        )
    return limited


def _rates(program: PricingProgram | None) -> set[Decimal]:
    if program is None:
        return set()
    return {
        candidate.vat or ZERO
        for phase_candidates in program.by_phase.values()
        for _, candidates in phase_candidates.by_dimension()
        for candidate in candidates
    }


def _add(notes: list[Note], code: NoteCode, path: str, text: str, severity: NoteSeverity) -> None:
    notes.append(Note(code=code, severity=severity, path=path, text=text))
