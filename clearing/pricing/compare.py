"""The CPO's own total beside ours.

Owns: whether they agree within a tolerance. Must not know: what is done about a difference.
What is captured is ours in either case: never more than the tariff gives.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from clearing.pricing.cdr import Cdr
from clearing.pricing.exact import EXACT
from clearing.pricing.priced import PricedSession, decimal_text

DEFAULT_TOLERANCE: Final = Decimal("0.01")


class CpoTotalCheck(StrEnum):
    """How the CPO's total_cost compares to the price of its tariff."""

    AGREES = "agrees"
    TOO_HIGH = "too_high"  # the CPO charges more than its tariff
    TOO_LOW = "too_low"
    NOT_COMPARABLE = "not_comparable"  # another currency
    UNSTATED = "unstated"  # the CDR carries no total


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Differences are the CPO's less ours, in major units; None where the CPO does not state that side."""

    verdict: CpoTotalCheck
    tolerance: Decimal
    excl_vat_difference: Decimal | None = None
    incl_vat_difference: Decimal | None = None

    @property
    def flagged(self) -> bool:
        """Whether a person should look."""
        return self.verdict in {CpoTotalCheck.TOO_HIGH, CpoTotalCheck.TOO_LOW, CpoTotalCheck.NOT_COMPARABLE}

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON-able values, decimals as strings."""
        excl, incl = self.excl_vat_difference, self.incl_vat_difference
        return {
            "verdict": self.verdict.value,
            "flagged": self.flagged,
            "tolerance": decimal_text(self.tolerance),
            "excl_vat_difference": None if excl is None else decimal_text(excl),
            "incl_vat_difference": None if incl is None else decimal_text(incl),
        }


def agrees(priced: PricedSession, cdr: Cdr, *, tolerance: Decimal = DEFAULT_TOLERANCE) -> bool:
    """Whether `compare` says AGREES, for callers that ask no more.

    False of a credit CDR says nothing.
    """
    cost = cdr.total_cost
    if cost is None or cdr.credit or cdr.currency != priced.currency:
        return False
    if abs(EXACT.subtract(cost.excl_vat, priced.excl_vat)) > tolerance:
        return False
    gross = cost.incl_vat
    return gross is None or not priced.tax_known or abs(EXACT.subtract(gross, priced.incl_vat)) <= tolerance


def compare(priced: PricedSession, cdr: Cdr, *, tolerance: Decimal = DEFAULT_TOLERANCE) -> Comparison:
    """Compare the CDR's total_cost with ours, before our last rounding, within `tolerance` major units.

    The total of a credit CDR is negative and is compared by amount. Tax is compared only where both state it.
    """
    if cdr.total_cost is None:
        return Comparison(verdict=CpoTotalCheck.UNSTATED, tolerance=tolerance)
    if cdr.currency != priced.currency:
        return Comparison(verdict=CpoTotalCheck.NOT_COMPARABLE, tolerance=tolerance)
    sign = Decimal(-1) if cdr.credit else Decimal(1)
    excl = EXACT.subtract(EXACT.multiply(sign, cdr.total_cost.excl_vat), priced.excl_vat)
    incl = None
    if cdr.total_cost.incl_vat is not None and priced.tax_known:
        incl = EXACT.subtract(EXACT.multiply(sign, cdr.total_cost.incl_vat), priced.incl_vat)
    worst = max((excl, incl or excl), key=abs)
    if abs(worst) <= tolerance:
        verdict = CpoTotalCheck.AGREES
    else:
        verdict = CpoTotalCheck.TOO_HIGH if worst > 0 else CpoTotalCheck.TOO_LOW
    return Comparison(
        verdict=verdict, tolerance=tolerance, excl_vat_difference=excl, incl_vat_difference=incl
    )
