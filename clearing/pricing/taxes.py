"""Taxes of a priced session by rate, in minor units that add up.

Owns: sharing the difference of gross and net over the rates. Must not know: where a rate comes from.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from clearing.money import distribute, to_major
from clearing.pricing.exact import EXACT
from clearing.pricing.json_document import plain_number
from clearing.pricing.limits import Totals


class TaxShare(msgspec.Struct, frozen=True, kw_only=True):
    """One rate's part in minor units: `percent` is None where the tariff states none."""

    name: str
    percent: Decimal | None
    net_minor: int
    tax_minor: int

    def to_dict(self, currency: str) -> dict[str, str | None]:
        """The part as JSON-able values in major units of `currency`."""
        return {
            "name": self.name,
            "percent": None if self.percent is None else str(plain_number(self.percent)),
            "net": str(to_major(self.net_minor, currency)),
            "tax": str(to_major(self.tax_minor, currency)),
        }


RateTotals = tuple[Decimal | None, Totals]  # a rate in percent, None if unstated, with its totals


def share_taxes(rates: Sequence[RateTotals], *, net_minor: int, gross_minor: int) -> tuple[TaxShare, ...]:
    """The totals by rate, scaled to the final amounts: nets sum to `net_minor`, taxes to gross less net.

    Parts are rounded by largest remainder, ties to the rate that was billed first.
    """
    by_rate: dict[Decimal | None, Totals] = {}
    for percent, totals in rates:
        before = by_rate.get(percent)
        by_rate[percent] = totals if before is None else before.plus(totals)
    if not by_rate:
        tax = gross_minor - net_minor
        return (
            (TaxShare(name="VAT", percent=None, net_minor=net_minor, tax_minor=tax),)
            if net_minor or tax
            else ()
        )
    nets = [totals.excl_vat for totals in by_rate.values()]
    taxes = [EXACT.subtract(totals.incl_vat, totals.excl_vat) for totals in by_rate.values()]
    net_parts = _fit(nets, net_minor)
    tax_parts = _fit(taxes, gross_minor - net_minor)
    return tuple(
        TaxShare(name="VAT", percent=percent, net_minor=net, tax_minor=tax)
        for percent, net, tax in zip(by_rate, net_parts, tax_parts, strict=True)
    )


def _fit(amounts: list[Decimal], total_minor: int) -> list[int]:
    """Whole parts of `total_minor` in proportion to `amounts`; all to the first where they cancel out."""
    whole = Decimal(0)
    for amount in amounts:
        whole = EXACT.add(whole, amount)
    if len(amounts) == 1 or not whole:
        return [total_minor] + [0] * (len(amounts) - 1)
    total = Decimal(total_minor)
    return list(
        distribute(total_minor, [EXACT.divide(EXACT.multiply(amount, total), whole) for amount in amounts])
    )
