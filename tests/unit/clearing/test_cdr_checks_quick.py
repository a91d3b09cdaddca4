"""The quick look at an ordinary CDR gives what the rules give, whatever the CDR."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clearing.cdr_checks.checks import RULES, TotalCheck, apply_rules, check_cdr, check_total
from clearing.cdr_checks.facts import EarlierUsage, SessionFacts
from clearing.cdr_checks.limits import LimitName, LimitRow, default_rows, limits_at
from clearing.cdr_checks.quick import no_rule_finds
from clearing.pricing.cdr import Cdr, Cost, Period, Quantity
from clearing.pricing.compare import CpoTotalCheck, agrees, compare
from clearing.pricing.engine import price
from tests.unit.clearing.pricing_builders import Number, cdr_of, component, element, program_of

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PROGRAM = program_of(element(component("ENERGY", "0.50")))
ORDINARY = msgspec.structs.replace(
    cdr_of(
        (0, {"ENERGY": "20", "TIME": "0.5", "MAX_CURRENT": "16"}),
        (30, {"ENERGY": "5", "PARKING_TIME": "0.5"}),
        minutes=60,
        cdr_location={"id": "LOC1", "evse_uid": "E1", "evse_id": "NL*ABC*E1"},
        total_energy=Number("25"),
        total_time=1,
        total_cost={"excl_vat": Number("12.5")},
    ),
    auth_id="TOKEN1",
    contract_id="NL-TNM-C00000001-X",
    authorization_reference="REF1",
    country_code="NL",
    party_id="ABC",
)
FACTS = SessionFacts(
    now=START + 61 * MINUTE,
    authorized_at=START - 2 * MINUTE,
    cpo_id="NL-ABC",
    currency="EUR",
    evse_id="NL*ABC*E1",
    evse_uid="E1",
    location_id="LOC1",
    max_power_w=50_000,
    power_type="DC",
    token_uid="TOKEN1",
    contract_id="NL-TNM-C00000001-X",
    references=("REF1",),
)
LIMITS = limits_at((), START)

# Volumes around the limits: 28.5 kWh in half an hour at 50 kW, 14.75 in a quarter, 56 in an hour.
NEAR = """
    0 -0 -0.001 0.5 1.00 1 14.75 14.7501 20 25 28.5 28.500001 29 56 56.0001 250 250.0001 25000
    20.000000000000000000000000000000000001 14.75000000000000000000000000000000000001
    28.49999999999999999999999999999999999999 28.50000000000000000000000000000000000001
