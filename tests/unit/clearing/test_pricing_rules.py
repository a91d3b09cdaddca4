"""The rules of pricing, one a test."""

from decimal import Decimal
from typing import Any

import pytest

from clearing.errors import InvalidAmountError, MalformedDocumentError, UnknownTimeZoneError
from clearing.pricing.cdr import parse_cdr
from clearing.pricing.compare import CpoTotalCheck, compare
from clearing.pricing.embedded import embedded_programs
from clearing.pricing.engine import price
from tests.unit.clearing.pricing_builders import (
    V221,
    V230,
    Number,
    cdr_of,
    cdr_tree,
    codes,
    component,
    element,
    encode,
    priced_by,
    program_of,
    tariff_tree,
)

ENERGY = component("ENERGY", "0.50")
HOUR = {"TIME": "1"}


# Choosing a component


def test_the_first_matching_element_of_each_dimension_is_used() -> None:
    program = program_of(
        element(component("ENERGY", "1"), start_time="11:00", end_time="13:00"),
        element(component("ENERGY", "2"), component("TIME", "3")),
        element(component("TIME", "4")),
    )
    found = priced_by(program, (0, {"ENERGY": "1", "TIME": "1"}))
    assert [(line.element, line.dimension) for line in found.lines] == [(0, "ENERGY"), (1, "TIME")]


def test_a_dimension_without_a_matching_element_costs_nothing() -> None:
    found = priced_by(program_of(element(ENERGY)), (0, {"TIME": "1", "PARKING_TIME": "1"}))
    assert (found.excl_vat_minor, codes(found) & {"nothing_priced"}) == (0, {"nothing_priced"})


def test_a_flat_fee_is_billed_once_however_many_periods() -> None:
    program = program_of(element(component("FLAT", "1")))
    periods = [(10.0 * rank, {"TIME": "0.1667"}) for rank in range(6)]
    assert priced_by(program, *periods).excl_vat_minor == 100


def test_of_two_flat_fees_the_first_applies_and_the_other_is_noted() -> None:
    program = program_of(
        element(component("FLAT", "1"), end_time="12:30"), element(component("FLAT", "9"), start_time="12:30")
    )
    found = priced_by(program, (0, {"TIME": "0.5"}), (30, {"TIME": "0.5"}))
    assert (found.excl_vat_minor, codes(found)) == (100, {"flat_changed"})


def test_an_unknown_component_type_is_noted_and_not_priced() -> None:
    program = program_of(element(component("SOLAR", "5"), ENERGY))
    found = priced_by(program, (0, {"ENERGY": "2"}))
    assert (found.excl_vat_minor, codes(found)) == (100, {"unknown_component_type"})


def test_an_unknown_dimension_is_noted_and_not_priced() -> None:
    found = priced_by(program_of(element(ENERGY)), (0, {"ENERGY": "2", "SUNSHINE": "7"}))
    assert (found.excl_vat_minor, codes(found)) == (100, {"unknown_dimension"})


def test_a_period_that_spans_a_price_change_is_noted_and_priced_as_it_starts() -> None:
    program = program_of(element(ENERGY, end_time="12:30"), element(component("ENERGY", "9")))
    found = priced_by(program, (0, {"ENERGY": "2"}))
    assert (found.excl_vat_minor, codes(found)) == (100, {"period_spans_price_change"})


@pytest.mark.parametrize(
    "restriction",
    [{"max_kwh": 1}, {"max_duration": 1800}, {"end_time": "12:59"}, {"end_date": "2026-03-02"}],
)
def test_every_kind_of_bound_inside_a_period_is_noted(restriction: dict[str, Any]) -> None:
    program = program_of(element(ENERGY, **restriction), element(component("ENERGY", "9")))
    start = "2026-03-01T23:30:00" if "end_date" in restriction else "2026-03-02T12:00:00"
    assert "period_spans_price_change" in codes(priced_by(program, (0, {"ENERGY": "2"}), start=start))


