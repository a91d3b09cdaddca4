"""Where other tax rules hold than the country's."""

import csv
from datetime import date
from decimal import Decimal
from importlib.resources import files

import pytest

from clearing.errors import RateUnavailableError
from clearing.reference_data import bundled_data
from clearing.tax.vat_rates import SupplyKind
from gateway.ocpi.countries import ALPHA_2, alpha_2, only_time_zone
from gateway.ocpi.tax_jurisdiction import _COUNTRY_IS, _EXCEPTIONS, tax_jurisdiction_of


@pytest.mark.parametrize(
    ("country", "postal_code", "tax_jurisdiction"),
    [
        ("DE", "10115", "DE"),
        ("DE", "78266", "DE-BUSINGEN"),
        ("DE", "D-78266", "DE-BUSINGEN"),
        ("DE", "27498", "DE-HELGOLAND"),
        ("CH", "8001", "CH"),
        ("GR", "853 00", "GR-AEGEAN"),
        ("GR", "85100", "GR"),
        ("CH", "CH-7562", "CH-SAMNAUN"),
        ("CH", "9490", "LI"),
        ("LI", "9490", "LI"),
        ("IT", "20121", "IT"),
        ("IT", "23041", "IT-LIVIGNO"),
        ("IT", "22061", "IT-CAMPIONE"),
        ("ES", "28001", "ES"),
        ("ES", "35001", "ES-CN"),
        ("ES", "38 760", "ES-CN"),
        ("ES", "51001", "ES-CE"),
        ("ES", "52001", "ES-ML"),
        ("GB", "SW1A 1AA", "GB"),
        ("GB", "BT1 5GS", "XI"),
        ("GB", "bt15gs", "XI"),
        ("GB", "B1 1BT", "GB"),
        ("GB", "IM1 1AA", "IM"),
        ("FI", "00100", "FI"),
        ("FI", "22100", "FI-AX"),
        ("AX", "22100", "FI-AX"),
        ("FR", "75001", "FR"),
        ("FR", "97400", "FR-OUTRE-MER"),
        ("FR", "98000", "MC"),
        ("NO", "0150", "NO"),
        ("NO", "9170", "SJ"),
        ("PT", "1000-001", "PT"),
        ("PT", "9000-001", "PT-30"),
        ("PT", "9500", "PT-20"),
        ("AT", "6991", "AT-JU"),
        ("AT", "6900", "AT"),
        ("NL", "", "NL"),
        ("NL", "not a code", "NL"),
    ],
)
def test_the_postal_code_decides_the_tax_jurisdiction(
    country: str, postal_code: str, tax_jurisdiction: str
) -> None:
    assert tax_jurisdiction_of(country, postal_code) == tax_jurisdiction


def test_special_territories_have_the_names_that_clearing_has_rates_for() -> None:
    text = files("clearing.rates").joinpath("tax_jurisdictions.csv").read_text("utf-8")
    known = {row["tax_jurisdiction"] for row in csv.DictReader(text.splitlines())}
    places = (
        "DE 78266, DE 27498, ES 35001, ES 51001, ES 52001, FI 22100, GB BT11AA, GB IM11AA, IT 23041, CH 9490"
    )
    for place in places.split(", "):
        country, postal_code = place.split()
        assert tax_jurisdiction_of(country, postal_code) in known


def test_every_country_code_is_two_capital_letters_and_unambiguous() -> None:
    assert len(ALPHA_2) == 250
    assert len(set(ALPHA_2.values())) == 250
    lengths = {(len(long), len(short), (long + short).isupper()) for long, short in ALPHA_2.items()}
    assert lengths == {(3, 2, True)}


@pytest.mark.parametrize(
    ("named", "code"), [("CHE", "CH"), ("deu", "DE"), ("GBR", "GB"), ("BE", "BE"), ("ZZZ", None), ("", None)]
)
def test_countries_are_read_in_both_spellings(named: str, code: str | None) -> None:
    assert alpha_2(named) == code


def test_a_country_of_several_zones_gives_none_away() -> None:
    assert only_time_zone("CH", "CH") == "Europe/Zurich"
    assert only_time_zone("ES", "ES") is None
    assert only_time_zone("ES", "ES-CN") == "Atlantic/Canary"
    assert only_time_zone("FR", "FR-OUTRE-MER") is None
    assert only_time_zone("US", "US") is None


def test_clearing_knows_every_jurisdiction_that_a_place_can_have() -> None:
    rates = bundled_data.vat_rates()
    named = {tax_jurisdiction for _, _, tax_jurisdiction in _EXCEPTIONS} | set(_COUNTRY_IS.values())
    assert {rates.tax_jurisdiction(code).code for code in named} == named


@pytest.mark.parametrize("code", ["AT-JU", "GR-AEGEAN", "FR-OUTRE-MER", "IT-CAMPIONE", "JE", "ES-CN"])
def test_a_jurisdiction_whose_tax_is_not_confirmed_has_no_rate_to_guess_with(code: str) -> None:
    with pytest.raises(RateUnavailableError, match=f"no electricity VAT rate of {code} covers 2026-10-13"):
        bundled_data.vat_rates().rate(code, SupplyKind.ELECTRICITY, date(2026, 10, 13))


@pytest.mark.parametrize(
    ("code", "day", "rate"),
    [
        ("PT-20", date(2021, 6, 30), "18"),  # Lei 63-A/2015
        ("PT-20", date(2021, 7, 1), "16"),  # Decreto Legislativo Regional 15-A/2021/A
        ("PT-30", date(2026, 10, 13), "22"),  # Lei 14-A/2012
    ],
)
def test_the_islands_of_portugal_have_their_own_rates(code: str, day: date, rate: str) -> None:
    assert bundled_data.vat_rates().rate(code, SupplyKind.ELECTRICITY, day) == Decimal(rate)
