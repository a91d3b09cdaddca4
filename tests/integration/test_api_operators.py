"""What operators are and have sent, over the API: the same as the console's pages, each party its own."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clearing.pricing import json_document as document
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Pool, transaction
from gateway.ids import new_id
from gateway.ocpi.locations import keep_location
from tests.fakes.api import START, Answer, Api
from tests.fakes.console import HOSTILE, open_console, paid_session
from tests.fakes.console_operators import OPERATOR, OWN, add_operator
from tests.fakes.ocpi_objects import location

NIGHT = "energy_wh=30000&duration_s=3600&start=2026-11-30T01:00:00Z"
TARIFF = f"tariffs/{OPERATOR}/T1"
PRICE = f"{TARIFF}/price?{NIGHT}"


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_console(pool) as console:
        await paid_session(console.api)
        made = await console.api.call(
            "POST", f"/v1/parties/{OPERATOR}/api-keys", {"scopes": ["capture:read"]}, party="admin"
        )
        assert made.status == 201, made.text
        console.api.keys["own"] = made.json["api_key"]
        yield console.api


async def read(api: Api, path: str, *, party: str = "own", status: int = 200) -> Answer:
    answer = await api.call("GET", f"/v1/ocpi/{path}", party=party)
    assert answer.status == status, f"{path}: {answer.text[:400]}"
    return answer


async def data(api: Api, path: str, *, party: str = "own") -> list[Any]:
    found: list[Any] = (await read(api, path, party=party)).json["data"]
    return found


async def test_a_connection_is_read_with_its_handshake_and_without_a_token(api: Api) -> None:
    name = await add_operator(api.services.pool)
    (listed,) = await data(api, "connections")
    assert (listed["id"], listed["party"], listed["state"]) == (name, OPERATOR, "invited")
    answer = await read(api, f"connections/{name}")
    assert [one["ocpi_status"] for one in answer.json["handshake"]] == [3001, 1000], "the newest call first"
    assert answer.json["handshake"][0]["message"] == HOSTILE
    assert "token-a" not in answer.text
    assert {one["module"]: one["objects"] for one in answer.json["received"]}["tariffs"] == 2
    assert (answer.json["modules"], answer.json["pulls"], answer.json["pending_pushes"]) == ([], [], [])


async def test_a_rejection_says_why(api: Api) -> None:
    await add_operator(api.services.pool)
    (one,) = await data(api, "rejections")
    assert (one["module"], one["ocpi_status"], one["pulled"]) == ("tariffs", 2001, False)
    assert one["reason"] == HOSTILE


async def test_a_tariff_has_its_findings_its_afir_check_and_its_price(api: Api) -> None:
    await add_operator(api.services.pool)
    tariffs = {one["tariff"]: one for one in await data(api, "tariffs")}
    assert set(tariffs) == {"T1", "by-minute"}
    assert all(one["prices"] and one["problem"] is None for one in tariffs.values())
    details = (await read(api, TARIFF)).json
    assert details["afir"]["fits"]
    assert details["connectors"][0]["tariffs"] == ["t1"]
    by_minute = (await read(api, f"tariffs/{OPERATOR}/by-minute")).json
    assert [one["code"] for one in by_minute["afir"]["findings"]] == ["T502"]
    night = (await read(api, f"{PRICE}&connector=E1/1")).json
    assert (night["incl_vat"], night["currency"]) == (714, "EUR"), "30 kWh at 0.20 with 19 % VAT"
    assert night["time_zone"] == "Europe/Amsterdam"
    noon = (await read(api, f"{PRICE.replace('T01:00', 'T11:00')}&connector=E1/1")).json
    assert noon["incl_vat"] == 1785, "30 kWh at 0.50 with 19 % VAT"
    assert noon["lines"][0]["dimension"] == "ENERGY"
    assert (await read(api, PRICE)).json["time_zone"] == "UTC"


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        (f"{PRICE}&connector=E9/9", "/connector"),
        (f"{TARIFF}/price?duration_s=60&start=2026-11-30T01:00:00Z", "/energy_wh"),
        (f"{TARIFF}/price?energy_wh=1&duration_s=60&start=tonight", "/start"),
        (f"{TARIFF}/price?energy_wh=-1&duration_s=60&start=2026-11-30T01:00:00Z", "/energy_wh"),
        ("connections?cursor=x", "/cursor"),
        ("rejections?cursor=x", "/cursor"),
        ("tariffs?cursor=x", "/cursor"),
        ("locations?cursor=x", "/cursor"),
        ("locations?limit=0", "/limit"),
    ],
)
async def test_what_will_not_do_is_named(api: Api, path: str, pointer: str) -> None:
    await add_operator(api.services.pool)
    answer = await read(api, path, status=400)
    assert answer.json["errors"][0]["pointer"] == pointer


async def test_lists_go_on_after_a_cursor(api: Api) -> None:
    await add_operator(api.services.pool)
    for path, name in (("connections", "id"), ("rejections", "id"), ("tariffs", "tariff")):
        every = [one[name] for one in await data(api, f"{path}?limit=50")]
        walked: list[str] = []
        cursor = ""
        while True:
            page = (await read(api, f"{path}?limit=1{cursor}")).json
            walked += [one[name] for one in page["data"]]
            if not page["has_more"]:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert walked == every, path
    (place,) = await data(api, "locations")
    assert place["connectors"][0]["evse_id"] == "NL*ABC*E0001"
    assert place["name"] == HOSTILE


async def test_another_party_sees_nothing_and_the_platform_all(api: Api) -> None:
    name = await add_operator(api.services.pool)
    for path in ("connections", "rejections", "locations", "tariffs"):
        assert await data(api, path, party="parking") == []
        assert await data(api, f"{path}?party={OPERATOR}", party="parking") == [], "a filter opens nothing"
        assert await data(api, path, party="admin")
        assert await data(api, f"{path}?party={OPERATOR}", party="admin")
        assert await data(api, f"{path}?party=superapp", party="admin") == []
    for path in (f"connections/{name}", TARIFF, PRICE):
        await read(api, path, party="parking", status=404)
        await read(api, path, party="admin")
    await read(api, "connections/ocp_none", status=404)
    await read(api, f"tariffs/{OPERATOR}/none", status=404)


async def test_a_connector_is_named_with_its_location_where_two_have_its_name(api: Api) -> None:
    await add_operator(api.services.pool)
    there = location(**OWN, id="LOC2", time_zone="Europe/London")
    async with transaction(api.services.pool) as connection:
        await keep_location(
            connection,
            document.load(json.dumps(there).encode(), document="location"),
            party=OPERATOR,
            version=OcpiVersion.V2_2_1,
            changed_at=START,
            now=START,
        )
    names = [one["name"] for one in (await read(api, TARIFF)).json["connectors"]]
    assert names == ["loc1/E1/1", "loc2/E1/1"]
    answer = await read(api, f"{PRICE}&connector=E1/1", status=400)
    assert answer.json["errors"][0]["pointer"] == "/connector"
    assert "more than one" in answer.text
    # At 5:30 UTC it is past 6 in Amsterdam, and not yet in London.
    dawn = PRICE.replace("T01:00", "T05:30")
    zones = {name: (await read(api, f"{dawn}&connector={name}")).json for name in ("LOC1/E1/1", "loc2/E1/1")}
    assert [(one["time_zone"], one["incl_vat"]) for one in zones.values()] == [
        ("Europe/Amsterdam", 1785),
        ("Europe/London", 1250),  # half of it at 0.20: 12.495
    ]


async def test_parties_that_share_a_platform_see_their_own_of_it(api: Api) -> None:
    name = await add_operator(api.services.pool)
    made = await api.call("POST", "/v1/parties/parking/api-keys", {"scopes": ["capture:read"]}, party="admin")
    api.keys["beside"] = made.json["api_key"]
    async with api.services.pool.acquire() as connection:
        for party in (OPERATOR, "parking"):
            await connection.execute(
                "INSERT INTO gateway.ocpi_peer_party (peer_id, party_id) "
                "SELECT id, $1 FROM gateway.ocpi_peer ON CONFLICT DO NOTHING",
                party,
            )
            await connection.execute(
                "INSERT INTO gateway.ocpi_outbox (id, party_id, module, method, object_id, path, body, "
                "created_at, run_at) VALUES ($1, $2, 'tokens', 'PUT', $3, '', '{}', now(), now())",
                new_id(),
                party,
                f"RFID/{party}",
            )
    own = (await read(api, f"connections/{name}")).json
    beside = (await read(api, f"connections/{name}", party="beside")).json
    every = (await read(api, f"connections/{name}", party="admin")).json
    assert [one["object_id"] for one in own["pending_pushes"]] == [f"RFID/{OPERATOR}"]
    assert [one["object_id"] for one in beside["pending_pushes"]] == ["RFID/parking"]
    assert len(every["pending_pushes"]) == 2
    assert (own["parties"], beside["parties"], len(every["parties"])) == ([OPERATOR], ["parking"], 2)
    assert (len(own["handshake"]), beside["handshake"]) == (2, []), "who was invited shook hands"
    assert {one["objects"] for one in beside["received"]} == {0}
    (listed,) = await data(api, "connections", party="beside")
    assert listed["parties"] == ["parking"]
