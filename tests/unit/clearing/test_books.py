"""Books: the chart, periods and rates, the forms' rules, and which side of a VAT return a supply is on."""

import csv
import io
import os
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st

from clearing.books import datev, saft
from clearing.books.chart import AccountSide, bundled_chart, parse_chart
from clearing.books.datev import DatevBatch, DatevPosting
from clearing.books.journal import DIALECTS, AccountMovement, converted, dialect, trial_balance_line
from clearing.books.period import ReportingRates, parse_monthly_rates, parse_period
from clearing.books.return_rates import ReturnRates
from clearing.books.saft import (
    SaftAccount,
    SaftHeader,
    SaftLine,
    SaftParty,
    SaftTotals,
    SaftTransaction,
)
from clearing.books.table_csv import trial_balance_csv, vat_return_csv
from clearing.books.vat_return import CustomerIdentity, SupplySum, VatReturn, VatSide, vat_return
from clearing.errors import InvalidBooksRequestError, InvalidChartError, RateUnavailableError
from clearing.fx import RateTable, ReferenceRate
from clearing.ledger import journal_entry
from clearing.parties.business_details import BusinessAddress, BusinessContact
from clearing.reference_data import bundled_data
from clearing.tax.vat import Category, SupplyLeg
from tests.fakes import market_month

CHART = "pattern,number,name,side\n"


def test_the_bundled_chart_has_a_row_for_every_account_that_the_ledger_can_have() -> None:
    fixed = [
        value
        for name, value in vars(journal_entry).items()
        if (name.isupper() and isinstance(value, str) and ":" in value) or name == "SUSPENSE"
    ]
    parties = [f"{kind}:X-1:payable" for kind in ("cpo", "partner", "emsp", "site")]
    others = ["partner:X-1:funds", "reserve:X-1", "vat:NL:output", "vat:NL:input", "vat:CH:acquisition"]
    paths = [*fixed, *parties, *others, "fx:EUR-CHF:position", "fx:EUR-CHF:result"]
    assert len(fixed) >= 12
    for path in paths:
        assert journal_entry.is_account(path), path
        assert bundled_chart().map(path).number


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n", "expected the columns"),
        (CHART + "x,1200,Bank,cash\n", "is none of"),
        (CHART + "x,,Bank,asset\n", "line 2"),
        (CHART + "x,1200,Bank,asset\ny,1200,Tax,liability\n", "use two numbers"),
    ],
)
def test_a_chart_that_contradicts_itself_is_rejected_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(InvalidChartError, match=problem):
        parse_chart(text)


def test_the_first_row_that_matches_counts_and_a_missing_one_is_named() -> None:
    chart = parse_chart(
        "\ufeff" + CHART + "cpo:NL-1:payable,70010,NL-1,liability\ncpo:*:payable,1610,CPOs,liability\n"
    )
    assert [chart.map(f"cpo:{name}:payable").number for name in ("NL-1", "NL-2")] == ["70010", "1610"]
    assert chart.map("cpo:NL-2:payable").party_id == "NL-2"
    with pytest.raises(InvalidChartError, match="suspense has no row"):
        chart.map("suspense")


@pytest.mark.parametrize(("side", "sign"), [(one, 1 if one.debit_positive else -1) for one in AccountSide])
def test_a_balance_is_positive_on_the_accounts_own_side(side: AccountSide, sign: int) -> None:
    account = replace(bundled_chart().map("bank:settlement"), side=side)
    moved = AccountMovement(
        account="bank:settlement",
        currency="EUR",
        before_debit_minor=700,
        before_credit_minor=200,
        debit_minor=50,
        credit_minor=20,
    )
    line = trial_balance_line(moved, account)
    assert (line.opening_minor, line.closing_minor) == (sign * 500, sign * 530)


# Periods and rates


