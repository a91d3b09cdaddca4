"""VAT of each supply: which rule, whose rate, who pays it, and what the invoice must say.

Owns: the decision table, first match, on tax jurisdictions; dated rates. Must not know: amounts, accounts,
the repository.
Sources: Directive 2006/112/EC (art. 38, 39, 44, 47, 195, 196, 203, 284), CJEU C-282/22 and C-60/23, Swiss
MWSTG (art. 7(2), 8(1), 45(1)), UK SI 2004/3148. Charging is one supply of electricity, with whatever belongs
to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final, assert_never

from clearing.errors import ClearingInvariantViolation, UnclearableError
from clearing.tax.domestic_reverse_charge import DOMESTIC_REVERSE_CHARGE
from clearing.tax.vat_rates import Regime, SupplyKind, TaxJurisdiction, VatRates

NO_RATE: Final = Decimal(0)


class SupplyLeg(StrEnum):
    """Which supply of a session it is."""

    TO_DEALER = "to_dealer"  # CPO -> reseller
    TO_DRIVER = "to_driver"
    COMMISSION = "commission"  # demand partner or eMSP -> whoever it brings the driver to
    FEE = "fee"  # platform -> CPO, as its agent
    SITE = "site"  # site host -> whoever uses the ground


class Category(StrEnum):
    """EN 16931 VAT category (UNCL 5305)."""

    STANDARD = "S"
    REVERSE_CHARGE = "AE"
    EXEMPT = "E"
    OUTSIDE = "O"


class Payer(StrEnum):
    """Who pays the tax to the state."""

    SUPPLIER = "supplier"
    CUSTOMER = "customer"
    NOBODY = "nobody"


class CustomerKind(StrEnum):
    """What the driver's side is."""

    CONSUMER = "consumer"
    BUSINESS = "business"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trader:
    """One side of a supply.

    `vat_id` is that of its place of establishment, `vat_ids` those of registrations elsewhere by VAT area,
    all only if proven valid
    at the chargeable event; `tax_jurisdiction` is that of its place of establishment.
    """

    party_id: str
    tax_jurisdiction: TaxJurisdiction
    vat_id: str | None
    vat_ids: Mapping[str, str] = field(default_factory=dict)
    taxable_dealer: bool = False
    small_business: bool = False

    def identified_in(self, vat_of: str) -> str | None:
        """The id that serves where the VAT of `vat_of` is owed; one VAT area has one registration."""
        area = VAT_AREAS.get(vat_of, vat_of)
        own = self.vat_id if vat_area(self.tax_jurisdiction) == area else None
        return own or self.vat_ids.get(area)


@dataclass(frozen=True, slots=True, kw_only=True)
class VatDecision:
    """What was decided, and why, as a text that an invoice can print.

    `rate` is percent shown on the invoice; `vat_of` the tax jurisdiction whose VAT it is. `acquisition_of`
    and `acquisition_rate` are what a Swiss customer declares itself. `exemption_code` is of the VATEX list.
    """

    rule: str
    category: Category
    rate: Decimal
    vat_of: str
    payer: Payer
    reason: str
    exemption_code: str | None = None
    acquisition_of: str | None = None
    acquisition_rate: Decimal = NO_RATE
    flags: tuple[str, ...] = ()


# Tax jurisdictions with a VAT of their own name whose supplies to the other are domestic ones: Liechtenstein
# by the agreement of 28 October 1994, Monaco by the convention of 18 May 1963, Northern Ireland as part of
# the United Kingdom; parts of a member state with rates of their own are that state's.
VAT_AREAS: Final[Mapping[str, str]] = {
    "AT-JU": "AT",
    "GR-AEGEAN": "GR",
    "LI": "CH",
    "MC": "FR",
    "PT-20": "PT",
    "PT-30": "PT",
    "XI": "GB",
}
_SMALL_BUSINESS: Final = "Small business: no VAT shown (Directive 2006/112/EC art. 284)"
_UNION: Final = frozenset({Regime.EU, Regime.EU_GOODS})
_SWISS: Final = frozenset({Regime.CH, Regime.CH_SERVICES})
# Where electricity, as a good, is not subject to VAT.
_NO_VAT_ON_GOODS: Final = frozenset({Regime.NONE, Regime.CH_SERVICES})
# Whoever sells to drivers owes the VAT of the charge point, and must be registered there to pay and show it.
NOT_REGISTERED: Final = "seller_not_registered"