def test_a_bound_where_nothing_changes_is_not_noted() -> None:
    program = program_of(
        element(ENERGY, end_time="12:30"), element(ENERGY, start_time="20:00"), element(ENERGY)
    )
    one_price = program_of(element(ENERGY, start_time="11:00", end_time="14:00"))
    assert "period_spans_price_change" in codes(priced_by(program, (0, {"ENERGY": "2"})))
    assert codes(priced_by(one_price, (0, {"ENERGY": "2"}))) == set()


# step_size


def test_a_large_step_raises_the_last_period_of_the_dimension_s_total() -> None:
    slow = element(component("ENERGY", "2", step=10_000), max_current=20)
    fast = element(component("ENERGY", "5", step=10_000), min_current=20)
    found = priced_by(
        program_of(slow, fast),
        (0, {"ENERGY": "3", "MAX_CURRENT": "10"}),
        (20, {"ENERGY": "3", "MIN_CURRENT": "40"}),
        (40, {"ENERGY": "3", "MAX_CURRENT": "10"}),
    )
    assert (found.excl_vat_minor, [line.billed_volume for line in found.lines]) == (2900, [3, 4, 3])


def test_a_step_of_zero_rounds_nothing() -> None:
    program = program_of(element(component("ENERGY", "1", step=0)))
    assert priced_by(program, (0, {"ENERGY": "0.12345"})).excl_vat == Decimal("0.1235")


def test_a_volume_on_a_step_stays() -> None:
    program = program_of(element(component("ENERGY", "1", step=500)))
    line = priced_by(program, (0, {"ENERGY": "2.5"})).lines[0]
    assert (line.billed_volume, line.reason) == (Decimal("2.5"), "measured")


def test_hours_with_four_decimals_are_the_period_they_round() -> None:
    # 20 minutes are 0.3333 or 0.3334 hours; the step of a minute is reached exactly in either case.
    program = program_of(element(component("TIME", "6", step=60)))
    for volume in ("0.3333", "0.3334"):
        assert priced_by(program, (0, {"TIME": volume}), minutes=20).lines[0].billed_volume == 1200


def test_hours_that_are_not_their_period_are_billed_as_stated() -> None:
    program = program_of(element(component("TIME", "6", step=60)))
    found = priced_by(program, (0, {"TIME": "0.25"}), minutes=20)
    assert found.lines[0].billed_volume == 900


def test_a_negative_step_is_noted_and_ignored() -> None:
    program = program_of(element(component("ENERGY", "1", step=-5)))
    found = priced_by(program, (0, {"ENERGY": "1.3"}))
    assert (found.excl_vat_minor, codes(found)) == (130, {"step_size_odd"})


def test_a_missing_step_is_noted_and_rounds_nothing() -> None:
    program = program_of(element(component("ENERGY", "1", step=None)))
    found = priced_by(program, (0, {"ENERGY": "1.3"}))
    assert (found.excl_vat_minor, codes(found)) == (130, {"step_size_missing"})


def test_reservation_time_is_stepped_apart_from_charging_time() -> None:
    program = program_of(
        element(component("TIME", "6", step=600), reservation="RESERVATION"),
        element(component("TIME", "6", step=600)),
    )
    found = priced_by(program, (0, {"RESERVATION_TIME": "0.05"}), (3, {"TIME": "0.0667"}), minutes=7)
    assert [line.billed_volume for line in found.lines] == [600, 600]


def test_unpriced_parking_is_not_part_of_what_is_stepped() -> None:
    program = program_of(element(component("PARKING_TIME", "6", step=900), end_time="12:30"))
    found = priced_by(program, (0, {"PARKING_TIME": "0.5"}), (30, {"PARKING_TIME": "0.1"}), minutes=36)
    assert found.lines[0].billed_volume == 1800


# Taxes


