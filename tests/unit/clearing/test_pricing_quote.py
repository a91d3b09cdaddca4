"""Quotes: the expected price, and the hold that covers it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from clearing.errors import InvalidAmountError
from clearing.pricing.quote import Quote, QuoteRequest, quote
from tests.unit.clearing.pricing_builders import V230, Number, codes, component, element, program_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def ask(*elements: dict[str, Any], request: dict[str, Any] | None = None, **fields: Any) -> Quote:
    asked = {"energy_wh": 20_000, "duration_s": 3600, "start": NOON, "time_zone": "UTC"} | (request or {})
    return quote(program_of(*elements, **fields), QuoteRequest(**asked))


def test_a_quote_is_the_price_of_the_expected_session() -> None:
    found = ask(element(component("ENERGY", "0.25", vat="10"), component("FLAT", "0.50", vat="20")))
    assert (found.priced.excl_vat_minor, found.priced.incl_vat_minor, found.hold_minor) == (550, 610, 610)


def test_it_is_split_where_the_price_changes() -> None:
    found = ask(
        element(component("ENERGY", "0.20"), end_time="12:30"),
        element(component("ENERGY", "0.30"), max_kwh=15),
        element(component("ENERGY", "0.50")),
    )
    assert [str(line.volume) for line in found.priced.lines] == ["10.000", "5.000", "5.000"]
    assert (found.hold_minor, codes(found.priced)) == (200 + 150 + 250, set())


def test_parking_after_charging_is_part_of_it() -> None:
    found = ask(element(component("PARKING_TIME", "6")), request={"parking_s": 1800})
    assert found.hold_minor == 300


def test_the_hold_covers_the_dearer_price_of_full_power() -> None:
    by_power = [element(component("ENERGY", "0.30"), max_power=50), element(component("ENERGY", "0.60"))]
    found = ask(*by_power, request={"max_power_w": 150_000})
    assert (found.priced.incl_vat_minor, found.hold_minor) == (600, 1200)
    by_current = [element(component("TIME", "1"), max_current=100), element(component("TIME", "2"))]
    assert ask(*by_current, request={"max_power_w": 50_000}).hold_minor == 200


def test_a_tariff_that_names_its_preauthorization_decides_the_hold() -> None:
    found = ask(
        element(component("ENERGY", "0.50")),
        version=V230,
        tax_included="N/A",
        preauthorize_amount=Number("55.001"),
    )
    assert found.hold_minor == 5501


def test_the_clock_of_the_location_decides() -> None:
    night = [element(component("ENERGY", "0.10"), start_time="22:00"), element(component("ENERGY", "1"))]
    assert ask(*night, request={"time_zone": "Asia/Tokyo"}).hold_minor == 2000
    late = datetime(2026, 3, 2, 13, 30, tzinfo=UTC)  # 22:30 in Tokyo
    assert ask(*night, request={"time_zone": "Asia/Tokyo", "start": late}).hold_minor == 200


@pytest.mark.parametrize(
    "request_",
    [
        {"energy_wh": -1},
        {"energy_wh": 10**9},
        {"duration_s": -1},
        {"duration_s": 10**9},
        {"parking_s": -1},
        {"duration_s": 0},
        {"start": datetime(2026, 3, 2)},  # noqa: DTZ001 - the rejection of it
    ],
)
def test_an_absurd_request_is_rejected(request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidAmountError):
        ask(element(component("ENERGY", "1")), request=request_)


def test_nothing_expected_costs_what_a_start_costs() -> None:
    request = {"energy_wh": 0, "duration_s": 0}
    assert ask(element(component("FLAT", "1")), request=request).hold_minor == 100