def decide(
    leg: SupplyLeg,
    *,
    supplier: Trader,
    customer: Trader | None,
    customer_kind: CustomerKind = CustomerKind.BUSINESS,
    place: TaxJurisdiction,
    day: date,
    rates: VatRates,
) -> VatDecision:
    """The VAT of one supply.

    `place` is the charge point's tax jurisdiction, `day` the local day of the chargeable event.

    `customer` None is a driver without a VAT identity. Raises RateUnavailableError or UnclearableError.
    """
    if leg is SupplyLeg.TO_DRIVER:
        found = _to_driver(supplier, customer, customer_kind, place=place, day=day, rates=rates)
        if found.category is Category.STANDARD and supplier.identified_in(found.vat_of) is None:
            return replace(found, flags=(*found.flags, NOT_REGISTERED))
        return found
    decision = _between_businesses(leg, supplier, customer, place=place, day=day, rates=rates)
    return _only_by_the_registered(decision, supplier)


def _between_businesses(
    leg: SupplyLeg,
    supplier: Trader,
    customer: Trader | None,
    *,
    place: TaxJurisdiction,
    day: date,
    rates: VatRates,
) -> VatDecision:
    match leg:
        case SupplyLeg.TO_DEALER:
            return _to_dealer(supplier, _required(customer), place, day, rates)
        case SupplyLeg.COMMISSION | SupplyLeg.FEE:
            return _service(supplier, _required(customer), day, rates)
        case SupplyLeg.SITE:
            return _site(place, day, rates)
        case SupplyLeg.TO_DRIVER:
            raise ClearingInvariantViolation("the driver's leg is not a supply between businesses")
        case _ as unreachable:
            assert_never(unreachable)


def _required(customer: Trader | None) -> Trader:
    if customer is None:
        raise UnclearableError("missing_customer", "a supply between businesses needs its customer")
    return customer


def _only_by_the_registered(decision: VatDecision, supplier: Trader) -> VatDecision:
    """VAT on a self-billed invoice of one who may not show it would be owed all the same (Directive art.

    203).
    """
    if decision.category is not Category.STANDARD:
        return decision
    if supplier.small_business:
        return replace(
            decision,
            rule=f"{decision.rule}/small_business",
            category=Category.EXEMPT,
            rate=NO_RATE,
            payer=Payer.NOBODY,
            reason=_SMALL_BUSINESS,
            exemption_code=_small_business_code(supplier),
        )
    if supplier.identified_in(decision.vat_of) is None:
        where = "" if supplier.vat_id is None else f" of {decision.vat_of}"
        return replace(
            decision,
            rule=f"{decision.rule}/unregistered",
            category=Category.OUTSIDE,
            rate=NO_RATE,
            payer=Payer.NOBODY,
            reason=f"The supplier has proven no VAT id{where}: no VAT may be shown (art. 203)",
            exemption_code="VATEX-EU-O",
            flags=(*decision.flags, "supplier_without_vat_id"),
        )
    return decision


def _small_business_code(supplier: Trader) -> str | None:
    """The VATEX code of a small business's exemption; of the states only France has one.

    `VATEX-EU-F` is the margin scheme for second-hand goods (art. 312 to 325) and never this.
    """
    return "VATEX-FR-FRANCHISE" if vat_area(supplier.tax_jurisdiction) == "FR" else None


def _standard(
    rule: str, *, vat_of: str, rate: Decimal, reason: str, flags: tuple[str, ...] = ()
) -> VatDecision:
    return VatDecision(
        rule=rule,
        category=Category.STANDARD,
        rate=rate,
        vat_of=vat_of,
        payer=Payer.SUPPLIER,
        reason=reason,
        flags=flags,
    )


def _outside(
    rule: str, *, reason: str, payer: Payer = Payer.NOBODY, flags: tuple[str, ...] = ()
) -> VatDecision:
    return VatDecision(
        rule=rule,
        category=Category.OUTSIDE,
        rate=NO_RATE,
        vat_of="",
        payer=payer,
        reason=reason,
        exemption_code="VATEX-EU-O",
        flags=flags,
    )