"""
NUMBERS = st.sampled_from([Decimal(text) for text in NEAR.split()]) | st.decimals(-1, 300, places=3)
SPELLINGS = "ENERGY ENERGY ENERGY TIME PARKING_TIME RESERVATION_TIME ENERGY_IMPORT energy Time other"
TYPES = st.sampled_from([*SPELLINGS.split(), "MAX_CURRENT", "STATE_OF_CHARGE", "max_power"])
QUANTITIES = st.builds(Quantity, TYPES, NUMBERS)
PERIODS = st.lists(
    st.tuples(st.integers(-1, 61), st.lists(QUANTITIES, max_size=3).map(tuple)), min_size=1, max_size=4
).map(lambda found: tuple(Period(start=START + at * MINUTE, dimensions=volumes) for at, volumes in found))
TIMES = st.sampled_from([-91, -1, 0, 5, 60, 65, 1445]).map(lambda minutes: START + minutes * MINUTE)
NAMES = st.sampled_from([None, "", "#NA", "NL*ABC*E1", "nlabce1", "NL*ABC*E2", "TOKEN1", "token1", "REF1"])
CDR_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "periods": PERIODS,
        "start": TIMES,
        "end": TIMES,
        "total_energy_kwh": st.none() | NUMBERS,
        "total_time_h": st.none() | NUMBERS,
        "total_parking_time_h": st.none() | NUMBERS,
        "total_cost": st.none() | st.builds(Cost, excl_vat=NUMBERS),
        "evse_id": NAMES,
        "evse_uid": NAMES,
        "auth_id": NAMES,
        "contract_id": NAMES,
        "authorization_reference": NAMES,
        "country_code": st.sampled_from([None, "NL", "nl", "DE"]),
        "currency": st.sampled_from(["EUR", "CHF"]),
        "credit": st.booleans(),
        "home_charging": st.booleans(),
    },
)
EARLIER = EarlierUsage(energy_wh=25_000, started_at=START, ended_at=START + 60 * MINUTE)
FACT_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "now": st.sampled_from([55, 54, 61, 43_260, 43_261, 129_660, 129_661]).map(
            lambda minutes: START + minutes * MINUTE
        ),
        "authorized_at": st.sampled_from([-1441, -1440, 0, 5, 6]).map(lambda at: START + at * MINUTE),
        "cpo_id": st.sampled_from(["NL-ABC", "nl-abc", "NL-XYZ"]),
        "evse_id": st.sampled_from(["NL*ABC*E1", "NLABCE1", "NL*ABC*E3", "#NA"]),
        "max_power_w": st.sampled_from([None, 0, 11_000, 25_000, 50_000]),
        "power_type": st.sampled_from([None, "DC", "AC_3_PHASE"]),
        "token_uid": NAMES,
        "contract_id": NAMES,
        "references": st.sampled_from([(), ("REF1",), ("ref1",), ("REF2", "REF1")]),
        "other_cdr_id": st.sampled_from([None, "C0"]),
        "overlapping": st.sampled_from([(), ("ses_other",)]),
        "stated_by_api": st.booleans(),
        "earlier_usage": st.sampled_from([None, EARLIER]),
        "other_evse_same_tariff": st.sampled_from([None, True]),
    },
)
LIMIT_CHANGES = st.dictionaries(
    st.sampled_from(list(LimitName)),
    st.sampled_from([Decimal(0), Decimal(1), Decimal("0.333"), Decimal(100), Decimal(100_000)]),
    max_size=2,
)


def odd(cdr: dict[str, Any], facts: dict[str, Any]) -> tuple[Cdr, SessionFacts]:
    return msgspec.structs.replace(ORDINARY, **cdr), replace(FACTS, **facts)


@given(cdr=CDR_CHANGES, facts=FACT_CHANGES, changed=LIMIT_CHANGES)
@example(cdr={}, facts={}, changed={})
def test_the_quick_look_and_the_rules_find_the_same(
    cdr: dict[str, Any], facts: dict[str, Any], changed: dict[LimitName, Decimal]
) -> None:
    a_cdr, some_facts = odd(cdr, facts)
    rows = [
        LimitRow(name=name, value=value, valid_from=START, party_id="NL-ABC")
        for name, value in changed.items()
    ]
    limits = limits_at(rows, START)
    plain = apply_rules(a_cdr, some_facts, limits)
    assert check_cdr(a_cdr, some_facts, limits) == plain
    assert not (plain and no_rule_finds(a_cdr, some_facts, limits))


@given(volumes=st.lists(st.lists(QUANTITIES, max_size=3), min_size=1, max_size=4), total=st.none() | NUMBERS)
def test_whatever_the_volumes_the_quick_look_and_the_rules_find_the_same(
    volumes: list[list[Quantity]], total: Decimal | None
) -> None:
    periods = tuple(
        Period(start=START + 15 * place * MINUTE, dimensions=tuple(one)) for place, one in enumerate(volumes)
    )
    a_cdr = msgspec.structs.replace(ORDINARY, periods=periods, total_energy_kwh=total)
    assert check_cdr(a_cdr, FACTS, LIMITS) == apply_rules(a_cdr, FACTS, LIMITS)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"token_uid": None, "contract_id": None, "references": ()},
        {"token_uid": "ANOTHER"},  # the contract is the authorized one
        {"max_power_w": None},
        {"now": START + 89 * 1440 * MINUTE},
    ],
)
def test_an_ordinary_cdr_needs_no_more_than_the_quick_look(facts: dict[str, Any]) -> None:
    assert no_rule_finds(ORDINARY, replace(FACTS, **facts), LIMITS)


# One CDR for each rule: what the rule finds is never passed over.
ODD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "starts_before_authorization": ({}, {"authorized_at": START + 6 * MINUTE}),
    "starts_after_authorization": ({}, {"authorized_at": START - 1441 * MINUTE}),
    "ends_in_future": ({}, {"now": START}),
    "too_old": ({}, {"now": START + 91 * 1440 * MINUTE}),
    "energy_looks_like_wh": ({"total_energy_kwh": Decimal(20_000)}, {}),
    "energy_above_power": ({}, {"max_power_w": 10_000}),
    "period_above_power": ({}, {"max_power_w": 30_000}),
    "energy_above_limit": ({"total_energy_kwh": Decimal(300)}, {"max_power_w": 1_000_000}),
    "negative_volume": ({"total_time_h": Decimal(-1)}, {}),
    "time_exceeds_session": ({"end": START + 50 * MINUTE}, {}),
    "total_energy_differs": ({"total_energy_kwh": Decimal(24)}, {}),
    "evse_differs": ({"evse_id": "NL*ABC*E2", "evse_uid": "E2"}, {}),
    "token_differs": ({"auth_id": "T2", "contract_id": "C2"}, {}),
    "reference_differs": ({"authorization_reference": "REF2"}, {}),
    "cpo_differs": ({}, {"cpo_id": "NL-XYZ"}),
    "currency_differs": ({"currency": "CHF"}, {}),
    "second_cdr": ({}, {"other_cdr_id": "C0"}),
    "overlaps_other": ({}, {"overlapping": ("ses_other",)}),
    "home_charging": ({"home_charging": True}, {}),
    "negative_total": ({"total_cost": Cost(excl_vat=Decimal(-1))}, {}),
    "usage_differs": ({}, {"earlier_usage": replace(EARLIER, energy_wh=1_000)}),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_a_rule_finds_the_quick_look_does_not_pass_over(rule: Any) -> None:
    cdr, facts = odd(*ODD[rule.__name__])
    assert rule.__name__ in {found.code.value for found in check_cdr(cdr, facts, LIMITS)}


@given(
    net=st.decimals("11", "14", places=3) | st.sampled_from([Decimal("12.49"), Decimal("12.510")]),
    gross=st.none() | st.decimals("11", "17", places=3),
    tolerance=st.sampled_from([Decimal(0), Decimal("0.01"), Decimal(1)]),
    credit=st.booleans(),
    currency=st.sampled_from(["EUR", "CHF"]),
)
def test_totals_that_agree_at_once_agree_when_compared(
    net: Decimal, gross: Decimal | None, tolerance: Decimal, *, credit: bool, currency: str
) -> None:
    cost = Cost(excl_vat=net, incl_vat=gross)
    priced = price(PROGRAM, ORDINARY, time_zone="Europe/Amsterdam")
    cdr = msgspec.structs.replace(ORDINARY, total_cost=cost, credit=credit, currency=currency)
    verdict = compare(priced, cdr, tolerance=tolerance).verdict
    if not credit:
        assert agrees(priced, cdr, tolerance=tolerance) is (verdict is CpoTotalCheck.AGREES)
    elif agrees(priced, cdr, tolerance=tolerance):
        assert verdict is CpoTotalCheck.AGREES
    if verdict is CpoTotalCheck.AGREES:
        row = LimitRow(name=LimitName.TOTAL_TOLERANCE, value=tolerance, valid_from=START, party_id="NL-ABC")
        checked = check_total(cdr, priced, limits_at((row,), START))
        assert checked == TotalCheck(finding=None, lower_minor=None)


@given(
    rows=st.lists(
        st.builds(
            LimitRow,
            name=st.sampled_from(list(LimitName)[:3]),
            value=st.integers(1, 9).map(Decimal),
            valid_from=st.integers(-9, 9).map(lambda days: START + timedelta(days=days)),
            party_id=st.sampled_from([None, "platform", "NL-ABC"]),
        ),
        max_size=6,
    ),
    days=st.integers(-9, 9) | st.just(-5_000),
)
def test_limits_are_those_of_all_rows_by_rank_and_date(rows: list[LimitRow], days: int) -> None:
    at = START + timedelta(days=days)
    best: dict[LimitName, LimitRow] = {}
    ranks = {None: 0, "platform": 1}
    for row in sorted((*default_rows(), *rows), key=lambda one: (ranks.get(one.party_id, 2), one.valid_from)):
        if row.valid_from <= at:
            best[row.name] = row
    assert limits_at(rows, at).values == {name: row.value for name, row in best.items()}
