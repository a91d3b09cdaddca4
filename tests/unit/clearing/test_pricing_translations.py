"""Prices in words: AFIR's order before the start, receipts after it, in four languages."""

import pytest

from clearing.pricing.explain import display_prices, receipt
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.translations import LANGUAGES, Translations, number_text, translations_for
from tests.unit.clearing.pricing_builders import (
    V230,
    Number,
    component,
    element,
    priced_by,
    program_of,
    tariff_of,
)

FULL = [
    element(component("FLAT", "2.00", vat="20"), reservation="RESERVATION"),
    element(
        component("FLAT", "0.50", vat="20"),
        component("PARKING_TIME", "6.00", vat="20", step=60),
        component("TIME", "1.20", vat="20"),
        component("ENERGY", "0.50", vat="20"),
        start_time="08:00",
        end_time="00:00",
        day_of_week=["MONDAY", "TUESDAY", "WEDNESDAY", "SATURDAY"],
    ),
]


def test_the_price_per_kwh_comes_first_then_minute_session_and_others() -> None:
    shown = display_prices(tariff_of(*FULL, max_price={"excl_vat": 20, "incl_vat": 24}))
    when = "from 08:00 to 24:00, on Mon-Wed, Sat"
    assert shown == (
        f"0.60 EUR per kWh (incl. 20 % VAT), {when}",
        f"0.024 EUR per minute while charging (incl. 20 % VAT), {when}",
        f"0.12 EUR per minute while parked after charging (incl. 20 % VAT), {when}, in steps of 1 min",
        f"0.60 EUR per session (incl. 20 % VAT), {when}",
        "2.40 EUR per reservation (incl. 20 % VAT)",
        "Maximum price: 24.00 EUR",
    )


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("en", "0.60 EUR per kWh (incl. 20 % VAT)"),
        ("de", "0,60 EUR pro kWh (inkl. 20 % MwSt.)"),
        ("de-CH", "0.60 EUR pro kWh (inkl. 20 % MwSt.)"),
        ("fr_FR", "0,60 EUR par kWh (TVA 20 % comprise)"),
        ("it", "0,60 EUR per kWh (IVA 20 % inclusa)"),
        ("xx", "0.60 EUR per kWh (incl. 20 % VAT)"),
        ("", "0.60 EUR per kWh (incl. 20 % VAT)"),
    ],
)
def test_a_price_is_shown_with_tax_in_the_language_asked_for(locale: str, expected: str) -> None:
    tariff = tariff_of(element(component("ENERGY", "0.50", vat="20")))
    assert display_prices(tariff, locale=locale) == (expected,)


def test_a_price_whose_tax_is_added_later_says_so() -> None:
    excluded = tariff_of(element(component("ENERGY", "0.50")), version=V230, tax_included="NO")
    included = tariff_of(element(component("ENERGY", "0.50")), version=V230, tax_included="YES")
    old = tariff_of(element(component("ENERGY", "0.50")), version=OcpiVersion.V2_1_1)
    assert display_prices(excluded) == ("0.50 EUR per kWh (plus tax)",)
    assert display_prices(included) == ("0.50 EUR per kWh",)
    assert display_prices(old) == ("0.50 EUR per kWh (plus tax)",)


@pytest.mark.parametrize(
    ("restriction", "expected"),
    [
        ({"min_kwh": 20}, "from 20 kWh on"),
        ({"max_kwh": 20}, "up to 20 kWh"),
        ({"min_power": 22}, "from 22 kW"),
        ({"max_current": 32}, "below 32 A"),
        ({"min_duration": 5400}, "after 90 min"),
        ({"max_duration": 1800}, "in the first 30 min"),
        ({"start_date": "2026-07-01"}, "from 2026-07-01"),
        ({"end_date": "2026-09-01"}, "until 2026-09-01"),
    ],
)
def test_each_condition_is_shown(restriction: dict[str, object], expected: str) -> None:
    shown = display_prices(tariff_of(element(component("ENERGY", "1", vat="0"), **restriction)))
    assert shown == (f"1.00 EUR per kWh, {expected}",)


def test_a_receipt_shows_each_part_its_tax_and_the_total() -> None:
    program = program_of(
        element(
            component("FLAT", "0.50", vat="20"),
            component("ENERGY", "0.25", vat="10", step=1000),
            component("PARKING_TIME", "2.00", vat="20", step=900),
        )
    )
    found = priced_by(
        program, (0, {"ENERGY": "19.5", "TIME": "1"}), (60, {"PARKING_TIME": "0.6667"}), minutes=100
    )
    assert receipt(found) == (
        "Energy: 19.5 kWh, billed 20 kWh (in steps of 1 kWh) x 0.25 EUR/kWh = 5.00 EUR",
        "Session fee: 0.50 EUR",
        "Parking after charging: 40 min, billed 45 min (in steps of 15 min) x 2.00 EUR/h = 1.50 EUR",
        "Total before tax: 7.00 EUR",
        "incl. 10 % VAT: 0.50 EUR",
        "incl. 20 % VAT: 0.40 EUR",
        "Total: 7.90 EUR",
    )


def test_a_receipt_shows_that_a_limit_applied() -> None:
    program = program_of(
        element(component("ENERGY", "1")), max_price={"excl_vat": Number("5.00"), "incl_vat": 5}
    )
    assert receipt(priced_by(program, (0, {"ENERGY": "8"})), locale="de") == (
        "Energie: 8 kWh x 1,00 EUR/kWh = 8,00 EUR",
        "Höchstpreis: -3,00 EUR",
        "Gesamt vor Steuer: 5,00 EUR",
        "Gesamt: 5,00 EUR",
    )


def test_a_receipt_of_an_expired_reservation_names_it() -> None:
    program = program_of(
        element(component("FLAT", "4"), component("TIME", "6"), reservation="RESERVATION_EXPIRES"),
    )
    lines = receipt(priced_by(program, (0, {"RESERVATION_TIME": "1"})))
    assert lines[:2] == (
        "Expired reservation: 60 min x 6.00 EUR/h = 6.00 EUR",
        "Fee for an unused reservation: 4.00 EUR",
    )


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_language_has_every_text(language: str) -> None:
    words = LANGUAGES[language]
    for name in Translations.__slots__:
        assert getattr(words, name), name
    english = LANGUAGES["en"]
    for name in Translations.__slots__:
        ours, theirs = getattr(words, name), getattr(english, name)
        if isinstance(ours, str):
            assert ours.count("{") == theirs.count("{"), name


def test_numbers_keep_the_digits_that_matter() -> None:
    from decimal import Decimal  # noqa: PLC0415 - one use

    english, german = translations_for("en"), translations_for("de")
    assert number_text(Decimal("1.500"), english) == "1.5"
    assert number_text(Decimal("1.5"), english, least_digits=2) == "1.50"
    assert number_text(Decimal("1E+2"), german, least_digits=2) == "100,00"
