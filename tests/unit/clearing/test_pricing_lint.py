"""Tariff lint: each finding on the smallest tariff that has it, and silence on a good one."""

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from clearing.errors import UnknownCurrencyError
from clearing.pricing.lint import lint
from clearing.pricing.lint_finding import LintFinding
from clearing.pricing.notes import NoteSeverity
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.tariff import parse_tariff
from tests.unit.clearing.pricing_builders import V230, Number, component, element, tariff_of

ONLY_INFO = {"nothing_by_use", "unused_time_step", "yes_without_rate"}  # allowed, and worth knowing
ENERGY = component("ENERGY", "0.50", vat="20")
GOOD = element(ENERGY, component("PARKING_TIME", "3", vat="20", step=60))


def found(*elements: dict[str, Any], power: str | None = None, **fields: Any) -> list[tuple[str, str]]:
    findings = lint(tariff_of(*elements, **fields), power_kw=None if power is None else Decimal(power))
    return [(finding.code.value, finding.path) for finding in findings]


def test_a_good_tariff_has_no_findings() -> None:
    assert found(GOOD) == []
    assert found(GOOD, power="150") == []


def test_an_element_behind_one_without_restrictions_is_never_reached() -> None:
    assert found(element(ENERGY), element(ENERGY, max_kwh=5)) == [
        ("T101", "$.elements[1].price_components[0]")
    ]


def test_an_element_behind_several_that_cover_everything_is_never_reached() -> None:
    day, night = (
        element(ENERGY, start_time="08:00", end_time="20:00"),
        element(ENERGY, start_time="20:00", end_time="08:00"),
    )
    assert found(day, night, element(ENERGY)) == [("T101", "$.elements[2].price_components[0]")]


def test_restrictions_that_exclude_each_other_are_reported() -> None:
    never = element(ENERGY, min_kwh=20, max_kwh=10)
    assert found(never, element(ENERGY)) == [("T102", "$.elements[0].price_components[0]")]
    assert ("T102", "$.elements[0].price_components[0]") in found(
        element(ENERGY, start_time="08:00", end_time="08:00"), element(ENERGY)
    )


def test_a_restriction_that_can_t_be_evaluated_is_reported() -> None:
    assert ("T103", "$.elements[0].restrictions.holiday") in found(
        element(ENERGY, holiday=True), element(ENERGY)
    )


@pytest.mark.parametrize(
    ("restriction", "example"),
    [
        ({"start_time": "08:00", "end_time": "20:00"}, "Mon 00:00"),
        ({"start_time": "20:00", "end_time": "08:00"}, "Mon 08:00"),
        ({"day_of_week": ["MONDAY", "TUESDAY"]}, "Wed 00:00"),
        ({"max_kwh": 10}, "Mon 00:00, after 10 kWh"),
        ({"min_duration": 1800}, "Mon 00:00"),
        ({"max_power": 22}, "Mon 00:00, at 22 kW"),
        ({"end_date": "2026-07-01"}, "2026-07-01 00:00"),
    ],
)
def test_a_gap_in_which_a_dimension_is_free_is_reported(restriction: dict[str, Any], example: str) -> None:
    findings = lint(tariff_of(element(ENERGY, **restriction)))
    assert [(finding.code.value, finding.text.rpartition("example ")[2]) for finding in findings] == [
        ("T201", example)
    ]


def test_overlapping_dates_are_reported() -> None:
    summer = element(ENERGY, start_date="2026-06-01", end_date="2026-09-01")
    august = element(ENERGY, start_date="2026-08-01", end_date="2026-10-01")
    assert found(summer, august, element(ENERGY)) == [("T202", "$.elements[1].restrictions")]


def test_seasons_that_meet_and_hours_within_one_season_do_not_overlap() -> None:
    season = {"start_date": "2026-06-01", "end_date": "2026-09-01"}
    day = element(ENERGY, **season, start_time="08:00", end_time="20:00")
    night = element(ENERGY, **season, start_time="20:00", end_time="08:00")
    autumn = element(ENERGY, start_date="2026-09-01")
    assert found(day, night, autumn, element(ENERGY)) == []


@pytest.mark.parametrize(
    ("price", "code"),
    [("-0.01", ["T301"]), ("30", ["T302"]), ("3", [])],
)
def test_negative_and_absurd_prices_are_reported(price: str, code: list[str]) -> None:
    assert [name for name, _ in found(element(component("ENERGY", price, vat="20")))] == code


def test_absurd_is_measured_in_the_tariff_s_own_money() -> None:
    assert found(element(component("ENERGY", "200", vat="27")), currency="HUF") == []


def test_a_long_step_is_reported() -> None:
    assert found(element(component("ENERGY", "0.5", vat="20", step=5000))) == [
        ("T303", "$.elements[0].price_components[0].step_size")
    ]


def test_limits_that_cross_are_reported() -> None:
    crossed = {"min_price": {"excl_vat": Number("5")}, "max_price": {"excl_vat": Number("3")}}
    assert found(GOOD, **crossed) == [("T304", "$.min_price")]
    assert found(GOOD, max_price={"excl_vat": 5, "incl_vat": 4}) == [("T304", "$.max_price")]


def test_a_tariff_that_prices_nothing_is_reported() -> None:
    assert ("T305", "$.elements") in found(element(component("SOLAR", "1")))


