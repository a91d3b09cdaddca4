"""States in which a dealer of electricity owes the VAT on what it buys there, from a first to a last day.

Owns: the dated rows with their sources. Must not know: who a dealer is, or what else decides a supply.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class DomesticReverseCharge:
    """A state's rule that a dealer of electricity owes the VAT on what it buys there.

    `last_day` None: not bounded. `between_dealers`: the supplier must be a dealer as well.
    """

    first_day: date
    last_day: date | None
    source: str
    between_dealers: bool = False

    def applies(self, day: date, *, supplier_is_dealer: bool) -> bool:
        """Whether a supply of that day falls under it."""
        in_force = self.first_day <= day and (self.last_day is None or day <= self.last_day)
        return in_force and (supplier_is_dealer or not self.between_dealers)


# Member states may have it until this day (Directive 2006/112/EC art. 199a(1), as amended by (EU) 2022/890).
_UNION_LAST_DAY: Final = date(2026, 12, 31)
DOMESTIC_REVERSE_CHARGE: Final[Mapping[str, DomesticReverseCharge]] = {
    "AT": DomesticReverseCharge(
        first_day=date(2014, 1, 1), last_day=_UNION_LAST_DAY, source="UStBBKV § 2 Z 3"
    ),
    "CZ": DomesticReverseCharge(
        first_day=date(2016, 2, 1), last_day=_UNION_LAST_DAY, source="zákon 235/2004 § 92f, NV 361/2014"
    ),
    "DE": DomesticReverseCharge(
        first_day=date(2013, 9, 1),
        last_day=_UNION_LAST_DAY,
        source="UStG § 13b(2) no. 5(b), (5) sentence 4",
        between_dealers=True,
    ),
    # In force by the first day of the Danish rates. Not where it is delivered to a meter of the dealer's own.
    "DK": DomesticReverseCharge(
        first_day=date(2016, 1, 1), last_day=_UNION_LAST_DAY, source="momsloven § 46, stk. 1, nr. 11"
    ),
    "FR": DomesticReverseCharge(
        first_day=date(2012, 4, 1), last_day=_UNION_LAST_DAY, source="CGI art. 283(2 quinquies)"
    ),
    "GB": DomesticReverseCharge(first_day=date(2014, 7, 1), last_day=None, source="VATA 1994 s. 55A"),
    "IE": DomesticReverseCharge(
        first_day=date(2016, 1, 1), last_day=_UNION_LAST_DAY, source="VATCA 2010 s. 16(7)"
    ),
    "IT": DomesticReverseCharge(
        first_day=date(2015, 1, 1), last_day=_UNION_LAST_DAY, source="DPR 633/1972 art. 17(6)(d-quater)"
    ),
    "RO": DomesticReverseCharge(
        first_day=date(2013, 9, 1), last_day=_UNION_LAST_DAY, source="Codul fiscal art. 331(2)(e)"
    ),
}