def test_an_omitted_rate_of_2_2_1_means_that_no_vat_applies() -> None:
    found = priced_by(program_of(element(ENERGY)), (0, {"ENERGY": "2"}))
    assert (found.incl_vat_minor, found.tax_known) == (100, True)


def test_prices_that_include_tax_give_the_net_by_division() -> None:
    program = program_of(element(component("ENERGY", "0.60", vat="20")), version=V230, tax_included="YES")
    found = priced_by(program, (0, {"ENERGY": "10"}))
    assert (found.excl_vat_minor, found.incl_vat_minor) == (500, 600)


def test_a_tariff_to_which_no_tax_applies_ignores_a_rate_and_says_so() -> None:
    program = program_of(element(component("ENERGY", "0.60", vat="20")), version=V230, tax_included="N/A")
    found = priced_by(program, (0, {"ENERGY": "10"}))
    assert (found.excl_vat_minor, found.incl_vat_minor, found.tax_known) == (600, 600, True)
    assert codes(found) == {"tax_rate_ignored"}


def test_a_missing_tax_included_is_read_as_net_and_noted() -> None:
    program = program_of(element(component("ENERGY", "0.50", vat="20")), version=V230)
    found = priced_by(program, (0, {"ENERGY": "10"}))
    assert (found.incl_vat_minor, codes(found)) == (600, {"tax_mode_missing"})


def test_an_unknown_tax_included_never_adds_tax() -> None:
    program = program_of(element(component("ENERGY", "0.60", vat="20")), version=V230, tax_included="SOME")
    found = priced_by(program, (0, {"ENERGY": "10"}))
    assert (found.incl_vat_minor, codes(found)) == (600, {"unknown_value"})


def test_taxes_by_rate_add_up_to_gross_less_net() -> None:
    program = program_of(element(component("FLAT", "0.99", vat="19"), component("ENERGY", "0.333", vat="7")))
    found = priced_by(program, (0, {"ENERGY": "3.333"}))
    assert {share.percent for share in found.taxes} == {Decimal(19), Decimal(7)}
    assert sum(share.tax_minor for share in found.taxes) == found.incl_vat_minor - found.excl_vat_minor


# Limits


def limits(net: str, gross: str | None = None) -> dict[str, Number]:
    found = {"excl_vat": Number(net)}
    return found if gross is None else found | {"incl_vat": Number(gross)}


def test_limits_hold_on_net_and_gross_independently() -> None:
    mixed = [component("FLAT", "5", vat="0"), component("ENERGY", "1", vat="20")]
    program = program_of(element(*mixed), max_price=limits("10", "11"))
    found = priced_by(program, (0, {"ENERGY": "5"}))  # 10.00 and 11.00: both just met
    assert (found.excl_vat_minor, found.incl_vat_minor) == (1000, 1100)
    found = priced_by(program, (0, {"ENERGY": "5.2"}))
    assert (found.excl_vat_minor, found.incl_vat_minor) == (1000, 1100)
    gross_first = program_of(element(*mixed), max_price=limits("12", "11"))
    found = priced_by(gross_first, (0, {"ENERGY": "5.5"}))
    assert (found.excl_vat_minor, found.incl_vat_minor) == (1050, 1100)


def test_a_maximum_without_a_gross_side_scales_the_tax_along() -> None:
    program = program_of(element(component("ENERGY", "1", vat="20")), max_price=limits("10"))
    found = priced_by(program, (0, {"ENERGY": "13"}))
    assert (found.excl_vat_minor, found.incl_vat_minor) == (1000, 1200)
    assert codes(found) == {"limit_gross_derived"}


def test_a_minimum_without_a_gross_side_uses_the_only_rate_of_an_unused_session() -> None:
    program = program_of(element(component("ENERGY", "1", vat="20")), min_price=limits("1"))
    found = priced_by(program, (0, {"TIME": "1"}))
    assert (found.excl_vat_minor, found.incl_vat_minor) == (100, 120)