def test_a_month_is_its_days_in_the_platforms_zone_also_when_the_clock_changes() -> None:
    month = parse_period("2026-10", time_zone="Europe/Zurich")
    assert (month.first, month.last) == (date(2026, 10, 1), date(2026, 10, 31))
    assert month.since.astimezone(UTC) == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert month.until.astimezone(UTC) == datetime(2026, 10, 31, 23, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-10-02/2026-10-01", "x/y", "2026-10-01", ""])
def test_what_is_no_period_is_rejected(text: str) -> None:
    with pytest.raises(InvalidBooksRequestError, match="period"):
        parse_period(text, time_zone="UTC")


@given(minor=st.integers(1, 10**12), rate=st.decimals("0.0001", "9999", places=6))
def test_a_transfer_is_converted_half_away_from_zero(minor: int, rate: Decimal) -> None:
    month = {("2026-10", "EUR"): (rate, "test")}
    rates = ReportingRates("CHF", RateTable(()), month)
    found = converted(minor, "EUR", date(2026, 10, 5), rates)
    assert abs(found - minor * rate) <= Decimal("0.5")
    assert converted(minor, "CHF", date(2026, 10, 5), rates) == minor
    with pytest.raises(RateUnavailableError):
        converted(minor, "EUR", date(2026, 11, 5), rates)


@pytest.mark.parametrize("row", ["2026-13,EUR,1,x", "2026-10,EUR,0,x", "2026-10,EUR,a,x", "2026-10,EUR,1,"])
def test_a_file_of_rates_names_its_bad_line(row: str) -> None:
    with pytest.raises(InvalidBooksRequestError, match="line 2"):
        parse_monthly_rates(f"month,currency,rate,source\n{row}\n")


def test_dialects_are_those_of_the_countries() -> None:
    assert {name: (one.delimiter, one.point) for name, one in DIALECTS.items() if one.bom} == {
        "de": (";", ","),
        "fr": (";", ","),
        "it": (";", ","),
        "ch": (";", "."),
        "en": (",", "."),
    }
    with pytest.raises(InvalidBooksRequestError, match="is none of"):
        dialect("xx")


# DATEV

BATCH = DatevBatch(
    adviser=29098,
    client=55003,
    year_start=date(2026, 1, 1),
    first=date(2026, 10, 1),
    last=date(2026, 10, 31),
    account_length=4,
    currency="EUR",
    name="networkcore 2026-10-01",
    created_at=datetime(2026, 11, 3, 9, 8, 7, 654321, tzinfo=UTC),
    locked=True,
)
POSTING = DatevPosting(
    amount_minor=123456,
    account="1361",
    contra="8400",
    day=date(2026, 10, 5),
    document="20261005-capture öß",
    text='capture "x"\n',
    notes={"Betrag": "1234,56 EUR"},
)


def test_a_datev_batch_has_the_fields_of_the_format_description() -> None:
    header, columns = datev.header_lines(BATCH)
    fields = header.removesuffix("\r\n").split(";")
    assert len(fields) == 31
    assert fields[:6] == ['"EXTF"', "700", "21", '"Buchungsstapel"', "13", "20261103090807654"]
    assert fields[10:16] == ["29098", "55003", "20260101", "4", "20261001", "20261031"]
    assert (fields[20], fields[21]) == ("1", '"EUR"')
    names = columns.removesuffix("\r\n").split(";")
    assert (len(names), len(set(names)), names[113], names[124]) == (
        125,
        125,
        "Festschreibung",
        "Abw. Skontokonto",
    )
    row = datev.posting_line(POSTING, BATCH).removesuffix("\r\n").split(";")
    assert len(row) == 125
    assert row[:3] == ["1234,56", '"S"', '"EUR"']
    assert row[6:8] == ["1361", "8400"]
    assert (row[9], row[10]) == ("0510", '"20261005-capture---"')
    assert row[13] == '"capture ""x"" "'
    assert (row[47], row[48], row[113]) == ('"Betrag"', '"1234,56 EUR"', "1")


@pytest.mark.parametrize(
    "change", [{"account": "12345678901"}, {"contra": "A100"}, {"amount_minor": 0}, {"amount_minor": 10**13}]
)
def test_what_datev_rejects_is_never_written(change: dict[str, object]) -> None:
    with pytest.raises(InvalidBooksRequestError):
        datev.posting_line(replace(POSTING, **change), BATCH)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"adviser": 1}, {"client": 0}, {"account_length": 9}, {"year_start": date(2026, 11, 1)}],
)
def test_a_datev_header_out_of_bounds_is_rejected(change: dict[str, object]) -> None:
    with pytest.raises(InvalidBooksRequestError):
        replace(BATCH, **change)  # type: ignore[arg-type]


# SAF-T