def _reverse_charge(rule: str, *, vat_of: str, reason: str) -> VatDecision:
    return VatDecision(
        rule=rule,
        category=Category.REVERSE_CHARGE,
        rate=NO_RATE,
        vat_of=vat_of,
        payer=Payer.CUSTOMER,
        reason=reason,
        exemption_code="VATEX-EU-AE",
    )


def _local(
    rule: str, place: TaxJurisdiction, day: date, rates: VatRates, *, reason: str, flags: tuple[str, ...] = ()
) -> VatDecision:
    """The charge point's own electricity rate, or nothing where its tax jurisdiction knows no VAT."""
    if place.regime in _NO_VAT_ON_GOODS:
        return _outside(
            f"{rule}/no_vat_tax_jurisdiction", reason=f"Electricity bears no VAT in {place.code}", flags=flags
        )
    rate = rates.rate(place.vat_of, SupplyKind.ELECTRICITY, day)
    return _standard(rule, vat_of=place.vat_of, rate=rate, reason=reason, flags=flags)


def _to_driver(
    supplier: Trader,
    customer: Trader | None,
    kind: CustomerKind,
    *,
    place: TaxJurisdiction,
    day: date,
    rates: VatRates,
) -> VatDecision:
    if supplier.small_business and place.country == supplier.tax_jurisdiction.country:
        return VatDecision(
            rule="driver/small_business",
            category=Category.EXEMPT,
            rate=NO_RATE,
            vat_of=place.vat_of,
            payer=Payer.NOBODY,
            reason=_SMALL_BUSINESS,
            exemption_code=_small_business_code(supplier),
        )
    if kind is CustomerKind.CONSUMER or customer is None:
        return _local(
            "driver/consumer", place, day, rates, reason="Electricity is taxed where it is charged (art. 39)"
        )
    if place.regime is Regime.CH:
        if customer.tax_jurisdiction.regime not in _SWISS:
            return _outside(
                "driver/ch_foreign_business",
                reason="Electricity to a business seated abroad is supplied abroad (MWSTG art. 7(2))",
                flags=("possible_double_non_taxation",),
            )
        return _local("driver/ch_business", place, day, rates, reason="Swiss supply (MWSTG art. 7(2))")
    if place.regime in _UNION:
        destination = supplier.tax_jurisdiction.country == place.country
        identified = customer.identified_in(place.vat_of) is not None
        if identified and not destination:
            return _reverse_charge(
                "driver/identified_business",
                vat_of=place.vat_of,
                reason="Reverse charge (Directive 2006/112/EC art. 39, 195)",
            )
        flags = ("possible_double_taxation",) if customer.tax_jurisdiction.regime in _SWISS else ()
        return _local(
            "driver/business",
            place,
            day,
            rates,
            reason="Electricity is taxed where it is used (art. 39)",
            flags=flags,
        )
    return _local("driver/business", place, day, rates, reason="Electricity is taxed where it is charged")


def _to_dealer(
    supplier: Trader, dealer: Trader, place: TaxJurisdiction, day: date, rates: VatRates
) -> VatDecision:
    if not dealer.taxable_dealer or dealer.vat_id is None:
        return _local(
            "dealer/unproven",
            place,
            day,
            rates,
            reason="Not proven to be a taxable dealer: taxed at the charge point (art. 39)",
            flags=("dealer_not_proven",),
        )
    destination, origin = dealer.tax_jurisdiction, supplier.tax_jurisdiction
    if _same_vat_area(destination, origin):
        return _domestic_dealer(supplier, dealer, day=day, rates=rates)
    if destination.regime in _UNION:
        if origin.regime in _SWISS:
            return _outside(
                "dealer/ch_to_abroad",
                payer=Payer.CUSTOMER,
                reason="Supply abroad, seat of the dealer proven (MWSTG art. 7(2))",
            )
        return _reverse_charge(
            "dealer/union",
            vat_of=destination.vat_of,
            reason="Reverse charge (Directive 2006/112/EC art. 38, 195)",
        )
    outside = _outside(
        f"dealer/seat_{destination.regime}",
        payer=Payer.CUSTOMER,
        reason="Electricity to a taxable dealer is supplied at its seat, outside VAT here (art. 38)",
    )
    return _with_acquisition(
        outside, destination, SupplyKind.ELECTRICITY, day=day, rates=rates, source="MWSTG art. 45(1)(d)"
    )