def test_a_maximum_below_the_minimum_wins() -> None:
    program = program_of(element(ENERGY), min_price=limits("5", "5"), max_price=limits("3", "3"))
    assert priced_by(program, (0, {"ENERGY": "1"})).incl_vat_minor == 300


def test_a_gross_limit_below_the_net_lowers_the_net_too() -> None:
    program = program_of(element(component("ENERGY", "1", vat="20")), max_price=limits("10", "9"))
    found = priced_by(program, (0, {"ENERGY": "20"}))
    assert (found.excl_vat_minor, found.incl_vat_minor) == (900, 900)
    assert codes(found) == {"limit_contradicts"}


def test_a_total_at_its_maximum_is_rounded_down() -> None:
    program = program_of(element(ENERGY), max_price=limits("1.005", "1.005"))
    assert priced_by(program, (0, {"ENERGY": "20"})).incl_vat_minor == 100


def test_an_unused_reservation_owes_no_minimum_of_a_session() -> None:
    program = program_of(
        element(component("FLAT", "2"), reservation="RESERVATION_EXPIRES"),
        element(ENERGY),
        min_price=limits("9"),
    )
    found = priced_by(program, (0, {"RESERVATION_TIME": "1"}))
    assert (found.incl_vat_minor, codes(found)) == (200, {"reservation_expired"})


def test_limits_written_as_in_the_other_version_are_used_and_noted() -> None:
    program = program_of(element(ENERGY), version=V230, tax_included="N/A", max_price=limits("1", "1"))
    found = priced_by(program, (0, {"ENERGY": "20"}))
    assert (found.incl_vat_minor, codes(found)) == (100, {"limit_shape"})


# Reservations and bookings


def test_a_reservation_without_expiry_price_costs_its_own_price_when_it_expires() -> None:
    program = program_of(element(component("TIME", "5", step=60), reservation="RESERVATION"), element(ENERGY))
    assert priced_by(program, (0, {"RESERVATION_TIME": "1"})).incl_vat_minor == 500


def test_an_expiry_price_goes_before_the_reservation_price_of_its_dimension() -> None:
    program = program_of(
        element(component("FLAT", "2"), component("TIME", "5"), reservation="RESERVATION"),
        element(component("FLAT", "4"), reservation="RESERVATION_EXPIRES"),
    )
    assert priced_by(program, (0, {"RESERVATION_TIME": "1"})).incl_vat_minor == 900


def test_a_reservation_never_pays_the_fee_of_a_session() -> None:
    program = program_of(element(component("FLAT", "7")))
    assert priced_by(program, (0, {"RESERVATION_TIME": "1"})).incl_vat_minor == 0


def test_a_booking_s_no_show_and_overtime_have_their_own_prices() -> None:
    program = program_of(
        element(component("FLAT", "8"), booking="BOOKING_EXPIRES"),
        element(component("TIME", "12"), booking="BOOKING_OVERTIME"),
        element(component("FLAT", "3"), booking="BOOKING_CANCELLATION_FEES"),
        element(ENERGY),
        version=V230,
        tax_included="N/A",
    )
    assert priced_by(program, (0, {"RESERVATION_EXPIRES": "1"})).incl_vat_minor == 800
    found = priced_by(program, (0, {"ENERGY": "2"}), (60, {"RESERVATION_OVERTIME": "0.5"}), minutes=90)
    assert found.incl_vat_minor == 100 + 600


# Odd input is named


def odd(*periods: tuple[float, dict[str, str]], **fields: Any) -> set[str]:
    return codes(priced_by(program_of(element(ENERGY)), *periods, **fields))


