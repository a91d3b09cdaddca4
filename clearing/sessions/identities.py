"""Which VAT id a party shows where: its registrations by VAT area.

Owns: the way from a party's registrations to the area that each serves. Must not know: which supply an id is
shown on, the repository.
"""

from collections.abc import Mapping
from datetime import date

from clearing.parties.party import Party
from clearing.tax.vat import Trader, vat_area
from clearing.tax.vat_rates import VatRates


def trader_on(party: Party, day: date, rates: VatRates) -> Trader:
    """A party as one side of a supply of `day` (local): where it is established and every id proven that day.

    Raises UnclearableError for a tax jurisdiction that is not known.
    """
    tax_jurisdiction = rates.tax_jurisdiction(party.tax_jurisdiction)
    return Trader(
        party_id=party.id,
        tax_jurisdiction=tax_jurisdiction,
        vat_id=party.vat_id_on(day),
        vat_ids=_by_area(party.vat_ids_on(day), rates),
        taxable_dealer=party.taxable_dealer,
        small_business=party.small_business,
    )


def trader_within(party: Party, period: tuple[date, date], rates: VatRates) -> Trader:
    """As `trader_on`, with every id proven on any day of `period` (inclusive), each as it was last."""
    ids = party.vat_ids_within(*period)
    return Trader(
        party_id=party.id,
        tax_jurisdiction=rates.tax_jurisdiction(party.tax_jurisdiction),
        vat_id=ids.get(party.tax_jurisdiction),
        vat_ids=_by_area(ids, rates),
        taxable_dealer=party.taxable_dealer,
        small_business=party.small_business,
    )


def _by_area(ids: Mapping[str, str], rates: VatRates) -> dict[str, str]:
    found: dict[str, str] = {}
    for tax_jurisdiction, vat_id in ids.items():
        found.setdefault(vat_area(rates.tax_jurisdiction(tax_jurisdiction)), vat_id)
    return found
