"""The gate before the money: every rule over one CDR, and the CPO's own total beside the tariff's price.

Owns: the list of rules, what may be captured where the totals differ. Must not know: storage, who is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from clearing.cdr_checks import rules
from clearing.cdr_checks.facts import SessionFacts
from clearing.cdr_checks.figures import CdrFigures
from clearing.cdr_checks.finding import CdrFinding, CheckCode, CheckOutcome
from clearing.cdr_checks.limits import CdrLimits
from clearing.cdr_checks.quick import no_rule_finds
from clearing.money import Rounding, to_minor
from clearing.pricing.cdr import Cdr
from clearing.pricing.compare import CpoTotalCheck, agrees, compare
from clearing.pricing.exact import EXACT
from clearing.pricing.priced import PricedSession

Rule = Callable[[CdrFigures, SessionFacts, CdrLimits], CdrFinding | None]
RULES: Final[tuple[Rule, ...]] = (
    rules.starts_before_authorization,
    rules.starts_after_authorization,
    rules.ends_in_future,
    rules.too_old,
    rules.energy_looks_like_wh,
    rules.energy_above_power,
    rules.period_above_power,
    rules.energy_above_limit,
    rules.negative_volume,
    rules.time_exceeds_session,
    rules.total_energy_differs,
    rules.evse_differs,
    rules.token_differs,
    rules.reference_differs,
    rules.cpo_differs,
    rules.currency_differs,
    rules.second_cdr,
    rules.overlaps_other,
    rules.home_charging,
    rules.negative_total,
    rules.usage_differs,
)
_ENERGY_RULES: Final[tuple[Rule, ...]] = (
    rules.energy_looks_like_wh,
    rules.energy_above_power,
    rules.energy_above_limit,
    rules.negative_volume,
)
# Findings that put only the total in question, not what was delivered: both totals can be defended.
TOTAL_ONLY: Final = frozenset({CheckCode.CPO_TOTAL_LOWER, CheckCode.TOO_OLD})


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalCheck:
    """The two totals: `lower_minor` is the CPO's total with VAT where it is below ours, else None."""

    finding: CdrFinding | None
    lower_minor: int | None


_AGREES: Final = TotalCheck(finding=None, lower_minor=None)


def check_cdr(cdr: Cdr, facts: SessionFacts, limits: CdrLimits) -> list[CdrFinding]:
    """Every finding about a CDR but its price, in the order of `RULES`.

    An ordinary CDR takes one quick look; the rules run where that look is not sure that none finds anything.
    """
    return [] if no_rule_finds(cdr, facts, limits) else apply_rules(cdr, facts, limits)


def apply_rules(cdr: Cdr, facts: SessionFacts, limits: CdrLimits) -> list[CdrFinding]:
    """The findings of every rule, in the order of `RULES`: what `check_cdr` must give for every CDR."""
    figures = CdrFigures.of(cdr)
    return [finding for rule in RULES if (finding := rule(figures, facts, limits)) is not None]


def check_energy(cdr: Cdr, facts: SessionFacts, limits: CdrLimits) -> list[CdrFinding]:
    """What of a session's energy so far is not possible at its charge point."""
    figures = CdrFigures.of(cdr)
    return [finding for rule in _ENERGY_RULES if (finding := rule(figures, facts, limits)) is not None]


def check_total(cdr: Cdr, priced: PricedSession, limits: CdrLimits) -> TotalCheck:
    """The CPO's total against the tariff's price.

    Higher: the price stands, flagged. Lower: the CPO asks for less, so it waits; by agreement the lower is
    captured, unless it is nothing, which always waits. Sources: CDR.total_cost (what the CPO wants to be
    paid, ocpi#209), DOMAIN: never more than the CPO asks for.
    """
    tolerance = limits.total_tolerance
    if agrees(priced, cdr, tolerance=tolerance):
        return _AGREES
    compared = compare(priced, cdr, tolerance=tolerance)
    if compared.verdict is CpoTotalCheck.TOO_HIGH:
        text = f"the CPO's total is {_total(cdr)}, the tariff's price {priced.excl_vat} before VAT"
        return TotalCheck(
            finding=CdrFinding(code=CheckCode.CPO_TOTAL_DIFFERS, outcome=CheckOutcome.FLAG, text=text),
            lower_minor=None,
        )
    if compared.verdict is not CpoTotalCheck.TOO_LOW or priced.incl_vat_minor <= 0:
        return _AGREES
    lower = min(_cpo_minor(cdr, priced), priced.incl_vat_minor)
    taken = limits.takes_lower and lower > 0
    return TotalCheck(
        finding=CdrFinding(
            code=CheckCode.CPO_TOTAL_LOWER,
            outcome=CheckOutcome.FLAG if taken else CheckOutcome.EXCEPT,
            text=f"the CPO's total is {_total(cdr)}, the tariff's price {priced.excl_vat} before VAT",
        ),
        lower_minor=lower,
    )


def _cpo_minor(cdr: Cdr, priced: PricedSession) -> int:
    """The CPO's total with VAT in minor units, not negative; without stated VAT at the price's own rate."""
    cost = cdr.total_cost
    if cost is None:
        return priced.incl_vat_minor
    gross = cost.incl_vat
    if gross is None or not priced.tax_known:
        gross = cost.excl_vat
        if priced.tax_known and priced.excl_vat > 0:
            gross = EXACT.divide(EXACT.multiply(cost.excl_vat, priced.incl_vat), priced.excl_vat)
    return max(to_minor(gross, priced.currency, rounding=Rounding.HALF_AWAY), 0)


def _total(cdr: Cdr) -> Decimal | None:
    return None if cdr.total_cost is None else cdr.total_cost.excl_vat
