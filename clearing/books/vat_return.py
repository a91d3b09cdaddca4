"""VAT figures of a period by country, rate and category, proved against the VAT accounts.

Owns: which side of a return each supply belongs to. Must not know: the database, any country's form.
Sources: Directive 2006/112/EC art. 168(a) and 196 (tax on reverse charge, due and deducted), art. 250 to 262
(return, recapitulative statement), art. 359 to 369 (OSS); MWSTG art. 45 (acquisition tax). A return's boxes
differ by country; these are the figures that go into them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from clearing.books.return_rates import ReturnRates
from clearing.documents.tax_currency import state_currency
from clearing.money import vat_on
from clearing.parties.party import PLATFORM_ID
from clearing.tax.vat import Category, SupplyLeg

# OSS for electricity at charge points is not confirmed by any administration: figures are shown, never
# declared.
OSS_ENABLED: Final = False


class VatSide(StrEnum):
    """Where in a return a figure belongs."""

    OUTPUT = "output"
    INPUT = "input"
    REVERSE_CHARGE_SUPPLIED = "reverse_charge_supplied"
    REVERSE_CHARGE_RECEIVED = "reverse_charge_received"
    REVERSE_CHARGE_DEDUCTED = "reverse_charge_deducted"
    ACQUISITION = "acquisition"
    EXEMPT = "exempt"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplySum:
    """Supplies of one kind between two parties on one day; corrections count with their sign.

    `booked_on` is the day in the platform's time zone.
    `vat_of` and the rates are those of the ruling; `acquisition_minor` is what the customer declares itself.
    """

    leg: SupplyLeg
    supplier_id: str
    customer_id: str
    category: Category
    rate: Decimal
    vat_of: str
    acquisition_of: str | None
    acquisition_rate: Decimal
    currency: str
    net_minor: int
    vat_minor: int
    acquisition_minor: int
    supplies: int
    booked_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class VatFigure:
    """One line of the return: base and tax in minor units of the currency that was charged.

    `return_currency` is the one in which the country's tax is declared (the platform's, if it is of no
    country): each day's sum is converted at the
    rate of that day.
    """

    side: VatSide
    country: str
    rate: Decimal
    category: Category
    supply: SupplyLeg
    currency: str
    base_minor: int
    tax_minor: int
    supplies: int
    return_currency: str
    return_base_minor: int
    return_tax_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SalesListLine:
    """One line of the recapitulative statement (EC sales list): reverse charge, by customer."""

    customer_id: str
    vat_id: str | None
    country: str
    currency: str
    base_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OssLine:
    """Sales to consumers by member state. Shown only: OSS for charging is not confirmed (`OSS_ENABLED`)."""

    country: str
    rate: Decimal
    currency: str
    base_minor: int
    tax_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VatProof:
    """One VAT account's movement in the period beside the tax of its figures; the difference is rounding.

    `difference_minor` is what the account moved beyond the supplies.
    """

    account: str
    currency: str
    ledger_minor: int
    figures_minor: int

    @property
    def difference_minor(self) -> int:
        """Ledger minus figures."""
        return self.ledger_minor - self.figures_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class VatReturn:
    """The figures of a period."""

    figures: Sequence[VatFigure]
    sales_list: Sequence[SalesListLine]
    oss: Sequence[OssLine]
    proof: Sequence[VatProof]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerIdentity:
    """A customer of the platform: its VAT id if proven, and its country's code in a sales list."""

    vat_id: str | None
    country: str
    in_union: bool


def vat_return(
    supplies: Iterable[SupplySum],
    movements: Mapping[tuple[str, str], int],
    *,
    customers: Mapping[str, CustomerIdentity],
    platform_country: str,
    union: frozenset[str],
    rates: ReturnRates,
) -> VatReturn:
    """The return of what the platform supplied and received. Raises RateUnavailableError.

    `movements`: the period's movement of each VAT account and currency, on the account's own side. `union`:
    codes of territories within the EU's VAT. A supply between two other parties is theirs to declare.
    """
    own = [one for one in supplies if PLATFORM_ID in {one.supplier_id, one.customer_id}]
    sums: dict[tuple[object, ...], dict[date, list[int]]] = {}
    for one in own:
        for side, country, rate, tax in _sides(one, rates):
            key = (side, country, rate, one.category, one.leg, one.currency)
            total = sums.setdefault(key, {}).setdefault(one.booked_on, [0, 0, 0])
            for place, minor in enumerate((one.net_minor, tax, one.supplies)):
                total[place] += minor
    booked = _as_booked([_figure(key, days, platform_country) for key, days in sums.items()], movements)
    figures = [_in_return_currency(one, days, rates) for one, days in zip(booked, sums.values(), strict=True)]
    figures.sort(key=lambda one: (one.side, one.country, one.rate, one.supply, one.currency))
    return VatReturn(
        figures=figures,
        sales_list=_sales_list(own, customers, platform_country),
        oss=_oss(figures, union),
        proof=_proof(figures, movements),
    )


