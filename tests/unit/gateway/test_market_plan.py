"""The market's plan, tariffs and charge detail records."""

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.market.charging import charge_detail_record
from sandbox.market.participants import BUSINESSES, CPOS, SITES
from sandbox.market.plan import MIN_SESSIONS, DriverMethod, PlannedSession, SessionScenario, plan_day
from sandbox.market.tariffs import tariffs_of

SEEDS = st.integers(min_value=0, max_value=2**32)


def record(session: PlannedSession) -> dict[str, object]:
    return charge_detail_record(session, authorization_reference="auth_1", token_uid="T1", contract_id="C1")


def at(text: object) -> datetime:
    return datetime.fromisoformat(str(text))


def test_same_sessions_and_seed_give_the_same_day() -> None:
    assert plan_day(sessions=60, seed=3) == plan_day(sessions=60, seed=3)
    assert plan_day(sessions=60, seed=3) != plan_day(sessions=60, seed=4)


@given(seed=SEEDS, sessions=st.integers(min_value=MIN_SESSIONS, max_value=90))
@settings(max_examples=40, deadline=None)
def test_every_day_has_every_method_and_every_kind_of_trouble(seed: int, sessions: int) -> None:
    day = plan_day(sessions=sessions, seed=seed)
    assert len(day.sessions) == sessions
    assert {session.method for session in day.sessions} == set(DriverMethod)
    scenarios = Counter(session.scenario for session in day.sessions)
    assert set(scenarios) == set(SessionScenario)
    assert (
        scenarios[SessionScenario.PSP_TIMEOUT]
        == scenarios[SessionScenario.CDR_TWICE]
        == scenarios[SessionScenario.REVOKED]
        == 1
    )


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_no_stall_and_no_vehicle_is_in_two_sessions_at_once(seed: int) -> None:
    day = plan_day(sessions=200, seed=seed)
    stays: dict[object, list[tuple[datetime, datetime]]] = {}
    for session in day.sessions:
        came = session.starts_at - timedelta(seconds=session.reserved_s)
        stays.setdefault(session.evse_id, []).append((came, session.leaves_at))
        if session.vehicle is not None:
            stays.setdefault(session.vehicle, []).append((came, session.leaves_at))
    for periods in stays.values():
        assert all(left <= came for (_, left), (came, _) in pairwise(sorted(periods)))


def test_a_small_day_visits_every_site() -> None:
    day = plan_day(sessions=len(SITES), seed=11)
    assert {session.site.site_id for session in day.sessions} == {site.site_id for site in SITES}


@pytest.mark.parametrize("sessions", [MIN_SESSIONS - 1, 0, 100_001])
def test_a_day_outside_the_bounds_is_rejected(sessions: int) -> None:
    with pytest.raises(ValueError, match="expected 12 to 100000"):
        plan_day(sessions=sessions, seed=1)


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_volumes_of_the_periods_sum_to_the_record_totals(seed: int) -> None:
    for session in plan_day(sessions=40, seed=seed).sessions:
        found = record(session)
        totals: Counter[str] = Counter()
        for period in found["charging_periods"]:  # type: ignore[attr-defined]
            for dimension in period["dimensions"]:
                totals[dimension["type"]] += dimension["volume"]
        assert totals["ENERGY"] == found["total_energy"]
        assert totals["TIME"] + totals["PARKING_TIME"] == found["total_time"]
        assert totals["PARKING_TIME"] == found.get("total_parking_time", 0)
        stay = at(found["end_date_time"]) - at(found["start_date_time"])
        whole = totals["TIME"] + totals["PARKING_TIME"] + totals["RESERVATION_TIME"]
        assert whole * 3600 == Decimal(int(stay.total_seconds()))


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_periods_are_in_order_within_the_session(seed: int) -> None:
    for session in plan_day(sessions=40, seed=seed).sessions:
        found = record(session)
        starts = [at(period["start_date_time"]) for period in found["charging_periods"]]  # type: ignore[attr-defined]
        assert starts == sorted(set(starts))
        assert starts[0] == at(found["start_date_time"])
        assert starts[-1] < at(found["end_date_time"])


def test_a_period_starts_where_the_local_price_changes() -> None:
    # 17:00 in Zurich on 2026-10-29 is 16:00 UTC: winter time began on the 25th.
    crossing = [
        session
        for seed in range(40)
        for session in plan_day(sessions=60, seed=seed).sessions
        if session.site.tariff_id == "peak-and-weekend"
        and session.starts_at.hour == 15
        and session.charge_ends_at.hour >= 16
        and session.charge_ends_at.minute > 0
    ]
    assert crossing
    for session in crossing:
        starts = [period["start_date_time"] for period in record(session)["charging_periods"]]  # type: ignore[attr-defined]
        assert "2026-10-29T16:00:00Z" in starts


def test_the_twentieth_kwh_ends_a_period() -> None:
    session = next(
        session
        for seed in range(40)
        for session in plan_day(sessions=60, seed=seed).sessions
        if session.site.tariff_id == "tiers" and session.energy_wh > 20_000
    )
    first = record(session)["charging_periods"][0]  # type: ignore[index]
    assert first["dimensions"][0] == {"type": "ENERGY", "volume": Decimal("20.000")}


def test_tariffs_cover_every_component_and_restriction_of_the_market() -> None:
    components, restrictions, bounds = set(), set(), set()
    for tariff in (tariff for cpo in CPOS for tariff in tariffs_of(cpo.party_id)):
        bounds |= {"min_price", "max_price"} & set(tariff)
        for element in tariff["elements"]:
            components |= {component["type"] for component in element["price_components"]}
            restrictions |= set(element.get("restrictions", ()))
    assert components == {"ENERGY", "TIME", "PARKING_TIME", "FLAT"}
    assert bounds == {"min_price", "max_price"}
    assert restrictions == {
        "start_time",
        "end_time",
        "day_of_week",
        "min_kwh",
        "max_kwh",
        "min_power",
        "max_power",
        "max_duration",
        "reservation",
    }


def test_each_operator_has_a_currency_and_its_own_tariffs() -> None:
    assert {cpo.country for cpo in CPOS} == {"CH", "DE", "FR", "NL", "GB"}
    for cpo in CPOS:
        ids = [tariff["id"] for tariff in tariffs_of(cpo.party_id)]
        assert len(ids) == len(set(ids)) == 4
        assert all(tariff["currency"] == cpo.currency for tariff in tariffs_of(cpo.party_id))
    assert len({party.party_id for party in (*CPOS, *BUSINESSES)}) == len(CPOS) + len(BUSINESSES)
