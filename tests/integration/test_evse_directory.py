"""The directory of public EVSEs, from an operator's push to a partner's search, on a real PostgreSQL."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from gateway.database import Pool, connect
from gateway.migrations import load_migrations, migrate
from tests.fakes.api import Answer, Api, open_api
from tests.fakes.ocpi_edge import Edge, start_edge, stop_edge
from tests.fakes.ocpi_objects import AT, location, tariff

LATER = "2026-10-29T07:30:00Z"


@pytest.fixture
async def edge(pool: Pool) -> AsyncIterator[Edge]:
    started = await start_edge(pool)
    yield started
    await stop_edge(started)


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


async def push(edge: Edge, token: str, path: str, body: Any, *, method: str = "PUT") -> None:
    answer, _ = await edge.call(method, f"/emsp/2.2.1{path}", token, body)
    assert answer["status_code"] == 1000, answer


async def push_location(edge: Edge, token: str, key: str, *, place: tuple[str, str], **changes: Any) -> None:
    """A location KEY with one EVSE `uid-KEY` of id NL*ABC*EKEY at a place."""
    base = location()
    evse = {**base["evses"][0], "uid": f"uid-{key}", "evse_id": f"NL*ABC*E{key}"}
    body = {
        **base,
        "id": key,
        "evses": [evse],
        "coordinates": {"latitude": place[0], "longitude": place[1]},
        **changes,
    }
    await push(edge, token, f"/locations/NL/ABC/{key}", body)


async def search(api: Api, query: str = "") -> list[Any]:
    answer = await api.call("GET", f"/v1/evses{query}")
    assert answer.status == 200, answer.text
    return list(answer.json["data"])


def uids(found: list[Any]) -> list[str]:
    return [evse["uid"] for evse in found]


async def test_a_pushed_evse_is_shown_with_its_place_its_plug_and_its_price(edge: Edge, api: Api) -> None:
    token = await edge.register("NL-ABC")
    await push(edge, token, "/tariffs/NL/ABC/T1", tariff())
    body = location(name="Kade", operator={"name": "ABC Charging"})
    await push(edge, token, "/locations/NL/ABC/LOC1", body)
    answer = await api.call("GET", f"/v1/evses/{quote('nl-abc-e0001')}")
    assert answer.status == 200, answer.text
    shown = answer.json
    assert shown["tariff"].pop("sha256")
    assert shown == {
        "object": "evse",
        "evse_id": "NL*ABC*E0001",
        "uid": "E1",
        "cpo": "NL-ABC",
        "operator": "ABC Charging",
        "status": "AVAILABLE",
        "location": {
            "id": "LOC1",
            "name": "Kade",
            "address": "Kade 1",
            "city": "Rotterdam",
            "postal_code": "3011 AB",
            "country": "NL",
            "latitude": "51.92",
            "longitude": "4.48",
            "time_zone": "Europe/Amsterdam",
        },
        "distance_m": None,
        "connectors": [
            {
                "id": "1",
                "standard": "IEC_62196_T2_COMBO",
                "format": "CABLE",
                "power_type": "DC",
                "max_power_w": 150000,
            }
        ],
        "tariff": {
            "id": "T1",
            "type": None,
            "version": "2.2.1",
            "currency": "EUR",
            "valid_from": None,
            "valid_until": None,
            "display": ["0.5929 EUR per kWh (incl. 21 % VAT)"],
        },
        "last_updated": "2026-10-29T07:00:00Z",
    }
    german = (await api.call("GET", "/v1/evses/E1?locale=de")).json["tariff"]["display"]
    assert german[0].startswith("0,5929 EUR")


async def test_the_price_shown_is_the_one_that_an_authorization_freezes(edge: Edge, api: Api) -> None:
    token = await edge.register("NL-ABC")
    await push(edge, token, "/tariffs/NL/ABC/T1", tariff(type="REGULAR"))
    await push(edge, token, "/tariffs/NL/ABC/T2", tariff(0.6, id="T2", type="AD_HOC_PAYMENT"))
    await push(edge, token, "/tariffs/NL/ABC/T3", tariff(0.1, id="T3", end_date_time="2020-01-01T00:00:00Z"))
    connector = {**location()["evses"][0]["connectors"][0], "tariff_ids": ["T3", "T1", "T2"]}
    evse = {**location()["evses"][0], "connectors": [connector]}
    await push(edge, token, "/locations/NL/ABC/LOC1", location(evses=[evse]))
    assert (await search(api))[0]["tariff"]["id"] == "T2"
    answer, _ = await edge.call("DELETE", "/emsp/2.2.1/tariffs/NL/ABC/T2", token)
    assert answer["status_code"] == 1000
    assert (await search(api))[0]["tariff"]["id"] == "T1"


async def test_components_are_in_the_order_that_the_regulation_asks_for(edge: Edge, api: Api) -> None:
    token = await edge.register("NL-ABC")
    parts = [
        {"type": kind, "price": price, "vat": 21, "step_size": 1}
        for kind, price in (("FLAT", 1), ("TIME", 6), ("ENERGY", 0.4))
    ]
    await push(edge, token, "/tariffs/NL/ABC/T1", tariff(elements=[{"price_components": parts}]))
    await push(edge, token, "/locations/NL/ABC/LOC1", location())
    display = (await search(api))[0]["tariff"]["display"]
    assert [text.split()[0] for text in display] == ["0.484", "0.121", "1.21"]


async def test_without_a_tariff_in_force_no_price_is_shown(edge: Edge, api: Api) -> None:
    token = await edge.register("NL-ABC")
    await push(edge, token, "/locations/NL/ABC/LOC1", location())
    assert (await search(api))[0]["tariff"] is None


async def test_what_is_not_public_or_removed_is_not_in_the_directory(edge: Edge, api: Api) -> None:
    token = await edge.register("NL-ABC")
    await push_location(edge, token, "A", place=("51.92", "4.48"))
    await push_location(edge, token, "B", place=("51.92", "4.48"), publish=False)
    assert uids(await search(api)) == ["uid-A"]
    change = {"status": "CHARGING", "last_updated": LATER}
    await push(edge, token, "/locations/NL/ABC/A/uid-A", change, method="PATCH")
    assert [evse["status"] for evse in await search(api)] == ["CHARGING"]
    gone = {"status": "REMOVED", "last_updated": "2026-10-29T07:40:00Z"}
    await push(edge, token, "/locations/NL/ABC/A/uid-A", gone, method="PATCH")
    assert await search(api) == []
    shown = {"publish": True, "last_updated": "2026-10-29T07:50:00Z"}
    await push(edge, token, "/locations/NL/ABC/B", shown, method="PATCH")
    assert uids(await search(api)) == ["uid-B"]
    assert (await api.call("GET", "/v1/evses/uid-A")).status == 404


async def test_an_older_push_changes_nothing(edge: Edge, api: Api) -> None:
    token = await edge.register("NL-ABC")
    await push_location(edge, token, "A", place=("51.92", "4.48"), name="New", last_updated=LATER)
    await push_location(edge, token, "A", place=("10", "10"), name="Old", last_updated=AT)
    assert (await search(api))[0]["location"]["name"] == "New"


async def test_a_search_around_a_point_gives_the_nearest_first_within_the_radius(
    edge: Edge, api: Api
) -> None:
    token = await edge.register("NL-ABC")
    # One minute of latitude is a nautical mile, 1852 m to within the Earth's flattening.
    for name, north in (("FAR", "52.10"), ("MILE", "51.9366667"), ("HERE", "51.92"), ("NEAR", "51.925")):
        await push_location(edge, token, name, place=(north, "4.48"))
    found = await search(api, "?latitude=51.92&longitude=4.48&radius_m=2000")
    assert uids(found) == ["uid-HERE", "uid-NEAR", "uid-MILE"]
    assert [evse["distance_m"] for evse in found] == [0, 556, 1853]
    assert uids(await search(api, "?latitude=51.92&longitude=4.48&radius_m=1852")) == ["uid-HERE", "uid-NEAR"]
    assert uids(await search(api, "?latitude=51.92&longitude=4.48&radius_m=200000"))[-1] == "uid-FAR"


async def test_pages_of_a_search_hold_every_evse_once_and_in_order(edge: Edge, api: Api) -> None:
    token = await edge.register("NL-ABC")
    for number in range(7):
        await push_location(edge, token, f"L{number}", place=(f"51.9{number // 2}", "4.48"))
    for query in ("", "&latitude=51.92&longitude=4.48&radius_m=50000", "&box=51,4,53,5"):
        whole = uids(await search(api, f"?limit=100{query}"))
        seen, cursor = [], ""
        while True:
            page = (await api.call("GET", f"/v1/evses?limit=2{query}{cursor}")).json
            seen += uids(page["data"])
            if not page["has_more"]:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == whole
        assert len(set(seen)) == 7


async def test_a_box_may_span_the_date_line_and_a_circle_a_pole(edge: Edge, api: Api) -> None:
    token = await edge.register("NL-ABC")
    await push_location(edge, token, "EAST", place=("-17.0", "179.9"))
    await push_location(edge, token, "WEST", place=("-17.0", "-179.9"))
    await push_location(edge, token, "POLE", place=("89.9", "-90.0"))
    assert uids(await search(api, "?box=-18,179,-16,-179")) == ["uid-EAST", "uid-WEST"]
    assert uids(await search(api, "?box=-18,-180,-16,179")) == ["uid-WEST"]
    near = await search(api, "?latitude=-17&longitude=180&radius_m=20000")
    assert uids(near) == ["uid-EAST", "uid-WEST"]
    assert uids(await search(api, "?latitude=89.9&longitude=90&radius_m=30000")) == ["uid-POLE"]


async def test_filters_hold_together(edge: Edge, api: Api) -> None:
    token = await edge.register("NL-ABC", "DE-XYZ")
    await push_location(edge, token, "A", place=("51.92", "4.48"))
    slow = {
        "id": "1",
        "standard": "IEC_62196_T2",
        "format": "SOCKET",
        "power_type": "AC_3_PHASE",
        "max_voltage": 230,
        "max_amperage": 16,
        "last_updated": AT,
    }
    evse = {"uid": "X1", "status": "CHARGING", "connectors": [slow], "last_updated": AT}
    foreign = location(country_code="DE", party_id="XYZ", id="X", evses=[evse])
    await push(edge, token, "/locations/DE/XYZ/X", foreign)
    for query, expected in (
        ("", ["X1", "uid-A"]),
        ("?cpo=DE-XYZ", ["X1"]),
        ("?status=AVAILABLE", ["uid-A"]),
        ("?standard=IEC_62196_T2", ["X1"]),
        ("?standard=IEC_62196_T2_COMBO&status=CHARGING", []),
        ("?min_power_w=50000", ["uid-A"]),
        ("?max_power_w=11040", ["X1"]),
        ("?min_power_w=150000&max_power_w=150000", ["uid-A"]),
        ("?evse_id=nlabcEa", ["uid-A"]),
        ("?evse_id=x1", ["X1"]),
    ):
        assert uids(await search(api, query)) == expected, query


async def test_one_uid_at_two_operators_is_asked_back(edge: Edge, api: Api) -> None:
    token = await edge.register("NL-ABC", "DE-XYZ")
    await push(edge, token, "/locations/NL/ABC/LOC1", location())
    evse = {**location()["evses"][0], "evse_id": "DE*XYZ*E1"}
    body = location(country_code="DE", party_id="XYZ", id="X", evses=[evse])
    await push(edge, token, "/locations/DE/XYZ/X", body)
    unclear = await api.call("GET", "/v1/evses/E1")
    assert (unclear.status, unclear.json["code"]) == (404, "evse_not_found")
    assert "DE-XYZ, NL-ABC" in unclear.json["detail"]
    assert unclear.json["errors"][0]["pointer"] == "/cpo"
    assert (await api.call("GET", "/v1/evses/E1?cpo=DE-XYZ")).json["cpo"] == "DE-XYZ"


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("latitude=51.9", "/longitude"),
        ("longitude=4.4", "/latitude"),
        ("radius_m=100", "/latitude"),
        ("latitude=91&longitude=0", "/latitude"),
        ("latitude=NaN&longitude=0", "/latitude"),
        ("latitude=1e400&longitude=0", "/latitude"),
        ("latitude=0&longitude=0&radius_m=0", "/radius_m"),
        ("latitude=0&longitude=0&radius_m=200001", "/radius_m"),
        ("box=1,2,3", "/box"),
        ("box=2,0,1,0", "/box"),
        ("box=NaN,0,1,0", "/box"),
        ("box=0,0,1,181", "/box"),
        ("box=0,0,1,1&latitude=0", "/box"),
        ("min_power_w=2&max_power_w=1", "/max_power_w"),
        ("min_power_w=-1", "/min_power_w"),
        ("status=REMOVED", "/status"),
        ("standard=TYPE2", "/standard"),
        ("evse_id=***", "/evse_id"),
        ("evse_id=%00", "/evse_id"),
        ("cursor=x", "/cursor"),
        ("cursor=WzEsIlx1MDAwMCIsIiIsIiJd", "/cursor"),
        ("cursor=WzEsMl0", "/cursor"),
        ("locale=../en", "/locale"),
        ("limit=101", "/limit"),
        ("colour=red", "/colour"),
    ],
)
async def test_a_query_that_makes_no_sense_is_rejected_with_its_place(
    api: Api, query: str, pointer: str
) -> None:
    answer: Answer = await api.call("GET", f"/v1/evses?{query}")
    assert (answer.status, answer.json["code"]) == (400, "invalid_parameters"), answer.text
    assert pointer in [error["pointer"] for error in answer.json["errors"]]


async def test_the_directory_is_for_keys_of_the_capture_api(api: Api) -> None:
    assert (await api.call("GET", "/v1/evses", party=None)).status == 401
    assert (await api.call("GET", "/v1/evses", party="DE-ABC")).status == 403
    assert (await api.call("GET", "/v1/evses/NOPE")).json["code"] == "evse_not_found"
    assert (await api.call("GET", "/v1/evses/***")).status == 404


async def test_what_was_stored_before_the_directory_is_in_it_after_the_migration(
    empty_database_url: str,
) -> None:
    wanted = load_migrations()
    place = next(n for n, one in enumerate(wanted) if str(one).endswith("_evse_directory"))
    await migrate(empty_database_url, migrations=wanted[:place])
    bodies = {
        "loc1": location(
            name="Kade", operator={"name": "ABC"}, coordinates={"latitude": "51.92", "longitude": "4.48"}
        ),
        "hidden": location(publish=False),
        "odd": location(coordinates={"latitude": "north", "longitude": "4"}, operator="x", name=5),
        "nul": location(name="a\x00b"),
    }
    async with connect(empty_database_url) as connection:
        await connection.execute(
            "INSERT INTO gateway.party (id, kind, created_at) VALUES ('NL-ABC', 'cpo', now())"
        )
        for key, body in bodies.items():
            await connection.execute(
                "INSERT INTO gateway.ocpi_location"
                " VALUES ('NL-ABC', $1, $1, '2.2.1', $2, now(), now(), now())",
                key,
                json.dumps(body).encode(),
            )
            await connection.execute(
                "INSERT INTO gateway.ocpi_connector VALUES"
                " ('NL-ABC', $1, 'e1', '1', 0, $1, 'E1', 'NL*ABC*E0001', 'NLABCE0001', '1', 'AVAILABLE',"
                " 'DC', 150000, '{t1}', 'Europe/Amsterdam', 'NL', '3011 AB', 'NL')",
                key,
            )
    await migrate(empty_database_url, migrations=wanted)
    async with connect(empty_database_url) as connection:
        rows = await connection.fetch("SELECT * FROM gateway.ocpi_public_evse ORDER BY location_key")
        plugs = await connection.fetchval(
            "SELECT standard || ' ' || format FROM gateway.ocpi_connector WHERE location_key = 'loc1'"
        )
    assert [row["location_key"] for row in rows] == ["loc1", "odd"]
    assert (str(rows[0]["latitude"]), str(rows[0]["longitude"])) == ("51.9200000", "4.4800000")
    assert (rows[0]["name"], rows[0]["operator_name"], rows[0]["city"]) == ("Kade", "ABC", "Rotterdam")
    assert (rows[0]["standards"], rows[0]["max_power_w"]) == (["IEC_62196_T2_COMBO"], 150_000)
    assert (rows[1]["latitude"], rows[1]["operator_name"]) == (None, None)
    assert plugs == "IEC_62196_T2_COMBO CABLE"