def test_periods_out_of_order_are_noted_and_priced_in_order() -> None:
    program = program_of(element(component("ENERGY", "1"), max_kwh=1), element(component("ENERGY", "2")))
    found = priced_by(program, (30, {"ENERGY": "1"}), (0, {"ENERGY": "1"}))
    assert (found.incl_vat_minor, codes(found)) == (300, {"periods_out_of_order"})


def test_a_period_before_or_after_the_session_is_noted() -> None:
    assert odd((-5, {"ENERGY": "1"})) == {"period_outside_session"}
    assert odd((0, {"ENERGY": "1"}), (90, {"ENERGY": "1"})) == {
        "period_outside_session",
        "period_zero_length",
    }


def test_a_session_that_ends_before_it_starts_is_noted() -> None:
    assert odd((0, {"ENERGY": "1"}), minutes=-10) >= {"session_ends_before_start"}


def test_a_period_without_length_is_noted() -> None:
    assert odd((0, {"ENERGY": "1"}), (0, {"ENERGY": "2"})) == {"period_zero_length"}


def test_times_longer_than_their_period_are_noted() -> None:
    assert odd((0, {"ENERGY": "1", "TIME": "2"})) == {"time_exceeds_period"}
    assert odd((0, {"ENERGY": "1", "TIME": "0.6", "PARKING_TIME": "0.6"})) == {"time_exceeds_period"}


def test_unknown_times_of_a_session_are_noted() -> None:
    tree = cdr_tree((0, {"ENERGY": "2"}), start_date_time="1970-1-1T00:00:00Z")
    found = price(program_of(element(ENERGY)), parse_cdr(encode(tree), version=V221))
    assert (found.incl_vat_minor, codes(found)) == (100, {"session_times_unknown"})


def test_totals_that_contradict_the_periods_are_noted() -> None:
    assert odd((0, {"ENERGY": "1"}), total_energy=Number("5")) == {"total_energy_differs"}
    assert odd((0, {"ENERGY": "1"}), total_parking_time=Number("5")) == {"total_time_differs"}
    assert odd((0, {"TIME": "1"}), total_energy=Number("5")) == {"dimension_unmeasured", "nothing_priced"}


def test_a_repeated_dimension_is_added_up_and_noted() -> None:
    tree = cdr_tree((0, {}))
    tree["charging_periods"][0]["dimensions"] = [
        {"type": "ENERGY", "volume": 1},
        {"type": "ENERGY", "volume": 2},
    ]
    found = price(program_of(element(ENERGY)), parse_cdr(encode(tree), version=V221))
    assert (found.incl_vat_minor, codes(found)) == (150, {"dimension_repeated"})


def test_a_negative_volume_is_noted_and_a_negative_total_is_nothing_to_pay() -> None:
    found = priced_by(program_of(element(ENERGY)), (0, {"ENERGY": "-3"}))
    assert (found.incl_vat_minor, codes(found)) == (0, {"negative_volume", "negative_total"})
    assert sum(line.incl_vat for line in found.lines) == 0


def test_another_currency_is_noted_and_the_tariff_s_is_used() -> None:
    found = priced_by(program_of(element(ENERGY)), (0, {"ENERGY": "2"}), currency="CHF")
    assert (found.currency, codes(found)) == ("EUR", {"currency_differs"})


def test_a_tariff_outside_its_time_is_noted() -> None:
    late = program_of(element(ENERGY), end_date_time="2026-01-31T23:59:59Z")
    early = program_of(element(ENERGY), start_date_time="2027-01-01T00:00:00")
    for program in (late, early):
        assert codes(priced_by(program, (0, {"ENERGY": "2"}))) == {"tariff_not_in_force"}


def test_a_tariff_of_another_cpo_is_noted() -> None:
    found = priced_by(program_of(element(ENERGY), party_id="XYZ"), (0, {"ENERGY": "2"}))
    assert codes(found) == {"tariff_owner_differs"}