def _domestic_dealer(supplier: Trader, dealer: Trader, *, day: date, rates: VatRates) -> VatDecision:
    destination, origin = dealer.tax_jurisdiction, supplier.tax_jurisdiction
    domestic = DOMESTIC_REVERSE_CHARGE.get(vat_area(destination))
    if domestic is not None and domestic.applies(day, supplier_is_dealer=supplier.taxable_dealer):
        return _reverse_charge(
            "dealer/domestic_reverse_charge",
            vat_of=destination.vat_of,
            reason=f"Reverse charge ({domestic.source})",
        )
    # Electricity to a dealer is supplied where the dealer is established (art. 38; MWSTG art. 7(2)): where
    # either lies outside VAT on goods, that place decides.
    apart = Regime.CH_SERVICES in (origin.regime, destination.regime)
    return _local(
        "dealer/domestic",
        destination if apart else origin,
        day,
        rates,
        reason=f"Domestic supply to a dealer in {destination.vat_of} (art. 38)",
    )


def _service(supplier: Trader, customer: Trader, day: date, rates: VatRates) -> VatDecision:
    destination, origin = customer.tax_jurisdiction, supplier.tax_jurisdiction
    if _same_vat_area(destination, origin):
        rate = rates.rate(origin.vat_of, SupplyKind.SERVICE, day)
        return _standard(
            "service/domestic", vat_of=origin.vat_of, rate=rate, reason=f"Domestic service in {origin.vat_of}"
        )
    if destination.regime is Regime.EU and origin.regime is Regime.EU:
        if customer.vat_id is None:
            rate = rates.rate(origin.vat_of, SupplyKind.SERVICE, day)
            return _standard(
                "service/unidentified",
                vat_of=origin.vat_of,
                rate=rate,
                flags=("customer_without_vat_id",),
                reason="The customer has proven no VAT id: no reverse charge",
            )
        return _reverse_charge(
            "service/union",
            vat_of=destination.vat_of,
            reason="Reverse charge (Directive 2006/112/EC art. 44, 196)",
        )
    flags = () if customer.vat_id is not None else ("customer_without_vat_id",)
    outside = _outside(
        f"service/to_{destination.regime}",
        payer=Payer.CUSTOMER,
        flags=flags,
        reason="Service to a business abroad, taxed at its seat (art. 44; MWSTG art. 8(1))",
    )
    return _with_acquisition(
        outside, destination, SupplyKind.SERVICE, day=day, rates=rates, source="MWSTG art. 45(1)(a)"
    )


def _site(place: TaxJurisdiction, day: date, rates: VatRates) -> VatDecision:
    if place.regime is Regime.NONE:
        return _outside(
            "site/no_vat_tax_jurisdiction", reason=f"{place.code} lies outside any VAT tax_jurisdiction"
        )
    rate = rates.rate(place.vat_of, SupplyKind.SERVICE, day)
    return _standard(
        "site/local", vat_of=place.vat_of, rate=rate, reason="Use of ground is taxed where it lies (art. 47)"
    )


def _same_vat_area(left: TaxJurisdiction, right: TaxJurisdiction) -> bool:
    """Whether a supply between them is domestic.

    A tax jurisdiction without VAT is in no area, not even its own.
    """
    return bool(left.vat_of and right.vat_of) and vat_area(left) == vat_area(right)


def vat_area(tax_jurisdiction: TaxJurisdiction) -> str:
    """The area that one VAT registration serves; of a tax jurisdiction without VAT that of its country."""
    own = tax_jurisdiction.vat_of or tax_jurisdiction.country
    return VAT_AREAS.get(own, own)


def _with_acquisition(
    decision: VatDecision,
    destination: TaxJurisdiction,
    supply: SupplyKind,
    *,
    day: date,
    rates: VatRates,
    source: str,
) -> VatDecision:
    """A Swiss customer declares the tax itself (Bezugsteuer); it shows on no invoice."""
    if destination.regime not in (_SWISS if supply is SupplyKind.SERVICE else {Regime.CH}):
        return decision
    rate = rates.rate(destination.vat_of, supply, day)
    return replace(
        decision,
        acquisition_of=destination.vat_of,
        acquisition_rate=rate,
        reason=f"{decision.reason}; acquisition tax ({source})",
    )