def saft_file() -> str:
    header = SaftHeader(
        company="Platform AG & Co",
        registration="CHE107787577MWST",
        address=BusinessAddress(street="Weg 1", post_code="8000", town="Zürich", country="CH"),
        contact=BusinessContact(name="A. Muster", telephone="+41 44 123 45 67", email="books@example.com"),
        vat_id="CHE107787577MWST",
        currency="CHF",
        first=date(2026, 10, 1),
        last=date(2026, 10, 31),
        created_on=date(2026, 11, 3),
        software_version="1.0",
    )
    accounts = [
        SaftAccount(number="1361", name="PSP", side=AccountSide.ASSET, opening_minor=0, closing_minor=94),
        SaftAccount(number="8400", name="Fees", side=AccountSide.REVENUE, opening_minor=0, closing_minor=-94),
    ]
    lines = [
        SaftLine(
            record_id=f"1{'D' if debit else 'C'}",
            account="1361" if debit else "8400",
            debit=debit,
            amount_minor=94,
            currency="EUR",
            currency_minor=100,
            rate="0.94000000",
            text="psp:stripe:receivable",
            counterparty="NL-ABC",
            party="" if debit else "NL-ABC",
        )
        for debit in (True, False)
    ]
    entry = SaftTransaction(
        id="a" * 32 + "/dispute/" + "du_1" * 20, day=date(2026, 10, 5), batch="b" * 32, text="x", lines=lines
    )
    totals = SaftTotals(transactions=1, debit_minor=94)
    parties = [
        SaftParty(
            id=party_id,
            name="CPO B.V.",
            registration="12345678",
            address=BusinessAddress(street="Kade 1", post_code="3500", town="Utrecht", country="NL"),
            vat_id=None,
            opening_minor=5,
            closing_minor=-89,
        )
        for party_id in ("NL-ABC", "x" * 60)
    ]
    return "".join(
        [*saft.opening(header, accounts, parties, totals), saft.transaction(entry, header), saft.closing()]
    )


def test_saft_has_the_elements_of_the_schema_in_their_order() -> None:
    """The Norwegian schema 1.10 is derived from the OECD's 2.0; two of its code lists are Norway's own."""
    path = os.environ.get("SAFT_XSD")
    if not path:
        pytest.skip("SAFT_XSD is not set: Norwegian_SAF-T_Financial_Schema_v_1.10.xsd is not at hand")
    text = saft_file().replace(saft.NAMESPACE, "urn:StandardAuditFile-Taxation-Financial:NO")
    text = re.sub(r"<AccountType>\w+<", "<AccountType>GL<", text)
    text = re.sub(r"<TaxAccountingBasis>\w+<", "<TaxAccountingBasis>A<", text)
    xmlschema.XMLSchema(str(Path(path))).validate(text)


def test_saft_shortens_no_name_that_must_stay_unique() -> None:
    (identifier,) = re.findall(r"<TransactionID>(.*?)<", saft_file())
    assert re.fullmatch(r"[0-9a-f]{64}", identifier)
    assert "Platform AG &amp; Co" in saft_file()
    ids = re.findall(r"</TaxRegistration><SupplierID>|<SupplierID>(.*?)<", saft_file())
    assert (ids[0], ids[2], len(ids[1])) == ("NL-ABC", "NL-ABC", 35)
    assert "x" * 35 not in ids


def test_saft_has_the_addresses_of_company_and_parties() -> None:
    text = saft_file()
    address = "<Address><StreetName>Kade 1</StreetName><City>Utrecht</City><PostalCode>3500</PostalCode>"
    assert text.count(address) == 2
    assert "<StreetName>Weg 1</StreetName><City>Zürich</City>" in text
    assert "<LastName>A. Muster</LastName></ContactPerson><Telephone>+41 44 123 45 67</Telephone>" in text
    assert "<OpeningDebitBalance>0.05<" in text
    assert "<ClosingCreditBalance>0.89<" in text
    assert saft_file().count("<ExchangeRate>0.94000000<") == 2


# VAT

SUPPLY = SupplySum(
    leg=SupplyLeg.TO_DRIVER,
    supplier_id="platform",
    customer_id="driver",
    category=Category.STANDARD,
    rate=Decimal(21),
    vat_of="NL",
    acquisition_of=None,
    acquisition_rate=Decimal(0),
    currency="EUR",
    net_minor=1000,
    vat_minor=210,
    acquisition_minor=0,
    supplies=2,
    booked_on=date(2026, 10, 13),
)