def test_a_credit_cdr_is_priced_as_what_it_reverses() -> None:
    found = priced_by(
        program_of(element(ENERGY)), (0, {"ENERGY": "2"}), credit=True, credit_reference_id="C0"
    )
    assert (found.incl_vat_minor, codes(found)) == (100, {"credit_cdr"})


def test_a_total_beyond_64_bits_is_rejected() -> None:
    program = program_of(element(component("ENERGY", "12345678901234567890")))
    with pytest.raises(InvalidAmountError):
        priced_by(program, (0, {"ENERGY": "12345678901234567890"}))


# Several tariffs


def test_tariff_ids_that_differ_in_case_are_one_tariff() -> None:
    tree = cdr_tree((0, {"ENERGY": "2"}))
    tree["charging_periods"][0]["tariff_id"] = "t1"
    assert codes(price(program_of(element(ENERGY)), parse_cdr(encode(tree), version=V221))) == set()


def test_a_period_that_names_a_tariff_we_do_not_have_is_priced_by_the_anchor_and_noted() -> None:
    tree = cdr_tree((0, {"ENERGY": "2"}))
    tree["charging_periods"][0]["tariff_id"] = "T9"
    found = price(program_of(element(ENERGY)), parse_cdr(encode(tree), version=V221))
    assert (found.incl_vat_minor, codes(found)) == (100, {"tariff_id_differs"})


def test_a_profile_changed_during_the_session_prices_its_periods_by_its_own_tariff() -> None:
    tree = cdr_tree((0, {"ENERGY": "2"}), (30, {"ENERGY": "2"}))
    tree["charging_periods"][0]["tariff_id"] = "Cheap"
    tree["charging_periods"][1]["tariff_id"] = "FAST"
    tree["tariffs"] = [
        tariff_tree(element(component("ENERGY", "9")), id="fast"),
        tariff_tree(element(component("ENERGY", "1")), id="cheap"),
    ]
    cdr = parse_cdr(encode(tree), version=V221)
    programs = embedded_programs(cdr)
    assert programs.main.tariff_id == "cheap"
    found = price(programs.main, cdr, others=programs.others)
    assert (found.incl_vat_minor, codes(found)) == (2000, set())


def test_tariffs_in_two_currencies_are_never_added_up() -> None:
    tree = cdr_tree((0, {"ENERGY": "2"}), (30, {"ENERGY": "2"}))
    tree["charging_periods"][1]["tariff_id"] = "dear"
    anchor = program_of(element(ENERGY))
    dear = program_of(element(component("ENERGY", "9")), currency="CHF", id="dear")
    found = price(anchor, parse_cdr(encode(tree), version=V221), others={"dear": dear})
    assert (found.incl_vat_minor, codes(found)) == (200, {"currency_differs", "tariff_id_differs"})


def test_a_cdr_without_a_tariff_says_what_is_missing() -> None:
    with pytest.raises(MalformedDocumentError, match="carries no tariff"):
        embedded_programs(cdr_of((0, {"ENERGY": "2"})))


# Time zones


@pytest.mark.parametrize(
    ("zone", "fields", "expected"),
    [
        ("Europe/Berlin", {}, ("Europe/Berlin", set())),
        (None, {"cdr_location": {"time_zone": "Europe/Paris"}}, ("Europe/Paris", set())),
        (None, {"cdr_location": {"country": "NLD"}}, ("Europe/Amsterdam", {"time_zone_assumed"})),
        (None, {"cdr_location": {"country": "ESP"}}, ("UTC", {"time_zone_assumed"})),
        (None, {}, ("UTC", {"time_zone_assumed"})),
    ],
)
def test_the_time_zone_used_is_noted(
    zone: str | None, fields: dict[str, Any], expected: tuple[str, set[str]]
) -> None:
    program = program_of(element(ENERGY, start_time="00:00", end_time="00:00"))
    found = priced_by(program, (0, {"ENERGY": "1"}), zone=zone, **fields)
    assert (found.time_zone, codes(found)) == expected


