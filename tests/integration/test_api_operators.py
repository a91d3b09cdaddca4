"""What operators are and have sent, over the API: the same as the console's pages, each party its own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.database import Pool
from tests.fakes.api import Answer, Api
from tests.fakes.console import HOSTILE, open_console, paid_session
from tests.fakes.console_operators import OPERATOR, add_operator

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
