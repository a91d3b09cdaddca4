"""What a station says late: which EVSE it was, and that a session began while nobody could be asked."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway.database import Pool
from gateway.ids import parse_id
from gateway.payments.records import SessionRecord, UsageSource
from gateway.payments.requests import ANY_DRIVER, ChargePoint, EvseUnknown, TariffChoice, TariffMissing
from tests.fakes.api import EVSE, START, TARIFF, Answer, cdr
from tests.fakes.pnc_authorize import ROOT, StationApi, open_station_api, statuses
from tests.fakes.pnc_market import EMAID
from tests.integration.test_api_plug_and_charge_settlement_notice import complete

CHEAP, DEAR, ABROAD, FAR = EVSE, "DE*ABC*E3", "DE*ABC*E4", "DE*ABC*E5"
EVSES = {
    CHEAP: (0.50, "EUR", "L1"),
    DEAR: (0.80, "EUR", "L1"),
    ABROAD: (0.50, "CHF", "L1"),
    FAR: (0.50, "EUR", "L2"),
}
CONNECTORS = {"1": 1, "2": 2}  # each EVSE has a second connector of twice the price


class SeveralTariffs:
    """One operator with EVSEs of different prices; the prices were half until the day before."""

    async def tariff_for(
        self,
        connection: Any,
        *,
        evse_id: str,
        at: datetime,
        cpo_id: str | None = None,
        choice: TariffChoice = ANY_DRIVER,
    ) -> ChargePoint | EvseUnknown | TariffMissing:
        if evse_id not in EVSES or cpo_id not in {None, "DE-ABC"}:
            return EvseUnknown()
        if choice.connector_id not in {None, *CONNECTORS}:
            return EvseUnknown()
        price, currency, location = EVSES[evse_id]
        price *= CONNECTORS.get(choice.connector_id or "1", 1)
        shown = price / (2 if at < START - timedelta(hours=12) else 1)
        component = {"type": "ENERGY", "price": shown, "vat": 19.0, "step_size": 1}
        tariff = TARIFF | {
            "id": f"T-{evse_id[-2:]}-{choice.connector_id or 1}",
            "currency": currency,
            "elements": [{"price_components": [component]}],
        }
        return ChargePoint(
            cpo_id="DE-ABC",
            location_id=location,
            evse_id=evse_id,
            time_zone="Europe/Berlin",
            country="DE",
            tax_jurisdiction="DE",
            max_power_w=150_000,
            tariff_raw=json.dumps(tariff).encode(),
            tariff_version="2.2.1",
            evse_uid=f"uid-{evse_id[-2:]}",
            evse_power_w=150_000,
            power_type="DC",
        )


@pytest.fixture
async def station(pool: Pool) -> AsyncIterator[StationApi]:
    async with open_station_api(pool, tariffs=SeveralTariffs()) as opened:
        yield opened


async def name(station: StationApi, decision: str, **body: Any) -> Answer:
    return await station.api.call("PATCH", f"{ROOT}/authorizations/{decision}", body, party="DE-ABC")


async def several(station: StationApi, *evses: str, ref: str = "tx-1") -> Answer:
    return await station.plug_in(ref=ref, station={"evse_ids": list(evses)})


async def test_the_dearest_evse_of_a_station_is_held_and_the_named_one_fixes_the_price(
    station: StationApi,
) -> None:
    single = (await station.plug_in(ref="single", evse=DEAR)).json
    answer = await several(station, CHEAP, DEAR)
    assert statuses(answer) == ("Accepted", "Accepted")
    shown = answer.json
    assert (shown["evse_id"], shown["cost_limit"]) == (DEAR, single["cost_limit"])
    decision = shown["decision"]["id"]
    waiting = await name(station, decision, transaction_id="t-1")
    assert (waiting.json["transaction_id"], waiting.json["evse_id"]) == ("t-1", None)
    named = await name(station, decision, evse_id=CHEAP)
    assert (named.status, named.json["evse_id"], named.json["transaction_id"]) == (200, CHEAP, "t-1")
    assert (await name(station, decision, evse_id=CHEAP)).status == 200
    other = await name(station, decision, evse_id=DEAR)
    assert (other.status, other.json["code"]) == (409, "state_conflict")
    row = await station.api.services.pool.fetchrow(
        "SELECT evse_id, evse_uid FROM gateway.session WHERE session_ref = 'tx-1'"
    )
    assert (row["evse_id"], row["evse_uid"]) == (CHEAP, "uid-E1")
    ended = await complete(station, shown["session_id"])
    assert ended.json["capture"]["amount"] == 1190  # 20 kWh by the tariff of the named EVSE


async def test_a_station_that_named_no_evse_names_evse_and_connector_together(station: StationApi) -> None:
    shown = (await several(station, CHEAP, DEAR)).json
    decision = shown["decision"]["id"]
    alone = await name(station, decision, connector_id="2")
    assert (alone.status, "evse_id" in alone.json["detail"]) == (409, True)
    assert (await name(station, decision, evse_id=CHEAP, connector_id="9")).status == 404
    named = await name(station, decision, evse_id=CHEAP, connector_id="2", station_id="CS-0001")
    assert (named.json["evse_id"], named.json["connector_id"], named.json["station_id"]) == (
        CHEAP,
        "2",
        "CS-0001",
    )
    assert (
        await name(station, decision, evse_id=CHEAP, connector_id="2", station_id="CS-0001")
    ).status == 200
    for other in ({"connector_id": "1"}, {"station_id": "CS-0002"}):
        refused = await name(station, decision, **other)
        assert (refused.status, refused.json["code"]) == (409, "state_conflict"), other
    ended = await complete(station, shown["session_id"])
    assert ended.json["capture"]["amount"] == 2380  # 20 kWh by the tariff of the named connector


async def test_a_station_that_named_its_evse_names_the_connector_later(station: StationApi) -> None:
    shown = (await station.plug_in(ref="tx-3")).json
    decision = shown["decision"]["id"]
    assert (await name(station, decision, connector_id="")).status == 400
    named = await name(station, decision, connector_id="2", transaction_id="t-3")
    assert (named.status, named.json["connector_id"], named.json["transaction_id"]) == (200, "2", "t-3")
    ended = await complete(station, shown["session_id"])
    assert ended.json["capture"]["amount"] == 2380
    late = await name(station, decision, connector_id="2", evse_id=CHEAP)
    assert late.status == 200  # nothing is new


async def test_an_evse_that_the_request_did_not_name_or_that_comes_too_late_is_refused(
    station: StationApi,
) -> None:
    shown = (await several(station, CHEAP, DEAR)).json
    decision = shown["decision"]["id"]
    for wrong, status in ((FAR, 409), (ABROAD, 409), ("DE*ABC*E9", 404)):
        assert (await name(station, decision, evse_id=wrong)).status == status, wrong
    assert (await name(station, decision)).status == 400
    await complete(station, shown["session_id"])
    late = await name(station, decision, evse_id=CHEAP)
    assert (late.status, late.json["code"]) == (409, "state_conflict")
    unnamed = await station.api.services.pool.fetchval("SELECT evse_ids FROM pnc.decision")
    assert unnamed == [CHEAP, DEAR]  # the decision is bound to no EVSE that its session is not bound to


async def test_a_station_names_its_evse_or_its_evses_and_they_stand_in_one_place(
    station: StationApi,
) -> None:
    for place in ({}, {"evse_id": CHEAP, "evse_ids": [DEAR]}, {"evse_ids": []}, {"evse_ids": ["a b"]}):
        refused = await station.plug_in(station=place)
        assert (refused.status, refused.json["code"]) == (400, "invalid_parameters"), refused.text
    for ref, evses in (("a", (CHEAP, FAR)), ("b", (CHEAP, ABROAD))):
        apart = await several(station, *evses, ref=ref)
        assert (apart.status, apart.json["code"]) == (400, "invalid_parameters"), apart.text
        assert "one location and one currency" in apart.text
    assert (await several(station, CHEAP, "DE*ABC*E9", ref="c")).status == 404
    twice = (await several(station, CHEAP, CHEAP, ref="d")).json
    assert (await name(station, twice["decision"]["id"], evse_id=CHEAP)).json["evse_id"] == CHEAP
    assert len(station.api.psp.payments) == 1  # the last one alone was held


def began(hours: float = 1, **changes: Any) -> dict[str, Any]:
    started_at = (START - timedelta(hours=hours)).isoformat()
    return {"started_at": started_at, "energy_wh": 20_000, "reason": "station_offline"} | changes


async def test_a_session_that_began_offline_is_secured_late_by_the_tariff_of_its_start(
    station: StationApi,
) -> None:
    answer = await station.plug_in(offline=began(hours=24, energy_wh=90_000))
    assert statuses(answer) == ("Accepted", "Accepted")
    yesterday = answer.json
    assert (yesterday["decision"]["finding"], yesterday["decision"]["secured_late"]) == ("accepted", True)
    assert 2678 <= yesterday["cost_limit"] < 5355  # 90 kWh at 0.25 and VAT, the price when it began
    today = (await station.plug_in(ref="tx-2", offline=began())).json
    assert today["decision"]["secured_late"] is True
    online = (await station.plug_in(ref="tx-3")).json
    assert online["decision"]["secured_late"] is False
    repeated = (await station.plug_in(offline=began(hours=24, energy_wh=90_000))).json
    assert repeated["authorization_id"] == yesterday["authorization_id"]
    row = await station.api.services.pool.fetchrow(
        "SELECT offline_since, offline_reason FROM pnc.decision WHERE session_ref = 'tx-2'"
    )
    assert (row["offline_since"], row["offline_reason"]) == (START - timedelta(hours=1), "station_offline")


async def test_a_contract_pays_for_sessions_that_began_offline_up_to_its_own_limit(
    station: StationApi,
) -> None:
    payment = {"type": "psp_payment_method", "payment_method": "pm_good", "customer": "cus_1"}
    stored = await station.contract(payment, limit=9_000, currency="EUR", offline_limit=1_500)
    assert stored.json["offline_limit"] == 1_500
    within = (await station.plug_in(offline=began())).json  # 20 kWh: 11.90
    assert (within["decision"]["finding"], within["cost_limit"]) == ("accepted", 1_500)
    beyond = await station.plug_in(ref="tx-2", offline=began(energy_wh=30_000))  # 17.85
    assert statuses(beyond) == ("Blocked", "ContractCancelled")
    assert beyond.json["decision"]["finding"] == "offline_limit_exceeded"
    assert beyond.json["authorization_id"] is None
    await station.contract(payment, limit=9_000, currency="EUR", offline_limit=0)
    never = (await station.plug_in(ref="tx-3", offline=began(energy_wh=0))).json
    assert never["decision"]["rejection_reason"] == "offline_limit_exceeded"
    assert (await station.plug_in(ref="tx-4")).json["decision"]["finding"] == "accepted"  # online it pays


async def test_a_blocked_contract_does_not_pay_for_what_began_offline(station: StationApi) -> None:
    await station.api.call("POST", f"{ROOT}/contracts/{EMAID}/block", {}, party="admin")
    refused = await station.plug_in(offline=began())
    assert refused.json["decision"]["finding"] == "contract_blocked"
    assert not station.api.psp.payments


@pytest.mark.parametrize(
    "offline",
    [
        began(hours=-1),
        began(hours=24 * 8),
        began(energy_wh=-1),
        began(reason="because"),
        {"started_at": "2026-10-29T07:00:00Z"},
        began(started_at="2026-10-29T07:00:00"),
    ],
)
async def test_a_start_that_can_t_be_is_refused(station: StationApi, offline: dict[str, Any]) -> None:
    refused = await station.plug_in(offline=offline)
    assert (refused.status, refused.json["code"]) == (400, "invalid_parameters"), refused.text
    assert "offline" in refused.text


async def test_the_cdr_of_a_session_that_began_offline_may_start_before_its_authorization(
    station: StationApi,
) -> None:
    station.api.clock.at += timedelta(hours=6)
    since = (station.api.clock.at - timedelta(hours=7)).isoformat()
    late = (await station.plug_in(offline=began(started_at=since))).json
    ended = await complete(station, late["session_id"])
    assert (ended.status, ended.json["state"]) == (200, "completed"), ended.text
    online = (await station.plug_in(ref="tx-2")).json
    refused = await complete(station, online["session_id"])  # the same CDR, hours before this authorization
    assert (refused.status, refused.json.get("state")) != (200, "completed"), refused.text


async def test_what_pays_does_not_release_a_session_that_began_before_its_authorization(
    station: StationApi,
) -> None:
    late = (await station.plug_in(offline=began())).json
    path = f"/v1/authorizations/{late['authorization_id']}/release"
    for party, status in (("superapp", 409), ("admin", 200)):
        answer = await station.api.call("POST", path, {}, key=party, party=party)
        assert answer.status == status, answer.text


async def test_usage_stated_while_the_evse_is_named_is_priced_by_the_tariff_of_that_evse(
    station: StationApi,
) -> None:
    shown = (await several(station, CHEAP, DEAR)).json
    payments = station.api.services.payments
    before = await payments.get_session(
        party_id="DE-ABC", session_id=parse_id("ses", shown["session_id"]), admin=True
    )
    assert (await name(station, shown["decision"]["id"], evse_id=CHEAP)).status == 200
    station.api.clock.at += timedelta(hours=6)
    ended = await payments.completions.complete(
        before, cdr_raw=cdr(), cdr_version="2.2.1", source=UsageSource.OPERATOR_API
    )
    assert isinstance(ended, SessionRecord)
    assert (ended.evse_id, ended.price_minor) == (CHEAP, 1190)
