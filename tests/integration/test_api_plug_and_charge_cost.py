"""What a session costs while it runs, and the receipt that the driver opens at the station."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from typing_extensions import override

from gateway.api.capture.usage import Usage, cdr_of_usage
from gateway.database import Connection, Pool
from gateway.ids import format_id, new_id, parse_id
from gateway.payments.missing_cdr import KnownUsage, SessionUpdateSource
from gateway.payments.records import MissingCdrAction, SessionRecord
from tests.fakes.api import Answer
from tests.fakes.pnc_authorize import ROOT, StationApi, open_station_api
from tests.fakes.pnc_market import EMAID
from tests.integration.test_api_plug_and_charge_settlement_notice import complete, name

READING = "energy_wh=12000&started_at=2026-10-29T08:00:00Z&until=2026-10-29T08:30:00Z"


@pytest.fixture
async def station(pool: Pool) -> AsyncIterator[StationApi]:
    async with open_station_api(pool) as opened:
        yield opened


async def cost(station: StationApi, session: str, query: str = "", party: str = "DE-ABC") -> Answer:
    return await station.api.call("GET", f"{ROOT}/sessions/{session}/cost?{query}", party=party)


class OneUpdate(SessionUpdateSource):
    """An operator that has pushed one update of each session."""

    @override
    async def find_last_update(
        self, connection: Connection, session: SessionRecord, *, authorization_id: UUID, cdr_id: str
    ) -> KnownUsage | None:
        start = datetime(2026, 10, 29, 8, tzinfo=UTC)
        usage = Usage(started_at=start, ended_at=start + timedelta(minutes=10), energy_wh=4_000, parking_s=0)
        cdr = json.loads(cdr_of_usage(session, usage)) | {"id": cdr_id}
        return KnownUsage(cdr_raw=json.dumps(cdr).encode(), cdr_version="2.2.1")


async def test_a_running_session_costs_what_its_frozen_tariff_says_of_the_stations_reading(
    station: StationApi,
) -> None:
    shown = (await station.plug_in()).json
    running = await cost(station, shown["session_id"], READING)
    assert running.status == 200, running.text
    assert (running.json["amount"], running.json["currency"], running.json["final"]) == (714, "EUR", False)
    assert '"transaction_event_response":{"totalCost":7.14}' in running.text
    assert running.json["cost_limit"] == shown["cost_limit"]
    assert running.json["cost_updated"] is None  # the station's transaction is not named yet
    await name(station, shown["decision"]["id"], "station-tx-1")
    named = await cost(station, shown["session_id"], READING)
    assert '"cost_updated":{"totalCost":7.14,"transactionId":"station-tx-1"}' in named.text
    held = await station.api.call("GET", f"/v1/authorizations/{shown['authorization_id']}", party="superapp")
    assert held.json["state"] == "authorized"  # a reading changes nothing


async def test_without_a_reading_the_last_update_of_the_operator_counts(
    pool: Pool,
) -> None:
    async with open_station_api(pool, updates=OneUpdate()) as station:
        shown = (await station.plug_in()).json
        assert (await cost(station, shown["session_id"])).json["amount"] == 238


async def test_without_any_usage_the_cost_is_not_known(station: StationApi) -> None:
    shown = (await station.plug_in()).json
    unknown = await cost(station, shown["session_id"])
    assert (unknown.status, unknown.json["code"]) == (409, "state_conflict")
    assert "energy_wh" in unknown.json["detail"]


async def test_once_the_cdr_is_there_the_cost_is_final(station: StationApi) -> None:
    shown = (await station.plug_in()).json
    await complete(station, shown["session_id"])
    final = await cost(station, shown["session_id"], READING)
    assert (final.json["amount"], final.json["final"], final.json["energy_wh"]) == (1190, True, 20_000)


async def test_the_cost_is_not_final_where_the_last_update_ended_the_session(pool: Pool) -> None:
    async with open_station_api(pool, updates=OneUpdate()) as station:
        shown = (await station.plug_in()).json
        payments = station.api.services.payments
        held = await payments.get_authorization(
            party_id="superapp", authorization_id=parse_id("auth", shown["authorization_id"])
        )
        await payments.missing_cdrs.end(
            shard=held.session.shard,
            authorization_id=held.authorization.id,
            action=MissingCdrAction.LAST_KNOWN_COST,
        )
        ended = await cost(station, shown["session_id"])
        assert (ended.json["amount"], ended.json["final"]) == (238, False)  # the operator's CDR may come yet


async def test_the_payer_does_not_release_the_hold_of_a_vehicle_that_its_station_accepted(
    station: StationApi,
) -> None:
    """The operator sends no OCPI, so nothing else says that the session runs."""
    shown = (await station.plug_in()).json
    path = f"/v1/authorizations/{shown['authorization_id']}/release"
    refused = await station.api.call("POST", path, party="superapp", key="r-1")
    assert (refused.status, refused.json["code"]) == (409, "state_conflict"), refused.text
    assert "has accepted the vehicle" in refused.json["detail"]
    await complete(station, shown["session_id"])
    assert (await cost(station, shown["session_id"])).json["amount"] == 1190


@pytest.mark.parametrize(
    "query",
    ["energy_wh=1", "until=2026-10-29T08:30:00Z", READING.replace("12000", "-1"),
     READING.replace("08:30", "07:30"), READING.replace("2026-10-29T08:00:00Z", "9999-12-31T23:59:59Z"),
     "energy=1"],
)  # a query a piece  # fmt: skip
async def test_half_a_reading_is_refused(station: StationApi, query: str) -> None:
    shown = (await station.plug_in()).json
    refused = await cost(station, shown["session_id"], query)
    assert (refused.status, refused.json["code"]) == (400, "invalid_parameters"), refused.text


async def test_the_cost_of_another_operators_session_or_of_another_method_does_not_exist(
    station: StationApi,
) -> None:
    shown = (await station.plug_in()).json
    assert (await cost(station, format_id("ses", new_id()), READING)).status == 404
    assert (await cost(station, shown["session_id"], READING, party="superapp")).status == 403
    card = await station.api.authorize(key="k1", party="superapp", session_ref="card-1")
    assert (await cost(station, card.json["session"], READING)).status == 404
    await station.api.services.pool.execute("UPDATE gateway.session SET cpo_id = 'parking'")
    assert (await cost(station, shown["session_id"], READING)).status == 404


async def test_the_driver_opens_a_receipt_without_a_key_that_names_nobody(station: StationApi) -> None:
    shown = (await station.plug_in()).json
    await complete(station, shown["session_id"])
    settled = await station.api.call(
        "GET", f"{ROOT}/sessions/{shown['session_id']}/settlement", party="DE-ABC"
    )
    path = settled.json["receipt_url"].removeprefix("http://api.test")
    page = await station.api.call("GET", path, party=None)
    assert page.status == 200, page.text
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "private, no-store"
    assert "11.90 EUR" in page.text
    assert "20 kWh" in page.text
    for nobody in (EMAID, "superapp", "cus_1", "pm_good", "auth_", "DE-ABC"):
        assert nobody not in page.text
    token = path.rsplit("/", 1)[1]
    altered = path[:-1] + ("A" if path[-1] != "A" else "B")
    other = path.replace(shown["session_id"], format_id("ses", new_id()))
    for wrong in (altered, path.replace(token, "A" * 24), other):
        refused = await station.api.call("GET", wrong, party=None)
        assert (refused.status, refused.json["code"]) == (404, "not_found"), refused.text


async def test_a_session_without_a_settlement_has_no_receipt(station: StationApi) -> None:
    shown = (await station.plug_in()).json
    await complete(station, shown["session_id"], kwh="0")
    rows = await station.api.services.pool.fetch("SELECT token FROM gateway.receipt_link")
    assert rows == []