def test_no_time_zone_is_needed_where_no_restriction_needs_local_time() -> None:
    found = priced_by(program_of(element(ENERGY)), (0, {"ENERGY": "1"}), zone=None)
    assert (found.time_zone, codes(found)) == (None, set())


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "Europe", "../etc/passwd", "/etc/localtime", "UTC\0"])
def test_a_time_zone_that_does_not_exist_is_rejected(name: str) -> None:
    program = program_of(element(ENERGY, start_time="08:00"))
    if not name:
        assert priced_by(program, (0, {"ENERGY": "1"}), zone=name).time_zone == "UTC"
        return
    with pytest.raises(UnknownTimeZoneError):
        priced_by(program, (0, {"ENERGY": "1"}), zone=name)


# The CPO's total beside ours


@pytest.mark.parametrize(
    ("net", "gross", "verdict"),
    [
        ("1.00", "1.20", CpoTotalCheck.AGREES),
        ("1.01", "1.21", CpoTotalCheck.AGREES),
        ("1.02", "1.22", CpoTotalCheck.TOO_HIGH),
        ("0.98", "1.18", CpoTotalCheck.TOO_LOW),
        ("1.00", "1.25", CpoTotalCheck.TOO_HIGH),
        ("1.00", None, CpoTotalCheck.AGREES),
    ],
)
def test_the_cpo_s_total_is_compared_within_a_cent(
    net: str, gross: str | None, verdict: CpoTotalCheck
) -> None:
    program = program_of(element(component("ENERGY", "0.50", vat="20")))
    cdr = cdr_of((0, {"ENERGY": "2"}), total_cost=limits(net, gross))
    found = compare(price(program, cdr), cdr)
    assert found.verdict is verdict
    assert found.flagged is (verdict in {CpoTotalCheck.TOO_HIGH, CpoTotalCheck.TOO_LOW})


def test_a_credit_s_negative_total_is_compared_by_amount() -> None:
    cdr = cdr_of((0, {"ENERGY": "2"}), credit=True, total_cost=limits("-1.00", "-1.00"))
    assert compare(price(program_of(element(ENERGY)), cdr), cdr).verdict is CpoTotalCheck.AGREES


def test_totals_of_another_currency_are_not_compared() -> None:
    cdr = cdr_of((0, {"ENERGY": "2"}), currency="CHF", total_cost=limits("1.00"))
    found = compare(price(program_of(element(ENERGY)), cdr), cdr)
    assert (found.verdict, found.flagged) == (CpoTotalCheck.NOT_COMPARABLE, True)


def test_a_cdr_without_a_total_is_not_flagged() -> None:
    cdr = cdr_of((0, {"ENERGY": "2"}))
    assert not compare(price(program_of(element(ENERGY)), cdr), cdr).flagged


# The breakdown


def test_the_breakdown_holds_decimal_strings_in_the_currency_s_digits() -> None:
    program = program_of(element(component("ENERGY", "0.50", vat="20", step=1000)))
    found = priced_by(program, (0, {"ENERGY": "1.5"})).to_dict()
    assert (found["excl_vat"], found["incl_vat"], found["currency"]) == ("1.00", "1.20", "EUR")
    line = found["lines"][0]
    assert (line["volume"], line["billed_volume"], line["reason"]) == ("1.5", "2", "stepped")
    assert found["taxes"] == [{"name": "VAT", "percent": "20", "net": "1.00", "tax": "0.20"}]


@pytest.mark.parametrize(("currency", "expected"), [("JPY", "5"), ("KWD", "5.400"), ("HUF", "5.40")])
def test_totals_have_the_minor_unit_of_their_currency(currency: str, expected: str) -> None:
    program = program_of(element(component("ENERGY", "1.8")), currency=currency)
    assert priced_by(program, (0, {"ENERGY": "3"}), currency=currency).to_dict()["incl_vat"] == expected