def test_a_tariff_that_ends_before_it_begins_is_reported() -> None:
    begins, ends = "2026-06-01T00:00:00Z", "2026-05-01T00:00:00Z"
    reversed_validity = found(GOOD, start_date_time=begins, end_date_time=ends)
    assert reversed_validity == [("T306", "$.end_date_time")]
    assert found(GOOD, start_date_time=begins, end_date_time=begins) == [("T306", "$.end_date_time")]
    assert found(GOOD, start_date_time=ends, end_date_time=begins) == []


def test_a_vat_rate_that_is_no_percentage_is_reported() -> None:
    for vat in ("0.2", "0.99", "100.1", "101"):
        expected = [("T403", "$.elements[0].price_components[0].vat")]
        assert found(element(component("ENERGY", "0.5", vat=vat))) == expected, vat
    for vat in ("0", "1", "7.7", "100"):
        assert found(element(component("ENERGY", "0.5", vat=vat))) == [], vat


def test_a_tax_that_can_not_be_taken_out_of_the_price_is_reported() -> None:
    included = found(element(component("ENERGY", "0.5")), version=V230, tax_included="YES")
    assert ("T404", "$.tax_included") in included
    assert "T404" not in {code for code, _ in found(GOOD, version=V230, tax_included="YES")}


@pytest.mark.parametrize("reservation", ["RESERVATION", "RESERVATION_EXPIRES"])
def test_a_reservation_with_what_it_can_t_have_is_reported(reservation: str) -> None:
    for kind, expected in (("ENERGY", True), ("PARKING_TIME", True), ("TIME", False), ("FLAT", False)):
        codes = found(GOOD, element(component(kind, "1", vat="20"), reservation=reservation))
        assert (("T104", "$.elements[1].price_components[0]") in codes) is expected, kind


def test_restrictions_that_restrict_nothing_are_reported() -> None:
    empty = {**GOOD, "restrictions": {}}
    assert found(empty) == [("T105", "$.elements[0].restrictions")]
    assert found(element(ENERGY, min_kwh=0), element(ENERGY)) != []


def test_a_step_that_rounds_nothing_is_reported() -> None:
    flat = element(ENERGY, component("FLAT", "1", vat="20", step=2))
    assert ("T307", "$.elements[0].price_components[1].step_size") in found(flat)
    timed = component("TIME", "3", vat="20", step=60)
    both = element(timed, component("PARKING_TIME", "3", vat="20", step=60))
    assert ("T307", "$.elements[0].price_components[0].step_size") in found(both)
    assert "T307" not in {code for code, _ in found(element(timed))}


def test_a_step_of_zero_is_reported_where_there_is_something_to_round() -> None:
    zero = component("ENERGY", "0.50", vat="20", step=0)
    assert ("T309", "$.elements[0].price_components[0].step_size") in found(element(zero))
    flat = component("FLAT", "1", vat="20", step=0)
    assert "T309" not in {code for code, _ in found(element(ENERGY, flat))}


CASES = Path(os.environ.get("CASES_DIR", "/nonexistent"), "tariff_lint")


@pytest.mark.skipif(not CASES.is_dir(), reason="CASES_DIR has no tariff_lint")
def test_the_fault_of_each_published_case_is_named() -> None:
    clean = []
    for case in sorted(CASES.glob("*.json")):
        raw = case.read_bytes()
        version = OcpiVersion.V2_3_0 if b"tax_included" in raw else OcpiVersion.V2_2_1
        try:
            findings = lint(parse_tariff(raw, version=version))
        except UnknownCurrencyError:
            continue
        if (
            not [one for one in findings if one.severity is not NoteSeverity.INFO]
            and case.stem not in ONLY_INFO
        ):
            clean.append(case.stem)
    assert clean == []


def test_a_tariff_that_ignores_use_is_reported() -> None:
    flat = component("FLAT", "5", vat="20")
    assert ("T308", "$.elements") in found(element(flat))
    assert "T308" not in {code for code, _ in found(element(flat, ENERGY))}
    assert "T308" not in {code for code, _ in found(element(component("FLAT", "0", vat="20")))}


def test_missing_and_mixed_tax_are_reported() -> None:
    assert found(element(component("ENERGY", "0.5"))) == [("T401", "$.elements[0].price_components[0]")]
    assert ("T402", "$.elements") in found(element(ENERGY, component("PARKING_TIME", "1")))
    assert found(element(component("ENERGY", "0.5")), version=V230, tax_included="N/A") == []


def test_a_fast_charger_s_ad_hoc_price_is_per_kwh() -> None:
    by_time = element(component("TIME", "10", vat="20"), component("FLAT", "1", vat="20"))
    assert [code for code, _ in found(by_time, power="50")] == ["T501", "T502", "T502"]
    assert found(by_time, power="49.9") == []
    assert found(by_time) == [("T502", "$.elements")]
    coarse = element(ENERGY, component("PARKING_TIME", "3", vat="20", step=900))
    assert found(coarse, power="150") == [("T503", "$.elements[0].price_components[1].step_size")]


def test_more_cells_than_can_be_checked_are_said_and_not_guessed() -> None:
    fine = [
        element(ENERGY, min_kwh=n, min_power=n, min_current=n, min_duration=n * 60, start_time=f"{n:02}:00")
        for n in range(1, 20)
    ]
    assert ("T203", "$.elements") in found(*fine)


def test_a_finding_has_plain_values() -> None:
    finding: LintFinding = lint(tariff_of(element(component("ENERGY", "-1", vat="20"))))[0]
    assert finding.to_dict() == {
        "code": "T301",
        "severity": "warning",
        "path": "$.elements[0].price_components[0].price",
        "text": "the price -1 is negative: it pays the driver",
    }
