"""A credit CDR against the CDR that it reverses.

Owns: when a credit CDR reverses the whole, changes nothing, or waits for a person. Must not know: storage,
refunds. Source: OCPI mod_cdrs, Credit CDRs.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from clearing.cdr_checks.finding import CheckCode
from clearing.pricing.cdr import Cdr

_TOLERANCE: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditCheck:
    """Why a credit CDR does not reverse the whole; `waits`: a person decides, else it changes nothing."""

    code: CheckCode
    text: str
    waits: bool


def check_credit(
    credit: Cdr, credited: Cdr | None, *, earlier: str | None, priced_net: Decimal | None = None
) -> CreditCheck | None:
    """None: the credit CDR takes the whole of `credited` back.

    `credited` None: no CDR of this CPO has the id it names. `earlier` is the id of the credit CDR that took
    the same CDR back before. `priced_net` is what the credited CDR costs by its tariff, in major units
    without VAT: it counts where that CDR states no total.
    """
    if credited is None:
        return CreditCheck(
            code=CheckCode.CREDIT_OF_UNKNOWN,
            text=f"no CDR {credit.credit_reference_id} of this CPO came",
            waits=True,
        )
    if earlier is not None:
        return CreditCheck(code=CheckCode.CREDITED_TWICE, text=f"credited by {earlier} before", waits=False)
    stated = credit.total_cost
    owed = priced_net if credited.total_cost is None else credited.total_cost.excl_vat
    if stated is None or owed is None or abs(stated.excl_vat) >= abs(owed) - _TOLERANCE:
        return None
    return CreditCheck(
        code=CheckCode.PARTIAL_CREDIT,
        text=f"credits {abs(stated.excl_vat)} of {owed} before VAT",
        waits=True,
    )
