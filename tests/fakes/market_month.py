"""A month of a market computed a second time, from the events alone.

It imports nothing of clearing, gateway or pnc: the rules are written down here once more, in the plainest
way, with fractions instead of decimals.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class Sale:
    """A session paid by card: gross in minor units, sold where `country` is, brought by `partner`.

    `site` owns the ground; `corrected` is what a credit CDR took off the price. `by_cpo`: the CPO sells in
    its own name, and the platform is its agent. `prepaid`: paid from the partner's funds, not by card.
    `business`: bought by one that is identified for VAT where it charges, though it was named after clearing.
    """

    number: int
    cpo: str
    country: str
    currency: str
    partner: str
    gross: int
    psp_fee: int
    site: str = ""
    refunds: tuple[int, ...] = ()
    corrected: int = 0
    by_cpo: bool = False
    disputed: bool = False
    prepaid: bool = False
    business: bool = False


@dataclass(frozen=True, kw_only=True)
class Company:
    """Where a party is established, and in which currency it is paid."""

    country: str
    currency: str


@dataclass
class Month:
    """Balances (credits minus debits) by account and currency, VAT figures, and what each party is owed.

    `documents`: net and VAT shown of what each party supplied, by currency of the sale. `drivers`: the same
    of what each seller sold to drivers.
    """

    balances: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    vat: dict[tuple[str, str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    owed: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    documents: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    drivers: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))


VAT = {"NL": Fraction(21), "DE": Fraction(19), "CH": Fraction(81, 10)}
RESERVE = Fraction(1, 10)  # of what NL-ABC is owed for sales less refunds, for some days


def points(sale: Sale) -> list[int]:
    """Basis points of the CPO, the partner, the platform and the site host."""
    return [7500, 800, 1200, 500] if sale.site else [8000, 800, 1200, 0]


def half_up(value: Fraction) -> int:
    """Half away from zero."""
    sign = -1 if value < 0 else 1
    return sign * int(abs(value) + Fraction(1, 2))


def largest_remainder(whole: int, weights: Sequence[int]) -> list[int]:
    """Parts of `whole` by weight that sum to it, by largest remainder, ties to the earlier."""
    exact = [Fraction(whole * weight, sum(weights)) for weight in weights]
    parts = [int(value) for value in exact]
    order = sorted(range(len(parts)), key=lambda place: (int(exact[place]) - exact[place], place))
    for place in order[: whole - sum(parts)]:
        parts[place] += 1
    return parts


def compute(
    sales: Sequence[Sale], companies: Mapping[str, Company], rates: Mapping[tuple[str, str], Fraction]
) -> Month:
    """The month after every sale and whole refund. `rates`: one unit of the first currency in the second."""
    month = Month()
    for sale in sales:
        # The Swiss platform is not established there: a business that is identified owes the VAT itself.
        percent = Fraction(0) if sale.business else VAT[sale.country]
        net = half_up(sale.gross * 100 / (100 + percent))
        vat = sale.gross - net
        parts = largest_remainder(net, points(sale))
        source = f"partner:{sale.partner}:funds" if sale.prepaid else "psp:stripe:receivable"
        month.balances[source, sale.currency] -= sale.gross
        month.balances["psp:stripe:receivable", sale.currency] += sale.psp_fee
        month.balances["platform:psp:expense", sale.currency] -= sale.psp_fee
        driver = month.drivers[sale.cpo if sale.by_cpo else "platform", sale.currency]
        driver[0] += net
        driver[1] += vat
        _book(month, sale, (net, vat, parts), companies, rates)
        back = sale.gross if sale.disputed else sum(sale.refunds) + sale.corrected
        if back:
            # The driver gets it, each party gives its part; the PSP keeps its fee.
            month.balances[source, sale.currency] += back
            net_back, vat_back = largest_remainder(back, [net, vat])
            if not sale.disputed:  # what is disputed was supplied all the same
                driver[0] -= net_back
                driver[1] -= vat_back
            parts_back = [-part for part in largest_remainder(net_back, parts)]
            _book(month, sale, (-net_back, -vat_back, parts_back), companies, rates)
    return month


def _book(
    month: Month,
    sale: Sale,
    amounts: tuple[int, int, Sequence[int]],
    companies: Mapping[str, Company],
    rates: Mapping[tuple[str, str], Fraction],
) -> None:
    """A supply to the driver and those behind it; negative amounts take it back."""
    net, vat, (cpo_part, partner_part, platform_part, site_part) = amounts
    if sale.by_cpo:
        month.balances["platform:fee:revenue", sale.currency] += platform_part
        _book_agent(month, sale, (vat, cpo_part, partner_part, platform_part), companies, rates)
        return
    if sale.disputed and net < 0:
        # Nothing was supplied back: the VAT stays due, and the platform bears it.
        month.balances["platform:dispute:expense", sale.currency] += vat
    else:
        month.balances[f"vat:{sale.country}:output", sale.currency] += vat
        if not sale.business:
            figure(month, ("output", sale.country, sale.currency), net, vat)
    month.balances["platform:fee:revenue", sale.currency] += platform_part
    parts = [("cpo", sale.cpo, cpo_part), ("partner", sale.partner, partner_part)]
    parts += [("site", sale.site, site_part)] if sale.site else []
    for kind, party, part in parts:
        company = companies[party]
        # The use of ground is taxed where it lies, by its owner; the other supplies where the platform is.
        of = sale.country if kind == "site" else "CH"
        tax = half_up(part * VAT[of] / 100)
        owed = part
        month.balances[f"vat:{of}:input", sale.currency] -= tax
        figure(month, ("input", of, sale.currency), part, tax)
        shown = tax if company.country == of else 0
        month.documents[party, sale.currency][0] += part
        month.documents[party, sale.currency][1] += shown
        if company.country == of:
            owed += tax  # a supplier of the same country adds its VAT
        else:
            # From abroad: acquisition tax, declared and deducted at once.
            month.balances["vat:CH:acquisition", sale.currency] += tax
            figure(month, ("acquisition", "CH", sale.currency), part, tax)
        _owe(month, (kind, party, sale.currency), owed, company, rates)


def _owe(
    month: Month,
    whom: tuple[str, str, str],
    owed: int,
    company: Company,
    rates: Mapping[tuple[str, str], Fraction],
) -> None:
    """Owe a kind of party a sum in a currency, converted to the one in which it is paid."""
    kind, party, currency = whom
    if company.currency != currency:
        pair = f"fx:{currency}-{company.currency}:position"
        month.balances[pair, currency] += owed
        owed = half_up(owed * rates[currency, company.currency])
        month.balances[pair, company.currency] -= owed
    month.balances[f"{kind}:{party}:payable", company.currency] += owed
    month.owed[party, company.currency] += owed


def _book_agent(
    month: Month,
    sale: Sale,
    amounts: tuple[int, int, int, int],
    companies: Mapping[str, Company],
    rates: Mapping[tuple[str, str], Fraction],
) -> None:
    """The CPO's sale: its own VAT, and from its part it pays the partner's VAT, where that is of its country.

    The platform's fee is taxed where the CPO is, which declares it: it is outside the Swiss platform's VAT.
    """
    vat, cpo_part, partner_part, fee = amounts
    partner = companies[sale.partner]
    tax = half_up(partner_part * VAT[sale.country] / 100) if partner.country == sale.country else 0
    month.documents[sale.partner, sale.currency][0] += partner_part
    month.documents[sale.partner, sale.currency][1] += tax
    month.documents["platform", sale.currency][0] += fee
    figure(month, ("outside", "", sale.currency), fee, 0)
    cpo = companies[sale.cpo]
    _owe(month, ("cpo", sale.cpo, sale.currency), cpo_part + vat - tax, cpo, rates)
    _owe(month, ("partner", sale.partner, sale.currency), partner_part + tax, partner, rates)


def figure(month: Month, key: tuple[str, str, str], base: int, tax: int) -> None:
    """Add to a figure of the VAT return: side, country, currency."""
    figures = month.vat[key]
    figures[0] += base
    figures[1] += tax
