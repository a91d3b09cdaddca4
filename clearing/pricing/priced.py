"""What a session costs, and why: the result of pricing.

Owns: the lines, the totals, their breakdown as plain JSON values. Must not know: how they were found.
"""

from decimal import Decimal
from typing import Any, Final

import msgspec

from clearing.money import to_major
from clearing.pricing.exact import EXACT
from clearing.pricing.limits import LimitStep
from clearing.pricing.lines import Group, Line, Reason, decimal_text, explain_lines
from clearing.pricing.notes import Note
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.taxes import RateTotals, TaxShare, share_taxes

__all__ = ["Line", "PricedSession", "Reason", "decimal_text"]

WH_PER_KWH: Final = Decimal(1000)


class PricedSession(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a session costs, and why. Minor units are final; `lines` sum to `excl_vat` and `incl_vat`.

    `groups` are the charges by component, `rates` each one's tax rate and totals, before the `limits`;
    `energy_kwh` is what was charged; `time_zone` is the one local time was read in, None where none was.
    `tax_known` is False where the tariff leaves the tax to others: then both totals are its stated prices.
    """

    currency: str
    excl_vat_minor: int
    incl_vat_minor: int
    excl_vat: Decimal
    incl_vat: Decimal
    groups: tuple[Group, ...]
    limits: tuple[LimitStep, ...]
    rates: tuple[RateTotals, ...]
    notes: tuple[Note, ...]
    energy_kwh: Decimal
    tax_known: bool
    policy: str
    tariff_id: str
    version: OcpiVersion
    time_zone: str | None

    @property
    def lines(self) -> tuple[Line, ...]:
        """What was billed of each period and why, computed on request; they add up to the totals."""
        return explain_lines(self.groups, self.limits)

    @property
    def taxes(self) -> tuple[TaxShare, ...]:
        """The tax by rate, in minor units that add up to gross less net."""
        return share_taxes(self.rates, net_minor=self.excl_vat_minor, gross_minor=self.incl_vat_minor)

    @property
    def energy_wh(self) -> Decimal:
        """The energy in watt-hours, exactly."""
        return EXACT.multiply(self.energy_kwh, WH_PER_KWH)

    def to_dict(self) -> dict[str, Any]:
        """The breakdown as JSON-able values: money, volumes and prices are decimal strings, never floats.

        `excl_vat` and `incl_vat` carry the currency's digits ("12.50"), those of a line four decimals.
        """
        return {
            "currency": self.currency,
            "excl_vat": str(to_major(self.excl_vat_minor, self.currency)),
            "incl_vat": str(to_major(self.incl_vat_minor, self.currency)),
            "tax": str(to_major(self.incl_vat_minor - self.excl_vat_minor, self.currency)),
            "excl_vat_minor": self.excl_vat_minor,
            "incl_vat_minor": self.incl_vat_minor,
            "tax_known": self.tax_known,
            "energy_kwh": decimal_text(self.energy_kwh),
            "policy": self.policy,
            "tariff": {"id": self.tariff_id, "version": self.version.value},
            "time_zone": self.time_zone,
            "lines": [line.to_dict() for line in self.lines],
            "taxes": [share.to_dict(self.currency) for share in self.taxes],
            "notes": [note.to_dict() for note in self.notes],
        }