def return_rates(**monthly: str) -> ReturnRates:
    """An euro is 0.93 francs on one day and 0.95 on the next; `monthly` are the rates of October."""
    published = [
        ReferenceRate(base="EUR", quote="CHF", rate_date=day, rate=Decimal(rate), source="ecb")
        for day, rate in ((date(2026, 10, 13), "0.93"), (date(2026, 10, 14), "0.95"))
    ]
    return ReturnRates(
        daily=RateTable(published),
        vat=bundled_data.vat_rates(),
        own_country="CH",
        monthly={("2026-10", currency): (Decimal(rate), "ESTV") for currency, rate in monthly.items()},
    )


CUSTOMERS = {
    "DE-1": CustomerIdentity(vat_id="DE136695976", country="DE", in_union=True),
    "CH-1": CustomerIdentity(vat_id=None, country="CH", in_union=False),
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, [(VatSide.OUTPUT, "NL", 210)]),
        (
            {"supplier_id": "NL-1", "customer_id": "platform", "leg": SupplyLeg.TO_DEALER},
            [(VatSide.INPUT, "NL", 210)],
        ),
        (
            {
                "leg": SupplyLeg.FEE,
                "customer_id": "DE-1",
                "category": Category.REVERSE_CHARGE,
                "vat_minor": 0,
            },
            [(VatSide.REVERSE_CHARGE_SUPPLIED, "NL", 0)],
        ),
        (
            {"supplier_id": "NL-1", "customer_id": "platform", "category": Category.REVERSE_CHARGE},
            [(VatSide.REVERSE_CHARGE_DEDUCTED, "NL", 210), (VatSide.REVERSE_CHARGE_RECEIVED, "NL", 210)],
        ),
        (
            {
                "supplier_id": "NL-1",
                "customer_id": "platform",
                "category": Category.OUTSIDE,
                "acquisition_of": "CH",
                "acquisition_minor": 81,
            },
            [(VatSide.ACQUISITION, "CH", 81), (VatSide.INPUT, "CH", 81)],
        ),
        ({"category": Category.EXEMPT, "vat_minor": 0}, [(VatSide.EXEMPT, "NL", 0)]),
        (
            {"supplier_id": "NL-1", "customer_id": "platform", "category": Category.OUTSIDE},
            [(VatSide.OUTSIDE, "NL", 0)],
        ),
        ({"supplier_id": "NL-1", "customer_id": "DE-1"}, []),  # between two others: theirs to declare
    ],
)
def test_each_supply_is_on_its_side_of_the_return(
    change: dict[str, object], expected: list[tuple[VatSide, str, int]]
) -> None:
    found = vat_return(
        [replace(SUPPLY, **change)],  # type: ignore[arg-type]
        {},
        customers=CUSTOMERS,
        platform_country="CH",
        union=frozenset({"NL", "DE"}),
        rates=return_rates(),
    )
    assert [(one.side, one.country, one.tax_minor) for one in found.figures] == expected


def test_sales_list_and_oss_have_what_belongs_to_them_and_the_proof_shows_the_rest() -> None:
    fee = replace(
        SUPPLY, leg=SupplyLeg.FEE, customer_id="DE-1", category=Category.REVERSE_CHARGE, vat_minor=0
    )
    found = vat_return(
        [SUPPLY, fee, replace(fee, customer_id="CH-1")],
        {("vat:NL:output", "EUR"): 212},
        customers=CUSTOMERS,
        platform_country="NL",
        union=frozenset({"NL", "DE"}),
        rates=return_rates(),
    )
    assert [(one.vat_id, one.base_minor) for one in found.sales_list] == [("DE136695976", 1000)]
    assert [(one.country, one.tax_minor) for one in found.oss] == [("NL", 210)]
    assert [(one.account, one.difference_minor) for one in found.proof] == [("vat:NL:output", 2)]


ACQUIRED = replace(
    SUPPLY,
    supplier_id="NL-1",
    customer_id="platform",
    leg=SupplyLeg.TO_DEALER,
    category=Category.OUTSIDE,
    vat_minor=0,
    acquisition_of="CH",
    acquisition_rate=Decimal("8.1"),
    acquisition_minor=81,
)


def _returned(*supplies: SupplySum, **monthly: str) -> VatReturn:
    return vat_return(
        supplies,
        {("vat:CH:acquisition", "EUR"): 81 * len(supplies)},
        customers=CUSTOMERS,
        platform_country="CH",
        union=frozenset({"NL", "DE"}),
        rates=return_rates(**monthly),
    )


