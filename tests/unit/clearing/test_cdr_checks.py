"""Each check of a CDR from both sides: the last value that it takes and the first that it does not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.cdr_checks.checks import RULES, check_cdr, check_total
from clearing.cdr_checks.credit import check_credit
from clearing.cdr_checks.facts import EarlierUsage, SessionFacts
from clearing.cdr_checks.finding import CheckCode, CheckOutcome, described, exceptional, flags
from clearing.cdr_checks.limits import (
    HIGHEST,
    CdrLimits,
    LimitName,
    LimitRow,
    default_rows,
    is_allowed,
    limits_at,
)
from clearing.pricing.cdr import Cdr
from clearing.pricing.engine import price
from tests.unit.clearing.pricing_builders import Number, cdr_of, component, element, program_of

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
FACTS = SessionFacts(
    now=START + timedelta(minutes=61),
    authorized_at=START - timedelta(minutes=2),
    cpo_id="NL-ABC",
    currency="EUR",
    evse_id="NL*ABC*E0001",
    evse_uid="E1",
    location_id="LOC1",
    max_power_w=50_000,
    power_type="DC",
)
PLACE = {"cdr_location": {"id": "LOC1", "evse_uid": "E1", "evse_id": "NL*ABC*E0001"}}
TAKE = None
FLAG, EXCEPT, REFUSE = CheckOutcome.FLAG, CheckOutcome.EXCEPT, CheckOutcome.REFUSE


def a_cdr(kwh: str = "20", **fields: Any) -> Cdr:
    return cdr_of((0, {"ENERGY": kwh}), **(PLACE | fields))


def limits(**changed: str) -> CdrLimits:
    rows = [
        LimitRow(name=LimitName(name), value=Decimal(value), valid_from=START, party_id="NL-ABC")
        for name, value in changed.items()
    ]
    return limits_at(rows, START)


def found(cdr: Cdr, facts: SessionFacts = FACTS, at: CdrLimits | None = None) -> dict[str, CheckOutcome]:
    return {one.code.value: one.outcome for one in check_cdr(cdr, facts, at or limits())}


def expect(code: CheckCode, outcome: CheckOutcome | None, cdr: Cdr, facts: SessionFacts = FACTS) -> None:
    assert found(cdr, facts).get(code.value) is outcome


def test_an_ordinary_cdr_is_taken_without_a_finding() -> None:
    assert found(a_cdr()) == {}
    assert found(a_cdr(total_energy=Number("20"), total_time=1, total_cost={"excl_vat": 5})) == {}


@pytest.mark.parametrize(
    ("code", "outcome", "facts"),
    [
        (CheckCode.STARTS_BEFORE_AUTHORIZATION, TAKE, {"authorized_at": START + timedelta(seconds=300)}),
        (CheckCode.STARTS_BEFORE_AUTHORIZATION, EXCEPT, {"authorized_at": START + timedelta(seconds=301)}),
        (CheckCode.STARTS_AFTER_AUTHORIZATION, TAKE, {"authorized_at": START - timedelta(days=1)}),
        (
            CheckCode.STARTS_AFTER_AUTHORIZATION,
            EXCEPT,
            {"authorized_at": START - timedelta(days=1, seconds=1)},
        ),
        (CheckCode.ENDS_IN_FUTURE, TAKE, {"now": START + timedelta(minutes=55)}),
        (CheckCode.ENDS_IN_FUTURE, EXCEPT, {"now": START + timedelta(minutes=55, seconds=-1)}),
        (CheckCode.ENDS_IN_FUTURE, EXCEPT, {"now": START + timedelta(hours=-23)}),
        (CheckCode.ENDS_IN_FUTURE, REFUSE, {"now": START + timedelta(hours=-23, seconds=-1)}),
        (CheckCode.TOO_OLD, TAKE, {"now": START + timedelta(days=90, hours=1)}),
        (CheckCode.TOO_OLD, EXCEPT, {"now": START + timedelta(days=90, hours=1, seconds=1)}),
        (CheckCode.TOO_OLD, TAKE, {"now": START + timedelta(days=30, hours=1), "stated_by_api": True}),
        (CheckCode.TOO_OLD, EXCEPT, {"now": START + timedelta(days=31), "stated_by_api": True}),
        (CheckCode.CURRENCY_DIFFERS, TAKE, {"currency": "EUR"}),
        (CheckCode.CURRENCY_DIFFERS, EXCEPT, {"currency": "CHF"}),
        (CheckCode.CPO_DIFFERS, TAKE, {"cpo_id": "nl-abc"}),
        (CheckCode.CPO_DIFFERS, REFUSE, {"cpo_id": "NL-XYZ"}),
        (CheckCode.SECOND_CDR, TAKE, {"other_cdr_id": None}),
        (CheckCode.SECOND_CDR, EXCEPT, {"other_cdr_id": "C0"}),
        (CheckCode.OVERLAPS_OTHER, TAKE, {"overlapping": ()}),
        (CheckCode.OVERLAPS_OTHER, EXCEPT, {"overlapping": ("ses_other",)}),
    ],
)
def test_a_cdr_fits_the_session_it_was_authorized_for(
    code: CheckCode, outcome: CheckOutcome | None, facts: dict[str, Any]
) -> None:
    expect(code, outcome, a_cdr(), replace(FACTS, **facts))


def test_a_reservation_may_start_long_after_its_authorization() -> None:
    cdr = cdr_of((0, {"RESERVATION_TIME": "1"}), **PLACE)
    expect(
        CheckCode.STARTS_AFTER_AUTHORIZATION,
        TAKE,
        cdr,
        replace(FACTS, authorized_at=START - timedelta(days=9)),
    )


# 50 kW for an hour at 110 % and 1 kWh of slack are 56 kWh; of unknown power, DC 441 kWh and AC 48.3 kWh.
@pytest.mark.parametrize(
    ("kwh", "facts", "code", "outcome"),
    [
        ("56", {}, CheckCode.ENERGY_ABOVE_POWER, TAKE),
        ("56.001", {}, CheckCode.ENERGY_ABOVE_POWER, EXCEPT),
        ("56.001", {}, CheckCode.PERIOD_ABOVE_POWER, EXCEPT),
        ("48.3", {"max_power_w": None, "power_type": "AC_3_PHASE"}, CheckCode.ENERGY_ABOVE_POWER, TAKE),
        ("48.301", {"max_power_w": 0, "power_type": "AC_1_PHASE"}, CheckCode.ENERGY_ABOVE_POWER, EXCEPT),
        ("250", {"max_power_w": None}, CheckCode.ENERGY_ABOVE_LIMIT, TAKE),
        ("250.001", {"max_power_w": 10**9}, CheckCode.ENERGY_ABOVE_LIMIT, EXCEPT),
        ("999.999", {}, CheckCode.ENERGY_ABOVE_POWER, EXCEPT),
        ("1000", {}, CheckCode.ENERGY_LOOKS_LIKE_WH, EXCEPT),
        ("250001", {"max_power_w": 10**9}, CheckCode.ENERGY_ABOVE_LIMIT, EXCEPT),
        ("56000", {}, CheckCode.ENERGY_LOOKS_LIKE_WH, EXCEPT),
        ("56000", {}, CheckCode.ENERGY_ABOVE_POWER, TAKE),
        ("56000", {}, CheckCode.ENERGY_ABOVE_LIMIT, TAKE),
        ("56001", {}, CheckCode.ENERGY_LOOKS_LIKE_WH, TAKE),
        ("56001", {}, CheckCode.ENERGY_ABOVE_POWER, EXCEPT),
    ],
)
def test_energy_is_no_more_than_power_time_and_battery_allow(
    kwh: str, facts: dict[str, Any], code: CheckCode, outcome: CheckOutcome | None
) -> None:
    expect(code, outcome, a_cdr(kwh), replace(FACTS, **facts))


def test_wh_sent_as_kwh_is_named_so_and_not_as_other_things() -> None:
    assert found(a_cdr("20500")) == {"energy_looks_like_wh": EXCEPT}


def test_the_stated_total_counts_as_well_as_the_periods() -> None:
    expect(
        CheckCode.ENERGY_ABOVE_POWER,
        EXCEPT,
        cdr_of((0, {"TIME": "1"}), **PLACE, total_energy=Number("60000.5")),
    )


@pytest.mark.parametrize(("kwh", "outcome"), [("10.1", TAKE), ("10.2", EXCEPT)])
def test_one_period_has_no_more_power_than_the_connector(kwh: str, outcome: CheckOutcome | None) -> None:
    # Ten minutes at 50 kW are 8.333 kWh, at 110 % and with 1 kWh of slack 10.167.
    cdr = cdr_of((0, {"ENERGY": kwh}), (10, {"ENERGY": "5"}), **PLACE)
    expect(CheckCode.PERIOD_ABOVE_POWER, outcome, cdr)
    expect(CheckCode.ENERGY_ABOVE_POWER, TAKE, cdr)


def test_periods_that_start_together_are_one() -> None:
    cdr = cdr_of((0, {"TIME": "0.5"}), (0, {"ENERGY": "20"}), (30, {"PARKING_TIME": "0.5"}), **PLACE)
    assert found(cdr) == {}


@pytest.mark.parametrize(
    ("cdr", "outcome"),
    [
        (lambda: a_cdr("0"), TAKE),
        (lambda: a_cdr("-0.001"), EXCEPT),
        (lambda: cdr_of((0, {"TIME": "-1", "ENERGY": "1"}), **PLACE), EXCEPT),
        (lambda: cdr_of((0, {"MIN_CURRENT": "-16", "ENERGY": "1"}), **PLACE), TAKE),
        (lambda: a_cdr(total_energy=Number("-3.5")), EXCEPT),
        (lambda: a_cdr(total_parking_time=Number("-0.1")), EXCEPT),
    ],
)
def test_energy_and_time_are_never_negative(cdr: Callable[[], Cdr], outcome: CheckOutcome | None) -> None:
    expect(CheckCode.NEGATIVE_VOLUME, outcome, cdr())


@pytest.mark.parametrize(("hours", "outcome"), [("0.516", TAKE), ("0.517", EXCEPT)])
def test_no_more_time_is_billed_than_the_session_took(hours: str, outcome: CheckOutcome | None) -> None:
    cdr = cdr_of((0, {"TIME": "0.5", "ENERGY": "1"}), (30, {"PARKING_TIME": hours}), **PLACE)
    expect(CheckCode.TIME_EXCEEDS_SESSION, outcome, cdr)


@pytest.mark.parametrize(
    ("total", "outcome"),
    [
        ("20", TAKE),
        ("20.00", TAKE),
        ("20.1", FLAG),
        ("19.8", FLAG),
        ("20.21", EXCEPT),
        ("19.7", EXCEPT),
    ],
)
def test_total_energy_is_the_sum_of_its_periods(total: str, outcome: CheckOutcome | None) -> None:
    expect(CheckCode.TOTAL_ENERGY_DIFFERS, outcome, a_cdr("20.00", total_energy=Number(total)))


def test_a_rounded_total_energy_is_no_difference() -> None:
    cdr = cdr_of(
        (0, {"ENERGY": "10.1234"}), (30, {"ENERGY": "10.1234"}), **PLACE, total_energy=Number("20.25")
    )
    expect(CheckCode.TOTAL_ENERGY_DIFFERS, TAKE, cdr)


@pytest.mark.parametrize(
    ("place", "same_tariff", "outcome"),
    [
        ({"id": "LOC1", "evse_uid": "e1", "evse_id": "NL*ABC*E0009"}, None, TAKE),
        ({"id": "LOC1", "evse_uid": "X", "evse_id": "nlabce0001"}, None, TAKE),
        ({"id": "loc1", "evse_uid": "E2"}, True, FLAG),
        ({"id": "LOC1", "evse_uid": "E2"}, False, EXCEPT),
        ({"id": "LOC1", "evse_uid": "E2"}, None, EXCEPT),
        ({"id": "LOC2", "evse_uid": "E2"}, True, EXCEPT),
        ({"id": "LOC1", "evse_uid": "#NA", "evse_id": "#NA"}, None, EXCEPT),
        ({"id": "LOC1"}, None, TAKE),
    ],
)
def test_the_evse_is_the_authorized_one(
    place: dict[str, str], *, same_tariff: bool | None, outcome: CheckOutcome | None
) -> None:
    cdr = a_cdr(cdr_location=place)
    expect(CheckCode.EVSE_DIFFERS, outcome, cdr, replace(FACTS, other_evse_same_tariff=same_tariff))


def test_a_reservation_may_name_no_evse() -> None:
    cdr = cdr_of((0, {"RESERVATION_TIME": "1"}), cdr_location={"id": "LOC1", "evse_uid": "#NA"})
    expect(CheckCode.EVSE_DIFFERS, TAKE, cdr)


@pytest.mark.parametrize(
    ("token", "outcome"),
    [
        ({"uid": "04a2", "contract_id": "CH-NWC-C1"}, TAKE),
        ({"uid": "other", "contract_id": "ch-nwc-c1"}, TAKE),
        ({"uid": "04A2", "contract_id": "other"}, TAKE),
        ({"uid": "other", "contract_id": "other"}, EXCEPT),
    ],
)
def test_the_token_is_the_authorized_one(token: dict[str, str], outcome: CheckOutcome | None) -> None:
    known = replace(FACTS, token_uid="04A2", contract_id="CH-NWC-C1")
    expect(CheckCode.TOKEN_DIFFERS, outcome, a_cdr(cdr_token=token), known)
    expect(CheckCode.TOKEN_DIFFERS, TAKE, a_cdr(cdr_token=token))


@pytest.mark.parametrize(
    ("named", "known", "outcome"),
    [
        ("AUTH_1", ("auth_1", "ses_1"), TAKE),
        ("ses_1", ("auth_1", "ses_1"), TAKE),
        (None, ("auth_1", "ses_1"), TAKE),
        ("auth_2", (), TAKE),
        ("auth_2", ("auth_1", "ses_1"), EXCEPT),
    ],
)
def test_the_authorization_it_names_is_the_sessions(
    named: str | None, known: tuple[str, ...], outcome: CheckOutcome | None
) -> None:
    cdr = a_cdr(authorization_reference=named)
    expect(CheckCode.REFERENCE_DIFFERS, outcome, cdr, replace(FACTS, references=known))


# 20 kWh in an hour; the share is 5 % of the larger energy, and 500 Wh and a quarter of an hour are added.
@pytest.mark.parametrize(
    ("energy_wh", "minutes", "outcome"),
    [
        (20_000, 60, TAKE),
        (20_000, 65, TAKE),
        (20_000, 66, FLAG),
        (20_001, 60, FLAG),
        (19_999, 60, FLAG),
        (18_500, 60, FLAG),
        (18_499, 60, EXCEPT),
        (21_578, 60, FLAG),
        (21_579, 60, EXCEPT),
        (100, 60, EXCEPT),
        (0, 60, EXCEPT),
        (20_000, 75, FLAG),
        (20_000, 76, EXCEPT),
        (20_000, 45, FLAG),
        (20_000, 44, EXCEPT),
    ],
)
def test_what_the_payer_stated_before_is_about_the_same(
    energy_wh: int, minutes: int, outcome: CheckOutcome | None
) -> None:
    earlier = EarlierUsage(energy_wh=energy_wh, started_at=START, ended_at=START + timedelta(minutes=minutes))
    expect(CheckCode.USAGE_DIFFERS, outcome, a_cdr(), replace(FACTS, earlier_usage=earlier))


def test_half_a_kilowatt_hour_of_a_short_session_is_only_shown() -> None:
    earlier = EarlierUsage(energy_wh=100, started_at=START, ended_at=START + timedelta(hours=1))
    expect(CheckCode.USAGE_DIFFERS, FLAG, a_cdr("0.63"), replace(FACTS, earlier_usage=earlier))
    expect(CheckCode.USAGE_DIFFERS, EXCEPT, a_cdr("0.64"), replace(FACTS, earlier_usage=earlier))


@pytest.mark.parametrize(("stated", "outcome"), [(True, EXCEPT), (False, TAKE), (None, TAKE)])
def test_home_charging_never_charges_the_driver(*, stated: bool | None, outcome: CheckOutcome | None) -> None:
    expect(CheckCode.HOME_CHARGING, outcome, a_cdr(home_charging_compensation=stated))


@pytest.mark.parametrize(
    ("total", "credit", "outcome"), [("0", False, TAKE), ("-0.01", False, EXCEPT), ("-5", True, TAKE)]
)
def test_only_the_total_of_a_credit_is_negative(
    total: str, *, credit: bool, outcome: CheckOutcome | None
) -> None:
    cdr = a_cdr(total_cost={"excl_vat": Number(total)}, credit=credit, credit_reference_id="C0")
    expect(CheckCode.NEGATIVE_TOTAL, outcome, cdr)


# The tariff: 20 kWh at 0.50 and 20 % VAT, 10.00 net and 12.00 gross.
@pytest.mark.parametrize(
    ("total", "changed", "outcome", "lower"),
    [
        ({"excl_vat": "10.00"}, {}, TAKE, None),
        ({"excl_vat": "9.99"}, {}, TAKE, None),
        ({"excl_vat": "10.02"}, {}, FLAG, None),
        ({"excl_vat": "9.98"}, {}, EXCEPT, 1198),
        ({"excl_vat": "9.98"}, {"total_tolerance": "0.02"}, TAKE, None),
        ({"excl_vat": "8.00", "incl_vat": "9.60"}, {}, EXCEPT, 960),
        ({"excl_vat": "8.00"}, {"lower_of_both": "1"}, FLAG, 960),
        ({"excl_vat": "0.00"}, {}, EXCEPT, 0),
        ({"excl_vat": "0.00"}, {"lower_of_both": "1"}, EXCEPT, 0),
        ({"excl_vat": "-1"}, {"lower_of_both": "1"}, EXCEPT, 0),
    ],
)
def test_the_driver_never_pays_more_than_tariff_and_cpo_ask_for(
    total: dict[str, str], changed: dict[str, str], outcome: CheckOutcome | None, lower: int | None
) -> None:
    cdr = a_cdr(total_cost={name: Number(value) for name, value in total.items()})
    priced = price(program_of(element(component("ENERGY", "0.50", vat="20"))), cdr, time_zone="UTC")
    checked = check_total(cdr, priced, limits(**changed))
    assert (checked.finding.outcome if checked.finding else None, checked.lower_minor) == (outcome, lower)


def test_a_cdr_without_a_total_is_priced_by_the_tariff() -> None:
    cdr = a_cdr()
    priced = price(program_of(element(component("ENERGY", "0.50"))), cdr, time_zone="UTC")
    assert check_total(cdr, priced, limits()).finding is None


def test_every_limit_has_a_default_and_every_code_but_those_of_later_steps_a_rule() -> None:
    assert {row.name for row in default_rows()} == set(LimitName)
    assert len({rule.__name__ for rule in RULES}) == len(RULES)
    assert {rule.__name__ for rule in RULES} <= {code.value for code in CheckCode}


def test_a_limit_counts_from_its_date_the_cpos_before_the_platforms_before_the_default() -> None:
    name = LimitName.CDR_AGE_DAYS

    def row(value: int, days: int, party: str) -> LimitRow:
        return LimitRow(
            name=name, value=Decimal(value), valid_from=START + timedelta(days=days), party_id=party
        )

    rows = [row(60, 0, "platform"), row(10, 2, "NL-ABC"), row(20, 1, "NL-ABC"), row(50, 3, "platform")]
    for days, expected in ((-1, 90), (0, 60), (1, 20), (2, 10), (9, 10)):
        for order in (rows, rows[::-1]):
            assert limits_at(order, START + timedelta(days=days))[name] == expected


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("cdr_age_days", "0", True),
        ("cdr_age_days", str(HIGHEST), True),
        ("cdr_age_days", str(HIGHEST + 1), False),
        ("cdr_age_days", "-1", False),
        ("cdr_age_days", "NaN", False),
        ("lower_of_both", "1", True),
        ("lower_of_both", "0.5", False),
        ("lower_of_both", "2", False),
    ],
)
def test_a_limit_is_a_bounded_number(name: str, value: str, *, allowed: bool) -> None:
    assert is_allowed(LimitName(name), Decimal(value)) is allowed


def test_findings_are_flags_or_exceptions_with_their_text() -> None:
    one = check_cdr(a_cdr("56.001", total_energy=Number("56.02")), FACTS, limits())
    assert flags(one) == ["total_energy_differs"]
    assert {finding.code for finding in exceptional(one)} == {
        CheckCode.ENERGY_ABOVE_POWER,
        CheckCode.PERIOD_ABOVE_POWER,
    }
    assert "energy_above_power: 56.020 kWh in 1:00:00, at most 56.000 kWh" in described(one)


@given(
    kwh=st.decimals("-1e6", "1e6", places=3),
    total=st.none() | st.decimals("-1e6", "1e6", places=2),
    minutes=st.integers(0, 10_000),
    power=st.none() | st.integers(0, 10**9),
)
def test_what_no_rule_finds_is_possible(
    kwh: Decimal, total: Decimal | None, minutes: int, power: int | None
) -> None:
    fields: dict[str, Any] = {} if total is None else {"total_energy": Number(str(total))}
    cdr = cdr_of((0, {"ENERGY": str(kwh)}), minutes=minutes, **PLACE, **fields)
    facts = replace(FACTS, now=cdr.end, max_power_w=power)
    if exceptional(check_cdr(cdr, facts, limits())):
        return
    watts = power or 400_000
    assert 0 <= kwh <= 250
    assert kwh <= Decimal(watts) * minutes / 60_000 * Decimal("1.1") + 1


@pytest.mark.parametrize(
    ("credited", "total", "priced_net", "code"),
    [
        ("-10.00", "10.00", None, None),
        ("-9.99", "10.00", None, None),
        ("-9.98", "10.00", None, CheckCode.PARTIAL_CREDIT),
        ("-12.00", "10.00", None, None),
        ("-10.00", None, "10.00", None),
        ("-9.98", None, "10.00", CheckCode.PARTIAL_CREDIT),
        ("-4.00", None, None, None),
        (None, "10.00", None, None),
    ],
)
def test_a_credit_is_of_the_whole_or_waits(
    credited: str | None, total: str | None, priced_net: str | None, code: CheckCode | None
) -> None:
    credit = a_cdr(credit=True, credit_reference_id="C1", total_cost=_cost(credited))
    found = check_credit(
        credit,
        a_cdr(total_cost=_cost(total)),
        earlier=None,
        priced_net=None if priced_net is None else Decimal(priced_net),
    )
    assert (None if found is None else found.code) is code


def test_a_credit_of_nothing_known_waits_and_a_second_one_changes_nothing() -> None:
    credit = a_cdr(credit=True, credit_reference_id="C1", total_cost=_cost("-10"))
    unknown, second = check_credit(credit, None, earlier=None), check_credit(credit, a_cdr(), earlier="C0")
    assert (unknown and (unknown.code, unknown.waits)) == (CheckCode.CREDIT_OF_UNKNOWN, True)
    assert (second and (second.code, second.waits)) == (CheckCode.CREDITED_TWICE, False)


def _cost(net: str | None) -> dict[str, Any] | None:
    return None if net is None else {"excl_vat": Number(net)}
