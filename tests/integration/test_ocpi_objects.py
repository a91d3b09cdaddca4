"""Objects that CPOs push in parts, late or to the wrong place: what is kept stays whole and the newest."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.database import Pool
from tests.fakes.ocpi_edge import Edge, start_edge, stop_edge
from tests.fakes.ocpi_objects import AT, cdr, location, tariff

LATER = "2026-10-29T07:30:00Z"
LATEST = "2026-10-29T07:40:00Z"
PATH = "/locations/NL/ABC/LOC1"


@pytest.fixture
async def edge(pool: Pool) -> AsyncIterator[Edge]:
    started = await start_edge(pool)
    yield started
    await stop_edge(started)


async def push(edge: Edge, method: str, path: str, token: str, body: Any) -> tuple[int, int, str]:
    answer, status = await edge.call(method, f"/emsp/2.2.1{path}", token, body)
    return status, answer["status_code"], answer["status_message"]


async def kept(edge: Edge, path: str, token: str) -> Any:
    answer, _ = await edge.call("GET", f"/emsp/2.2.1{path}", token)
    return answer["data"]


def two_evses() -> dict[str, Any]:
    first = location()["evses"][0]
    second = {**first, "uid": "E2", "evse_id": "NL*ABC*E0002"}
    second["connectors"] = [first["connectors"][0], {**first["connectors"][0], "id": "2"}]
    return location(evses=[first, second])


async def test_a_patch_with_a_part_of_a_list_keeps_the_other_parts(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await push(edge, "PUT", PATH, token, two_evses())
    changes = {
        "city": "Delft",
        "evses": [
            {"uid": "e2", "status": "CHARGING", "connectors": [{"id": "2", "tariff_ids": ["T2"]}]},
        ],
        "last_updated": LATER,
    }
    assert await push(edge, "PATCH", PATH, token, changes) == (200, 1000, "Success")
    found = await kept(edge, PATH, token)
    assert found["city"] == "Delft"
    assert [(evse["uid"], evse["status"]) for evse in found["evses"]] == [
        ("E1", "AVAILABLE"),
        ("e2", "CHARGING"),
    ]
    assert [connector["tariff_ids"] for connector in found["evses"][1]["connectors"]] == [["T1"], ["T2"]]
    assert found["evses"][1]["connectors"][1]["standard"] == "IEC_62196_T2_COMBO"
    rows = await edge.pool.fetch(
        "SELECT evse_uid_key, connector_key, tariff_keys FROM gateway.ocpi_connector ORDER BY 1, 2"
    )
    assert [tuple(row) for row in rows] == [("e1", "1", ["t1"]), ("e2", "1", ["t1"]), ("e2", "2", ["t2"])]


async def test_a_part_without_an_id_is_rejected_with_its_place(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await push(edge, "PUT", PATH, token, two_evses())
    for evses, place in (
        ([{"status": "CHARGING"}], "$.evses[0].uid"),
        ([{"uid": "E1", "connectors": [{"tariff_ids": ["T9"]}]}], "$.evses[0].connectors[0].id"),
        ([{"uid": "E9", "status": "AVAILABLE"}], "$.evses[2].connectors"),
        (["E1"], "$.evses[0]"),
    ):
        answer = await push(edge, "PATCH", PATH, token, {"evses": evses, "last_updated": LATER})
        assert answer[:2] == (200, 2001), answer
        assert answer[2].startswith(place), answer
    assert (await kept(edge, PATH, token))["last_updated"] == AT


@pytest.mark.parametrize("connectors", [None, []])
async def test_an_evse_without_connectors_is_rejected_unless_it_is_removed(
    edge: Edge, connectors: Any
) -> None:
    token = await edge.register("NL-ABC")
    evse = {**location()["evses"][0], "connectors": connectors}
    rejected = await push(edge, "PUT", PATH, token, location(evses=[evse]))
    assert rejected[1:] == (
        2001,
        "$.evses[0].connectors: expected a list of at least one object, got "
        + ("nothing" if connectors is None else "a list of 0"),
    )
    removed = location(evses=[{**evse, "status": "REMOVED"}])
    assert (await push(edge, "PUT", PATH, token, removed))[1] == 1000


async def test_an_older_push_is_answered_and_changes_nothing(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await push(edge, "PUT", PATH, token, location(city="New", last_updated=LATER))
    evse = {**location()["evses"][0], "status": "CHARGING", "last_updated": LATER}
    await push(edge, "PUT", f"{PATH}/E1", token, evse)
    for method, path, body in (
        ("PUT", PATH, location(city="Old")),
        ("PATCH", PATH, {"city": "Old", "last_updated": AT}),
        ("PUT", f"{PATH}/E1", {**evse, "status": "AVAILABLE", "last_updated": AT}),
        ("PATCH", f"{PATH}/E1", {"status": "AVAILABLE", "last_updated": AT}),
    ):
        assert await push(edge, method, path, token, body) == (200, 1000, "Success")
    found = await kept(edge, PATH, token)
    assert (found["city"], found["evses"][0]["status"]) == ("New", "CHARGING")
    assert await edge.pool.fetchval("SELECT stale_pushes FROM gateway.ocpi_peer") == 4


async def test_a_part_that_is_newer_than_itself_is_kept_although_the_location_is_newer(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await push(edge, "PUT", PATH, token, {**two_evses(), "last_updated": LATEST})
    patch = {"status": "CHARGING", "last_updated": LATER}
    assert (await push(edge, "PATCH", f"{PATH}/E1", token, patch))[1] == 1000
    found = await kept(edge, PATH, token)
    assert found["evses"][0]["status"] == "CHARGING"
    assert found["last_updated"] == LATEST


async def test_a_time_in_the_future_does_not_keep_later_pushes_out(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    far = location(city="Future", last_updated="2099-01-01T00:00:00Z")
    far["evses"][0]["last_updated"] = "2099-01-01T00:00:00Z"
    await push(edge, "PUT", PATH, token, far)
    now = edge.clock.at.isoformat().replace("+00:00", "Z")
    await push(edge, "PATCH", f"{PATH}/E1", token, {"status": "CHARGING", "last_updated": now})
    await push(edge, "PATCH", PATH, token, {"city": "Now", "last_updated": now})
    found = await kept(edge, PATH, token)
    assert (found["city"], found["evses"][0]["status"]) == ("Now", "CHARGING")


async def test_an_older_tariff_or_session_changes_nothing(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await push(edge, "PUT", "/tariffs/NL/ABC/T1", token, tariff(0.6, last_updated=LATER))
    await push(edge, "PUT", "/tariffs/NL/ABC/T1", token, tariff(0.4))
    component = (await kept(edge, "/tariffs/NL/ABC/T1", token))["elements"][0]["price_components"][0]
    assert component["price"] == 0.6
    session = {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "S1",
        "start_date_time": AT,
        "kwh": 5,
        "status": "ACTIVE",
        "currency": "EUR",
        "last_updated": LATER,
    }
    await push(edge, "PUT", "/sessions/NL/ABC/S1", token, session)
    await push(edge, "PUT", "/sessions/NL/ABC/S1", token, {**session, "kwh": 2, "last_updated": AT})
    await push(edge, "PATCH", "/sessions/NL/ABC/S1", token, {"kwh": 3, "last_updated": AT})
    assert (await kept(edge, "/sessions/NL/ABC/S1", token))["kwh"] == 5
    assert await edge.pool.fetchval("SELECT stale_pushes FROM gateway.ocpi_peer") == 3


async def test_a_push_that_leads_nowhere_leaves_a_trace_with_its_path(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    for method, path, status in (
        ("PUT", "/emsp/2.2.1/locatoins/NL/ABC/LOC1", 404),
        ("POST", "/emsp/2.2.1/locations/NL/ABC/LOC1", 405),
        ("PUT", "/emsp/2.2.1/locations/XX/YYY/LOC1", 404),
    ):
        _, found = await edge.call(method, path, token, location())
        assert found == status
    rows = await edge.pool.fetch("SELECT url, module, pulled FROM gateway.ocpi_rejected_push ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("/ocpi/emsp/2.2.1/locatoins/NL/ABC/LOC1", "unknown", False),
        ("/ocpi/emsp/2.2.1/locations/NL/ABC/LOC1", "locations", False),
        ("/ocpi/emsp/2.2.1/locations/XX/YYY/LOC1", "locations", False),
    ]


async def test_the_same_cdr_in_another_case_is_the_same_cdr(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    assert (await push(edge, "POST", "/cdrs", token, cdr(id="Cdr1")))[1] == 1000
    assert (await push(edge, "POST", "/cdrs", token, cdr(id="CDR1", country_code="nl")))[1] == 1000
    other = await push(edge, "POST", "/cdrs", token, cdr(id="CDR1", total_energy=21))
    assert other[1] == 2001
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_cdr") == 1