def test_a_figure_is_also_in_its_countrys_currency_at_the_rate_of_each_day() -> None:
    found = _returned(ACQUIRED, replace(ACQUIRED, booked_on=date(2026, 10, 14)))
    for one in found.figures:
        # 10.00 at 0.93 and 10.00 at 0.95; 0.81 at each: 0.7533 and 0.7695.
        assert (one.return_currency, one.return_base_minor, one.return_tax_minor) == ("CHF", 1880, 75 + 77)
        assert (one.currency, one.base_minor, one.tax_minor) == ("EUR", 2000, 162)
    assert {one.side for one in found.figures} == {VatSide.ACQUISITION, VatSide.INPUT}


def test_prescribed_monthly_rates_count_in_the_return_of_the_own_country_and_nowhere_else() -> None:
    found = _returned(ACQUIRED, EUR="0.90")
    assert {(one.return_base_minor, one.return_tax_minor) for one in found.figures} == {(900, 73)}
    francs = replace(SUPPLY, currency="CHF", net_minor=950, vat_minor=200, booked_on=date(2026, 10, 14))
    (output,) = _returned(francs, EUR="0.90").figures[-1:]
    assert (output.return_currency, output.return_base_minor) == ("EUR", 1000)
    with pytest.raises(RateUnavailableError, match="no monthly rate of EUR"):
        _returned(ACQUIRED, GBP="1.10")


def test_tax_on_reverse_charge_received_is_declared_and_deducted_and_moves_no_account() -> None:
    charged = replace(
        SUPPLY,
        supplier_id="DE-1",
        customer_id="platform",
        leg=SupplyLeg.TO_DEALER,
        category=Category.REVERSE_CHARGE,
        rate=Decimal(0),
        vat_minor=0,
    )
    found = vat_return(
        [charged, replace(charged, net_minor=-500, supplies=1)],
        {},
        customers=CUSTOMERS,
        platform_country="NL",
        union=frozenset({"NL", "DE"}),
        rates=return_rates(),
    )
    assert [(one.side, one.rate, one.base_minor, one.tax_minor) for one in found.figures] == [
        (VatSide.REVERSE_CHARGE_DEDUCTED, Decimal(21), 500, 105),
        (VatSide.REVERSE_CHARGE_RECEIVED, Decimal(21), 500, 105),
    ]
    assert found.proof == []


def test_the_tables_as_csv_have_every_figure_as_a_countrys_spreadsheet_reads_it() -> None:
    found = _returned(ACQUIRED)
    for name, point, mark in (("de", ",", "\ufeff"), ("ch", ".", "\ufeff"), ("rfc4180", ".", "")):
        text = vat_return_csv(found, dialect(name)).decode()
        assert text.startswith(f"{mark}table{dialect(name).delimiter}side")
        reader = csv.DictReader(io.StringIO(text.removeprefix(mark)), delimiter=dialect(name).delimiter)
        rows = list(reader)
        (first,) = [row for row in rows if row["side"] == "acquisition"]
        assert (first["base"], first["tax"]) == (f"10{point}00", f"0{point}81")
        assert (first["return_currency"], first["return_base"]) == ("CHF", f"9{point}30")
        (proof, *_) = [row for row in rows if row["table"] == "proof" and "acquisition" in row["account"]]
        assert proof["difference"] == f"0{point}00"
    moved = AccountMovement(
        account="cpo:=1+1:payable",
        currency="EUR",
        before_debit_minor=0,
        before_credit_minor=100,
        debit_minor=25,
        credit_minor=0,
    )
    line = replace(trial_balance_line(moved, bundled_chart().map(moved.account)), name="=1+1;x")
    text = trial_balance_csv([line], dialect("fr")).decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text), delimiter=";")
    assert (row["name"], row["opening"], row["debit"], row["closing"]) == ("'=1+1;x", "1,00", "0,25", "0,75")


def test_the_second_computation_of_a_month_shares_no_code_with_the_product() -> None:
    source = Path(market_month.__file__).read_text(encoding="utf-8")
    imported = re.findall(r"^\s*(?:from|import) ([a-z_.]+)", source, flags=re.MULTILINE)
    assert set(imported) == {"collections", "collections.abc", "dataclasses", "fractions"}
