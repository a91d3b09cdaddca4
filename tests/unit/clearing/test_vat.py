"""The VAT decision table, one row a case, and the dated rates beside two independent sources."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import duty27_eu_vat
import eu_vat_rates_data
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import RateUnavailableError, UnclearableError
from clearing.reference_data import bundled_data
from clearing.tax.domestic_reverse_charge import DOMESTIC_REVERSE_CHARGE
from clearing.tax.vat import (
    NOT_REGISTERED,
    Category,
    CustomerKind,
    Payer,
    SupplyLeg,
    Trader,
    VatDecision,
    decide,
)
from clearing.tax.vat_rates import SupplyKind

RATES = bundled_data.vat_rates()
DAY = date(2026, 10, 13)
# Where the seller to drivers is registered beside its place of establishment, by VAT area.
REGISTERED = ("DE", "FR", "GB", "GR", "HR", "IE", "NL", "NO")


def trader(
    code: str, *, vat_id: bool = True, dealer: bool = False, small: bool = False, also: Sequence[str] = ()
) -> Trader:
    return Trader(
        party_id=code,
        tax_jurisdiction=RATES.tax_jurisdiction(code),
        vat_id=f"{code}1" if vat_id else None,
        vat_ids={area: f"{area}2" for area in also},
        taxable_dealer=dealer,
        small_business=small,
    )


def between(
    leg: SupplyLeg, supplier: Trader, customer: Trader, *, place: str | None = None, day: date = DAY
) -> VatDecision:
    at = RATES.tax_jurisdiction(place or supplier.tax_jurisdiction.code)
    return decide(leg, supplier=supplier, customer=customer, place=at, day=day, rates=RATES)


def to_driver(
    place: str, *, business: Trader | None = None, supplier: str = "CH", day: date = DAY, small: bool = False
) -> VatDecision:
    return decide(
        SupplyLeg.TO_DRIVER,
        supplier=trader(supplier, small=small, also=REGISTERED),
        customer=business,
        customer_kind=CustomerKind.CONSUMER if business is None else CustomerKind.BUSINESS,
        place=RATES.tax_jurisdiction(place),
        day=day,
        rates=RATES,
    )


CH_DEALER = trader("CH", dealer=True)
DE_DEALER = trader("DE", dealer=True)
FR_DEALER = trader("FR", dealer=True)
GB_DEALER = trader("GB", dealer=True)
UNPROVEN_DEALER = trader("DE", dealer=True, vat_id=False)

# (supplier, dealer) -> (category, rate, payer, acquisition tax jurisdiction, rule)
TO_DEALER = [
    # Directive 2006/112/EC art. 38, 195: a dealer in another member state.
    ("NL", DE_DEALER, Category.REVERSE_CHARGE, "0", Payer.CUSTOMER, None, "dealer/union"),
    ("XI", DE_DEALER, Category.REVERSE_CHARGE, "0", Payer.CUSTOMER, None, "dealer/union"),
    # Both in one state, which has no reverse charge of its own for electricity.
    ("NL", trader("NL", dealer=True), Category.STANDARD, "21", Payer.SUPPLIER, None, "dealer/domestic"),
    ("EE", trader("EE", dealer=True), Category.STANDARD, "24", Payer.SUPPLIER, None, "dealer/domestic"),
    # UStG § 13b(2) no. 5(b) needs a supplier that is a dealer too; CGI art. 283(2 quinquies) does not.
    ("DE", DE_DEALER, Category.STANDARD, "19", Payer.SUPPLIER, None, "dealer/domestic"),
    ("FR", FR_DEALER, Category.REVERSE_CHARGE, "0", Payer.CUSTOMER, None, "dealer/domestic_reverse_charge"),
    # A dealer seated outside the EU: no EU VAT; the Swiss one declares acquisition tax, MWSTG art. 45(1)(d).
    ("NL", CH_DEALER, Category.OUTSIDE, "0", Payer.CUSTOMER, "CH", "dealer/seat_ch"),
    ("GB", CH_DEALER, Category.OUTSIDE, "0", Payer.CUSTOMER, "CH", "dealer/seat_ch"),
    ("NL", trader("NO", dealer=True), Category.OUTSIDE, "0", Payer.CUSTOMER, None, "dealer/seat_no"),
    ("CH", trader("GB", dealer=True), Category.OUTSIDE, "0", Payer.CUSTOMER, None, "dealer/seat_uk"),
    # MWSTG art. 7(2): a Swiss CPO to a dealer abroad whose place of establishment is proven.
    ("CH", DE_DEALER, Category.OUTSIDE, "0", Payer.CUSTOMER, None, "dealer/ch_to_abroad"),
    # Within the Swiss VAT area, the enclave of Büsingen included.
    ("CH", CH_DEALER, Category.STANDARD, "8.1", Payer.SUPPLIER, None, "dealer/domestic"),
    ("DE-BUSINGEN", CH_DEALER, Category.STANDARD, "8.1", Payer.SUPPLIER, None, "dealer/domestic"),
    ("LI", CH_DEALER, Category.STANDARD, "8.1", Payer.SUPPLIER, None, "dealer/domestic"),
    # Monaco and Northern Ireland are domestic to France and the United Kingdom.
    ("MC", FR_DEALER, Category.REVERSE_CHARGE, "0", Payer.CUSTOMER, None, "dealer/domestic_reverse_charge"),
    ("XI", GB_DEALER, Category.REVERSE_CHARGE, "0", Payer.CUSTOMER, None, "dealer/domestic_reverse_charge"),
    # Missing or invalid evidence is never a reverse charge: taxed where it is charged.
    ("NL", UNPROVEN_DEALER, Category.STANDARD, "21", Payer.SUPPLIER, None, "dealer/unproven"),
    ("NL", trader("DE", dealer=False), Category.STANDARD, "21", Payer.SUPPLIER, None, "dealer/unproven"),
]


@pytest.mark.parametrize("case", TO_DEALER, ids=lambda case: f"{case[0]}-{case[1].party_id}-{case[6]}")
def test_the_supply_to_a_dealer(case: tuple[str, Trader, Category, str, Payer, str | None, str]) -> None:
    supplier, dealer, category, rate, payer, acquisition, rule = case
    found = between(SupplyLeg.TO_DEALER, trader(supplier), dealer)
    assert (found.category, found.rate, found.payer) == (category, Decimal(rate), payer)
    assert (found.acquisition_of, found.rule) == (acquisition, rule)
    assert found.acquisition_rate == (Decimal("8.1") if acquisition else 0)
    assert found.reason


@pytest.mark.parametrize("state", sorted(DOMESTIC_REVERSE_CHARGE))
def test_a_domestic_reverse_charge_has_a_first_day_and_a_last_one(state: str) -> None:
    row = DOMESTIC_REVERSE_CHARGE[state]
    assert not row.applies(row.first_day - timedelta(days=1), supplier_is_dealer=True)
    assert row.applies(row.first_day, supplier_is_dealer=True)
    assert row.applies(row.first_day, supplier_is_dealer=False) is (state != "DE")
    assert row.source
    if state == "GB":
        assert row.last_day is None, "the directive does not bound the United Kingdom"
        return
    # Directive 2006/112/EC art. 199a(1): until 31 December 2026.
    assert row.last_day == date(2026, 12, 31)
    assert row.applies(date(2026, 12, 31), supplier_is_dealer=True)
    assert not row.applies(date(2027, 1, 1), supplier_is_dealer=True)


def test_after_its_last_day_a_domestic_supply_to_a_dealer_bears_vat_again() -> None:
    for day, category in (
        (date(2026, 12, 31), Category.REVERSE_CHARGE),
        (date(2027, 1, 1), Category.STANDARD),
    ):
        found = decide(
            SupplyLeg.TO_DEALER,
            supplier=trader("CZ"),
            customer=trader("CZ", dealer=True),
            place=RATES.tax_jurisdiction("CZ"),
            day=day,
            rates=RATES,
        )
        assert found.category is category


def test_a_german_dealer_who_buys_from_a_dealer_owes_the_tax_itself() -> None:
    found = between(SupplyLeg.TO_DEALER, trader("DE", dealer=True), DE_DEALER)
    assert (found.category, found.exemption_code) == (Category.REVERSE_CHARGE, "VATEX-EU-AE")


# (charge point, business customer) -> (category, rate, VAT of, flags)
TO_DRIVER = [
    ("NL", None, Category.STANDARD, "21", "NL", ()),
    ("IE", None, Category.STANDARD, "9", "IE", ()),
    ("GB", None, Category.STANDARD, "20", "GB", ()),
    ("XI", None, Category.STANDARD, "20", "XI", ()),
    ("NO", None, Category.STANDARD, "25", "NO", ()),
    ("LI", None, Category.STANDARD, "8.1", "LI", ()),
    ("MC", None, Category.STANDARD, "20", "MC", ()),
    ("DE-BUSINGEN", None, Category.STANDARD, "8.1", "CH", ()),
    ("IT-LIVIGNO", None, Category.OUTSIDE, "0", "", ()),
    ("SJ", None, Category.OUTSIDE, "0", "", ()),
    ("GR", None, Category.STANDARD, "6", "GR", ()),  # AADE E.2060/2023
    ("HR", None, Category.STANDARD, "13", "HR", ()),  # opinion 410-19/23-02/262
    ("CH-SAMNAUN", None, Category.OUTSIDE, "0", "", ()),  # MWSTG art. 3(b), 4(1): electricity is a good
    # A German business at a Swiss charge point: abroad by MWSTG art. 7(2), perhaps taxed nowhere.
    ("CH", trader("DE"), Category.OUTSIDE, "0", "", ("possible_double_non_taxation",)),
    ("CH", trader("CH"), Category.STANDARD, "8.1", "CH", ()),
    # A Swiss business at a German charge point: local VAT by art. 39, perhaps taxed twice.
    ("DE", trader("CH"), Category.STANDARD, "19", "DE", ("possible_double_taxation",)),
    # A business identified where it charges, from a supplier not established there: art. 195.
    ("DE", trader("DE"), Category.REVERSE_CHARGE, "0", "DE", ()),
    ("DE", trader("DE", vat_id=False), Category.STANDARD, "19", "DE", ()),
    ("DE", trader("NL"), Category.STANDARD, "19", "DE", ()),
    ("GB", trader("DE"), Category.STANDARD, "20", "GB", ()),
]


@pytest.mark.parametrize(
    "case", TO_DRIVER, ids=lambda case: f"{case[0]}-{case[1].party_id if case[1] else 'consumer'}"
)
def test_the_supply_to_the_driver(
    case: tuple[str, Trader | None, Category, str, str, tuple[str, ...]],
) -> None:
    place, business, category, rate, vat_of, flags = case
    found = to_driver(place, business=business)
    assert (found.category, found.rate, found.vat_of, found.flags) == (category, Decimal(rate), vat_of, flags)


@pytest.mark.parametrize(
    ("place", "registered", "flagged"),
    [
        ("NL", (), True),
        ("NL", ("NL",), False),
        ("NL", ("DE",), True),
        ("XI", ("GB",), False),
        ("MC", ("FR",), False),  # one area, one registration
        ("CH", (), False),
        ("LI", (), False),
        ("DE-BUSINGEN", (), False),  # the area of the place of establishment
        ("SJ", (), False),
        ("IT-LIVIGNO", (), False),  # no VAT, no registration
    ],
)
def test_who_sells_to_drivers_must_be_registered_where_it_owes_the_vat(
    place: str, registered: tuple[str, ...], *, flagged: bool
) -> None:
    found = decide(
        SupplyLeg.TO_DRIVER,
        supplier=trader("CH", also=registered),
        customer=None,
        customer_kind=CustomerKind.CONSUMER,
        place=RATES.tax_jurisdiction(place),
        day=DAY,
        rates=RATES,
    )
    assert (found.flags == (NOT_REGISTERED,)) is flagged
    if flagged:  # the VAT is owed all the same, so it is set aside
        assert (found.category, found.payer) == (Category.STANDARD, Payer.SUPPLIER)


def test_a_business_registered_where_it_charges_is_identified_there() -> None:
    found = to_driver("DE", business=trader("CH", also=("DE",)))
    assert (found.category, found.payer) == (Category.REVERSE_CHARGE, Payer.CUSTOMER)


def test_an_established_supplier_charges_an_identified_business() -> None:
    found = to_driver("DE", business=trader("DE"), supplier="DE")
    assert (found.category, found.rate) == (Category.STANDARD, 19)


def test_a_small_business_shows_no_vat() -> None:
    found = to_driver("NL", supplier="NL", small=True)
    assert (found.category, found.exemption_code) == (Category.EXEMPT, None)
    french = to_driver("FR", supplier="FR", small=True)
    assert (french.category, french.exemption_code) == (Category.EXEMPT, "VATEX-FR-FRANCHISE")


# (supplier, customer) -> (category, rate, acquisition, flags)
SERVICES = [
    ("CH", trader("CH"), Category.STANDARD, "8.1", None, ()),
    ("NL", trader("NL"), Category.STANDARD, "21", None, ()),
    ("DE", trader("NL"), Category.REVERSE_CHARGE, "0", None, ()),  # art. 44, 196
    ("DE", trader("NL", vat_id=False), Category.STANDARD, "19", None, ("customer_without_vat_id",)),
    ("DE", CH_DEALER, Category.OUTSIDE, "0", "CH", ()),  # MWSTG art. 45(1)(a)
    ("CH", trader("NL"), Category.OUTSIDE, "0", None, ()),  # MWSTG art. 8(1)
    ("CH", trader("NL", vat_id=False), Category.OUTSIDE, "0", None, ("customer_without_vat_id",)),
    ("NL", trader("GB"), Category.OUTSIDE, "0", None, ()),
    (
        "XI",
        trader("NL"),
        Category.OUTSIDE,
        "0",
        None,
        (),
    ),  # services of Northern Ireland follow the United Kingdom
]


@pytest.mark.parametrize("case", SERVICES, ids=lambda case: f"{case[0]}-{case[1].party_id}-{case[2]}")
def test_fees_and_commissions(case: tuple[str, Trader, Category, str, str | None, tuple[str, ...]]) -> None:
    supplier, customer, category, rate, acquisition, flags = case
    found = between(SupplyLeg.COMMISSION, trader(supplier), customer)
    assert (found.category, found.rate) == (category, Decimal(rate))
    assert (found.acquisition_of, found.flags) == (acquisition, flags)
    assert between(SupplyLeg.FEE, trader(supplier), customer) == found


def test_the_use_of_ground_is_taxed_where_it_lies() -> None:
    found = between(SupplyLeg.SITE, trader("DE", also=("NL",)), CH_DEALER, place="NL")
    assert (found.category, found.rate, found.vat_of) == (Category.STANDARD, 21, "NL")
    # Directive art. 226(3): the id under which that very supply was made, not any id.
    foreign = between(SupplyLeg.SITE, trader("DE"), CH_DEALER, place="NL")
    assert (foreign.category, foreign.rate) == (Category.OUTSIDE, 0)
    assert foreign.flags == ("supplier_without_vat_id",)
    assert "no VAT id of NL" in foreign.reason
    assert between(SupplyLeg.SITE, trader("IT"), CH_DEALER, place="IT-LIVIGNO").category is Category.OUTSIDE


@pytest.mark.parametrize("leg", [SupplyLeg.TO_DEALER, SupplyLeg.COMMISSION, SupplyLeg.SITE])
def test_vat_is_not_shown_by_one_who_may_not(leg: SupplyLeg) -> None:
    # Directive 2006/112/EC art. 203: VAT on an invoice is owed, so a self-billed invoice must not invent it.
    unproven = between(leg, trader("CH", vat_id=False), CH_DEALER)
    assert (unproven.category, unproven.rate) == (Category.OUTSIDE, 0)
    assert "supplier_without_vat_id" in unproven.flags
    small = between(leg, trader("CH", small=True), CH_DEALER)
    assert (small.category, small.rate, small.exemption_code) == (Category.EXEMPT, 0, None)


@pytest.mark.parametrize(
    ("tax_jurisdiction", "day", "rate"),
    [
        ("CH", date(2023, 12, 31), "7.7"),
        ("CH", date(2024, 1, 1), "8.1"),
        ("DE", date(2020, 6, 30), "19"),
        ("DE", date(2020, 7, 1), "16"),
        ("DE", date(2020, 12, 31), "16"),
        ("DE", date(2021, 1, 1), "19"),
        ("EE", date(2025, 6, 30), "22"),
        ("EE", date(2025, 7, 1), "24"),
        ("SK", date(2024, 12, 31), "20"),
        ("SK", date(2025, 1, 1), "23"),
        ("FI", date(2024, 8, 31), "24"),
        ("FI", date(2024, 9, 1), "25.5"),
        ("GR", date(2023, 10, 11), "24"),
        ("GR", date(2023, 10, 12), "6"),
        ("HR", date(2024, 3, 24), "25"),
        ("HR", date(2024, 3, 25), "13"),
        ("RO", date(2025, 7, 31), "19"),
        ("RO", date(2025, 8, 1), "21"),
    ],
)
def test_a_rate_changes_at_its_local_date(tax_jurisdiction: str, day: date, rate: str) -> None:
    assert RATES.rate(tax_jurisdiction, SupplyKind.ELECTRICITY, day) == Decimal(rate)


def test_irish_parking_alone_is_not_electricity() -> None:
    assert RATES.rate("IE", SupplyKind.ELECTRICITY, DAY) == 9
    assert RATES.rate("IE", SupplyKind.PARKING, DAY) == 23


def test_an_unconfirmed_reduced_rate_is_not_used() -> None:
    assert RATES.rate("LU", SupplyKind.ELECTRICITY, DAY) == 17
    assert RATES.rate("MT", SupplyKind.ELECTRICITY, DAY) == 18


@pytest.mark.parametrize(
    "code",
    ["AT-JU", "ES-CE", "ES-CN", "ES-ML", "FR-OUTRE-MER", "GR-AEGEAN", "IT-CAMPIONE", "JE"],
)
def test_a_tax_jurisdiction_whose_tax_is_not_confirmed_is_an_exception(code: str) -> None:
    with pytest.raises(RateUnavailableError, match=f"of {code} covers .*add a dated row"):
        to_driver(code)


def test_samnaun_is_swiss_for_services_and_outside_for_electricity() -> None:
    # MWSTG art. 4(1); art. 7(2): electricity to a dealer is supplied where the dealer is established.
    there = trader("CH-SAMNAUN", dealer=True)
    assert between(SupplyLeg.COMMISSION, there, CH_DEALER).rate == Decimal("8.1")
    assert between(SupplyLeg.SITE, trader("CH"), CH_DEALER, place="CH-SAMNAUN").rate == Decimal("8.1")
    assert between(SupplyLeg.COMMISSION, trader("NL"), there).acquisition_of == "CH"
    assert between(SupplyLeg.TO_DEALER, there, CH_DEALER).rate == Decimal("8.1")
    assert between(SupplyLeg.TO_DEALER, trader("CH"), there).category is Category.OUTSIDE
    assert between(SupplyLeg.TO_DEALER, trader("NL"), there).acquisition_of is None


def test_what_no_row_covers_is_rejected() -> None:
    with pytest.raises(RateUnavailableError):
        RATES.rate("CH", SupplyKind.ELECTRICITY, date(2010, 1, 1))
    with pytest.raises(UnclearableError, match="not known"):
        RATES.tax_jurisdiction("QQ")


# The list has whole states only; the parts with rates of their own are held to their law elsewhere.
@pytest.mark.parametrize(
    "code",
    sorted({row.tax_jurisdiction for row in bundled_data.vat_rate_rows() if "-" not in row.tax_jurisdiction}),
)
def test_todays_standard_rates_agree_with_an_independent_list(code: str) -> None:
    expected = Decimal(str(eu_vat_rates_data.get_standard_rate(code)))
    assert RATES.rate(code, SupplyKind.SERVICE, date(2026, 9, 29)) == expected


@pytest.mark.parametrize("country", duty27_eu_vat.list_countries(), ids=lambda country: country.code)
def test_dated_standard_rates_agree_with_an_independent_history(country: duty27_eu_vat.Country) -> None:
    code = "GR" if country.code == "EL" else country.code
    for window in duty27_eu_vat.get_rate_history(country.code):
        first = max(window.effective_from, date(2017, 1, 1))
        if duty27_eu_vat.get_standard_rate(country.code, first) == window.rate:
            assert RATES.rate(code, SupplyKind.SERVICE, first) == window.rate, (code, first)


EVERYONE = st.builds(
    trader,
    st.sampled_from(["CH", "LI", "DE", "NL", "FR", "GB", "NO", "XI", "DE-BUSINGEN"]),
    vat_id=st.booleans(),
    dealer=st.booleans(),
    small=st.booleans(),
)


@given(
    leg=st.sampled_from([SupplyLeg.TO_DEALER, SupplyLeg.COMMISSION, SupplyLeg.FEE, SupplyLeg.SITE]),
    supplier=EVERYONE,
    customer=EVERYONE,
    place=st.sampled_from(["CH", "DE", "NL", "FR", "GB", "NO", "SJ"]),
)
def test_the_table_decides_every_case_and_its_invariants_hold(
    leg: SupplyLeg, supplier: Trader, customer: Trader, place: str
) -> None:
    found = between(leg, supplier, customer, place=place)
    assert (found.rate > 0) == (found.category is Category.STANDARD)
    if found.category is Category.REVERSE_CHARGE:
        assert customer.vat_id is not None  # never by absence
    if found.category is Category.STANDARD:
        assert supplier.identified_in(found.vat_of) is not None
        assert found.payer is Payer.SUPPLIER
        assert found.exemption_code is None
    elif found.category is Category.EXEMPT:  # a small business: only France has a code for it
        assert found.exemption_code in {None, "VATEX-FR-FRANCHISE"}
    else:
        assert found.exemption_code is not None