def _sides(one: SupplySum, rates: ReturnRates) -> list[tuple[VatSide, str, Decimal, int]]:
    """Side, country, rate and tax of each line that a supply belongs to."""
    if one.supplier_id == PLATFORM_ID:
        side = {
            Category.STANDARD: VatSide.OUTPUT,
            Category.REVERSE_CHARGE: VatSide.REVERSE_CHARGE_SUPPLIED,
            Category.EXEMPT: VatSide.EXEMPT,
            Category.OUTSIDE: VatSide.OUTSIDE,
        }[one.category]
        return [(side, one.vat_of, one.rate, one.vat_minor)]
    found: list[tuple[VatSide, str, Decimal, int]] = []
    if one.category is Category.STANDARD:
        found.append((VatSide.INPUT, one.vat_of, one.rate, one.vat_minor))
    elif one.category is Category.REVERSE_CHARGE:
        # A Swiss platform's acquisition tax is below; elsewhere the tax is due, and deducted at once.
        rate, tax = one.rate, 0
        if one.acquisition_of is None:
            rate = rates.charged_to_customer(one.vat_of, one.leg, one.booked_on)
            tax = vat_on(one.net_minor, rate)
            found.append((VatSide.REVERSE_CHARGE_DEDUCTED, one.vat_of, rate, tax))
        found.append((VatSide.REVERSE_CHARGE_RECEIVED, one.vat_of, rate, tax))
    if one.acquisition_of is not None:
        # Declared and deducted in one return: one line on each side.
        declared = (one.acquisition_of, one.acquisition_rate, one.acquisition_minor)
        found += [(side, *declared) for side in (VatSide.ACQUISITION, VatSide.INPUT)]
    return found or [(VatSide.OUTSIDE, one.vat_of, one.rate, 0)]


def _as_booked(figures: Sequence[VatFigure], movements: Mapping[tuple[str, str], int]) -> list[VatFigure]:
    """Acquisition tax as the ledger has it.

    A partial refund takes back the difference of two rounded amounts, not its own tax rounded: the largest
    figure of a country and currency bears what remains, on both sides of the return.
    """
    found = list(figures)
    for country, currency in sorted({(one.country, one.currency) for one in figures}):
        account = (f"vat:{country}:acquisition", currency)
        places = [
            place
            for place, one in enumerate(found)
            if (one.side, one.country, one.currency) == (VatSide.ACQUISITION, country, currency)
        ]
        if not places or account not in movements:
            continue
        missing = movements[account] - sum(found[place].tax_minor for place in places)
        largest = found[max(places, key=lambda place: abs(found[place].base_minor))]
        for place, one in enumerate(found):
            deducted = replace(largest, side=VatSide.INPUT)
            if one == largest or (one.side is VatSide.INPUT and _key(one) == _key(deducted)):
                found[place] = replace(one, tax_minor=one.tax_minor + missing)
    return found


def _key(one: VatFigure) -> tuple[object, ...]:
    return (one.country, one.rate, one.category, one.supply, one.currency)


def _figure(key: tuple[object, ...], days: Mapping[date, Sequence[int]], own_country: str) -> VatFigure:
    names = ("side", "country", "rate", "category", "supply", "currency")
    facts = dict(zip(names, key, strict=True))
    base, tax, supplies = (sum(column) for column in zip(*days.values(), strict=True))
    return VatFigure(  # type: ignore[arg-type,unused-ignore]
        **facts,  # type: ignore[arg-type]
        base_minor=base,
        tax_minor=tax,
        supplies=supplies,
        return_currency=state_currency(str(facts["country"]) or own_country),
        return_base_minor=0,
        return_tax_minor=0,
    )


def _in_return_currency(
    figure: VatFigure, days: Mapping[date, Sequence[int]], rates: ReturnRates
) -> VatFigure:
    """The figure with both of its amounts in its country's currency.

    What the ledger has beyond the days' sums counts on the last of them.
    """
    into, last = figure.return_currency, max(days)
    base = tax = 0
    for day, (day_base, day_tax, _) in days.items():
        base += rates.converted(day_base, figure.currency, into=into, day=day)
        tax += rates.converted(day_tax, figure.currency, into=into, day=day)
    remaining = figure.tax_minor - sum(day[1] for day in days.values())
    tax += rates.converted(remaining, figure.currency, into=into, day=last)
    return replace(figure, return_base_minor=base, return_tax_minor=tax)


def _sales_list(
    own: Iterable[SupplySum], customers: Mapping[str, CustomerIdentity], platform_country: str
) -> list[SalesListLine]:
    sums: dict[tuple[str, str], int] = {}
    for one in own:
        customer = customers.get(one.customer_id)
        listed = one.supplier_id == PLATFORM_ID and one.category is Category.REVERSE_CHARGE
        if listed and customer is not None and customer.in_union and customer.country != platform_country:
            key = (one.customer_id, one.currency)
            sums[key] = sums.get(key, 0) + one.net_minor
    return [
        SalesListLine(
            customer_id=customer_id,
            vat_id=customers[customer_id].vat_id,
            country=customers[customer_id].country,
            currency=currency,
            base_minor=minor,
        )
        for (customer_id, currency), minor in sorted(sums.items())
    ]


def _oss(figures: Iterable[VatFigure], union: frozenset[str]) -> list[OssLine]:
    return [
        OssLine(
            country=one.country,
            rate=one.rate,
            currency=one.currency,
            base_minor=one.base_minor,
            tax_minor=one.tax_minor,
        )
        for one in figures
        if one.side is VatSide.OUTPUT and one.supply is SupplyLeg.TO_DRIVER and one.country in union
    ]


def _proof(figures: Iterable[VatFigure], movements: Mapping[tuple[str, str], int]) -> list[VatProof]:
    accounts = {VatSide.OUTPUT: "output", VatSide.INPUT: "input", VatSide.ACQUISITION: "acquisition"}
    taxes: dict[tuple[str, str], int] = dict.fromkeys(movements, 0)
    for one in figures:
        if one.side in accounts:
            key = (f"vat:{one.country}:{accounts[one.side]}", one.currency)
            taxes[key] = taxes.get(key, 0) + one.tax_minor
    return [
        VatProof(
            account=account,
            currency=currency,
            ledger_minor=movements.get((account, currency), 0),
            figures_minor=tax,
        )
        for (account, currency), tax in sorted(taxes.items())
        if tax or movements.get((account, currency), 0)
    ]
