"""What CPOs push, over real HTTP on a real PostgreSQL: kept exactly, once.

And each party apart from the others.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.database import Pool
from gateway.ids import format_id, new_id, shard_of
from gateway.ocpi.repository import cdrs
from gateway.ocpi.repository.cdrs import CdrStatus
from gateway.ocpi.repository.objects import list_rejections
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.payments.requests import ChargePoint, EvseUnknown, TariffMissing
from tests.fakes.ocpi_edge import NOW, Edge, start_edge, stop_edge
from tests.fakes.ocpi_objects import AT, cdr, location, tariff


@pytest.fixture
async def edge(pool: Pool) -> AsyncIterator[Edge]:
    started = await start_edge(pool)
    yield started
    await stop_edge(started)


async def accepted(edge: Edge, method: str, path: str, token: str, body: Any = None) -> int:
    answer, status = await edge.call(method, f"/emsp/2.2.1{path}", token, body)
    assert answer["status_code"] == 1000, answer
    return status


async def rejected(edge: Edge, method: str, path: str, token: str, body: Any) -> str:
    answer, status = await edge.call(method, f"/emsp/2.2.1{path}", token, body)
    assert (status, answer["status_code"]) == (200, 2001), answer
    return str(answer["status_message"])


async def test_put_creates_then_replaces(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    assert await accepted(edge, "PUT", "/locations/NL/ABC/LOC1", token, location()) == 201
    assert await accepted(edge, "PUT", "/locations/nl/abc/loc1", token, location(city="Delft")) == 200
    answer, _ = await edge.call("GET", "/emsp/2.2.1/locations/NL/ABC/LOC1", token)
    assert answer["data"]["city"] == "Delft"


async def test_evse_and_connector_pushes_reach_their_parents(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await accepted(edge, "PUT", "/locations/NL/ABC/LOC1", token, location())
    later = "2026-10-29T07:30:00Z"
    path = "/locations/NL/ABC/LOC1/E1"
    await accepted(edge, "PATCH", f"{path}/1", token, {"tariff_ids": ["T2"], "last_updated": later})
    second = {**location()["evses"][0]["connectors"][0], "id": "2", "last_updated": later}
    assert await accepted(edge, "PUT", f"{path}/2", token, second) == 201
    answer, _ = await edge.call("GET", "/emsp/2.2.1/locations/NL/ABC/LOC1", token)
    evse = answer["data"]["evses"][0]
    assert evse["connectors"][0]["tariff_ids"] == ["T2"]
    assert [row["id"] for row in evse["connectors"]] == ["1", "2"]
    assert answer["data"]["last_updated"].startswith("2026-10-29T07:30:00")
    assert evse["last_updated"].startswith("2026-10-29T07:30:00")
    assert (await edge.call("GET", f"/emsp/2.2.1{path}/2", token))[0]["data"]["id"] == "2"
    assert (await edge.call("GET", f"/emsp/2.2.1{path}/3", token))[1] == 404


async def test_a_part_of_an_unknown_location_is_not_found(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    for method in ("PUT", "PATCH"):
        answer, status = await edge.call(
            method,
            "/emsp/2.2.1/locations/NL/ABC/NOPE/E1",
            token,
            {"uid": "E1", "status": "AVAILABLE", "last_updated": AT},
        )
        assert (status, answer["status_code"]) == (404, 2003)


async def test_patch_needs_last_updated(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await accepted(edge, "PUT", "/locations/NL/ABC/LOC1", token, location())
    said = await rejected(edge, "PATCH", "/locations/NL/ABC/LOC1/E1", token, {"status": "CHARGING"})
    assert said.startswith("$.last_updated: missing")


async def test_another_partys_objects_are_not_there(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    other = await edge.register("DE-XYZ")
    await accepted(edge, "PUT", "/locations/NL/ABC/LOC1", token, location())
    for method, body in (("GET", None), ("PUT", location()), ("PATCH", {"city": "X", "last_updated": AT})):
        answer, status = await edge.call(method, "/emsp/2.2.1/locations/NL/ABC/LOC1", other, body)
        assert (status, answer["status_code"]) == (404, 2001)
    assert "not a party of this connection" in await rejected(edge, "POST", "/cdrs", other, cdr())
    said = await rejected(edge, "PUT", "/locations/DE/XYZ/LOC1", other, location())
    assert said.startswith("$.country_code: expected DE")
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_location") == 1


async def test_bad_locations_are_rejected_with_the_place_of_the_fault(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    for changes, expected in (
        ({"time_zone": "Europe/Atlantis"}, "$.time_zone: expected a name of the IANA"),
        ({"country": "Holland"}, "$.country: expected a string"),
        ({"country": "ZZZ"}, "$.country: expected an ISO 3166-1"),
        ({"id": "LOC2"}, "$.id: is 'LOC2', the URL says 'LOC1'"),
        ({"evses": [{"uid": "E1"}]}, "$.evses[0].status: missing"),
        ({"evses": {}}, "$.evses: expected a list"),
        ({"last_updated": "yesterday"}, "$.last_updated: expected a UTC time"),
    ):
        said = await rejected(edge, "PUT", "/locations/NL/ABC/LOC1", token, location(**changes))
        assert expected in said
    async with edge.pool.acquire() as connection:
        kept = await list_rejections(connection, party_id="NL-ABC")
    assert len(kept) == 7
    assert kept[0]["module"] == "locations"


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"", 400, 2001),
        (b"{", 400, 2001),
        (b'{"id": NaN}', 400, 2001),
        (b"[" * 100_000, 400, 2001),
        (b'{"id": "T1"} x', 400, 2001),
        (b"\xff\xfe", 400, 2001),
        (b"[]", 200, 2001),
        (b'"text"', 200, 2001),
        (b'{"id": "T1", "big": 1e400}', 200, 2001),
        (b'{"id": "T1", "id": "T1"}', 200, 2001),
        (b'{"a":' * 70 + b"1" + b"}" * 70, 200, 2001),
    ],
)
async def test_malformed_bodies_are_answered_not_crashed_on(
    edge: Edge, raw: bytes, status: int, code: int
) -> None:
    token = await edge.register("NL-ABC")
    for path in ("/tariffs/NL/ABC/T1", "/locations/NL/ABC/LOC1", "/sessions/NL/ABC/S1"):
        answer, http_status = await edge.call("PUT", f"/emsp/2.2.1{path}", token, raw=raw)
        assert (http_status, answer["status_code"]) == (status, code), answer


async def test_a_body_beyond_the_limit_is_rejected_before_it_is_read(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    answer, status = await edge.call("POST", "/emsp/2.2.1/cdrs", token, raw=io.BytesIO(b" " * (40 * 2**20)))
    assert (status, answer["status_code"]) == (413, 2001)


async def test_numbers_of_many_digits_stay_exact(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    raw = json.dumps(cdr()).replace("10.05", "123456789012345.67891234567890").encode()
    response, _ = await edge.send("POST", "/emsp/2.2.1/cdrs", token, raw=raw)
    async with edge.http.get(response.headers["Location"], headers=_bare(token)) as given:
        assert b'"excl_vat": 123456789012345.67891234567890' in await given.read()


def _bare(token: str) -> dict[str, str]:
    return {"Authorization": f"Token {token}"}


async def test_a_tariff_keeps_its_history_and_a_deleted_one_still_prices_the_past(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    source = OcpiTariffSource()
    await accepted(edge, "PUT", "/locations/NL/ABC/LOC1", token, location())
    assert await accepted(edge, "PUT", "/tariffs/NL/ABC/T1", token, tariff(0.40)) == 201
    assert await accepted(edge, "PUT", "/tariffs/NL/ABC/T1", token, tariff(0.40)) == 200
    edge.clock.at = NOW + timedelta(hours=1)
    assert await accepted(edge, "PUT", "/tariffs/NL/ABC/t1", token, tariff(0.50, id="t1")) == 200
    edge.clock.at = NOW + timedelta(hours=2)
    assert await accepted(edge, "DELETE", "/tariffs/NL/ABC/T1", token) == 200
    assert (await edge.call("GET", "/emsp/2.2.1/tariffs/NL/ABC/T1", token))[1] == 404
    assert (await edge.call("DELETE", "/emsp/2.2.1/tariffs/NL/ABC/T1", token))[1] == 404
    async with edge.pool.acquire() as connection:
        versions = await connection.fetchval(
            "SELECT count(*) FROM gateway.ocpi_tariff WHERE tariff_key = 't1'"
        )
        assert versions == 2
        prices = []
        for hours in (-1, 0.5, 1.5, 2.5):
            found = await source.tariff_for(connection, evse_id="nlabce0001", at=NOW + timedelta(hours=hours))
            prices.append(
                json.loads(found.tariff_raw)["elements"][0]["price_components"][0]["price"]
                if isinstance(found, ChargePoint)
                else type(found)
            )
    assert prices == [0.40, 0.40, 0.50, TariffMissing]


async def test_an_evse_is_found_by_its_id_in_any_spelling_or_by_its_uid(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await accepted(edge, "PUT", "/locations/NL/ABC/LOC1", token, location())
    await accepted(edge, "PUT", "/tariffs/NL/ABC/T1", token, tariff())
    source = OcpiTariffSource()
    async with edge.pool.acquire() as connection:
        for name in ("NL*ABC*E0001", "nl*abc*e0001", "NLABCE0001", "NL-ABC-E0001", "e1", "E1"):
            found = await source.tariff_for(connection, evse_id=name, at=NOW)
            assert isinstance(found, ChargePoint), name
            assert (found.cpo_id, found.tax_jurisdiction, found.max_power_w) == ("NL-ABC", "NL", 150_000)
        for name in ("NL*ABC*E0002", "", "x" * 100, "\x00"):
            assert await source.tariff_for(connection, evse_id=name, at=NOW) == EvseUnknown()
        assert await source.tariff_for(connection, evse_id="E1", at=NOW, cpo_id="DE-XYZ") == EvseUnknown()


async def test_a_removed_evse_can_not_be_authorized_at(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await accepted(edge, "PUT", "/locations/NL/ABC/LOC1", token, location())
    await accepted(edge, "PUT", "/tariffs/NL/ABC/T1", token, tariff())
    await accepted(
        edge, "PATCH", "/locations/NL/ABC/LOC1/E1", token, {"status": "REMOVED", "last_updated": AT}
    )
    async with edge.pool.acquire() as connection:
        assert await OcpiTariffSource().tariff_for(connection, evse_id="E1", at=NOW) == EvseUnknown()


async def test_one_uid_at_two_operators_is_not_guessed_at(edge: Edge) -> None:
    token, other = await edge.register("NL-ABC"), await edge.register("DE-XYZ")
    await accepted(edge, "PUT", "/locations/NL/ABC/LOC1", token, location())
    await accepted(edge, "PUT", "/tariffs/NL/ABC/T1", token, tariff())
    theirs = location(country_code="DE", party_id="XYZ", country="DEU", time_zone="Europe/Berlin")
    theirs["evses"][0]["evse_id"] = "DE*XYZ*E0001"
    await accepted(edge, "PUT", "/locations/DE/XYZ/LOC1", other, theirs)
    async with edge.pool.acquire() as connection:
        assert await OcpiTariffSource().tariff_for(connection, evse_id="E1", at=NOW) == EvseUnknown()
        found = await OcpiTariffSource().tariff_for(connection, evse_id="E1", at=NOW, cpo_id="NL-ABC")
        assert isinstance(found, ChargePoint)


async def test_a_session_is_put_and_patched_and_a_repeated_patch_adds_nothing(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    period = {"start_date_time": AT, "dimensions": [{"type": "ENERGY", "volume": 1.5}]}
    session = {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "S1",
        "start_date_time": AT,
        "kwh": 1.2345,
        "cdr_token": {"uid": "u", "type": "APP_USER", "contract_id": "c"},
        "auth_method": "AUTH_REQUEST",
        "location_id": "LOC1",
        "evse_uid": "E1",
        "connector_id": "1",
        "currency": "EUR",
        "status": "ACTIVE",
        "last_updated": AT,
    }
    path = "/sessions/NL/ABC/S1"
    answer, status = await edge.call("PATCH", f"/emsp/2.2.1{path}", token, {"kwh": 2, "last_updated": AT})
    assert status == 404
    assert await accepted(edge, "PUT", path, token, session) == 201
    for _ in range(2):
        await accepted(
            edge, "PATCH", path, token, {"kwh": 2.5, "charging_periods": [period], "last_updated": AT}
        )
    answer, _ = await edge.call("GET", f"/emsp/2.2.1{path}", token)
    assert answer["data"]["charging_periods"] == [period]
    assert answer["data"]["status"] == "ACTIVE"
    assert await edge.pool.fetchval("SELECT energy_wh FROM gateway.ocpi_session") == 2500
    await accepted(edge, "PUT", path, token, session)
    answer, _ = await edge.call("GET", f"/emsp/2.2.1{path}", token)
    assert "charging_periods" not in answer["data"]


async def test_a_cdr_is_kept_once_with_one_task(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    answers = await asyncio.gather(*(edge.send("POST", "/emsp/2.2.1/cdrs", token, cdr()) for _ in range(8)))
    assert {response.status for response, _ in answers} == {201}
    assert len({response.headers["Location"] for response, _ in answers}) == 1
    task = await edge.pool.fetch("SELECT kind, payload, run_at FROM gateway.task")
    assert [(row["kind"], row["payload"]) for row in task] == [
        ("complete_session", {"cpo_id": "NL-ABC", "cdr_id": "CDR1"})
    ]
    async with edge.pool.acquire() as connection:
        stored = await cdrs.load_cdr(connection, "NL-ABC", "cdr1")
    assert stored is not None
    assert (stored.status, stored.session_ref) == (CdrStatus.PENDING, "S1")
    assert json.loads(stored.raw) == cdr()


async def test_the_same_cdr_with_its_keys_in_another_order_is_the_same(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await accepted(edge, "POST", "/cdrs", token, cdr())
    assert await accepted(edge, "POST", "/cdrs", token, dict(reversed(cdr().items()))) == 201


async def test_the_same_cdr_with_its_id_in_another_case_is_the_same(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await accepted(edge, "POST", "/cdrs", token, cdr(session_id="s1"))
    await accepted(edge, "POST", "/cdrs", token, cdr(id="cdr1", session_id="S1"))
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_cdr") == 1


async def test_another_cdr_under_a_known_id_is_rejected_and_the_first_stays(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    response, _ = await edge.send("POST", "/emsp/2.2.1/cdrs", token, cdr())
    said = await rejected(edge, "POST", "/cdrs", token, cdr(total_energy=99))
    assert "send a credit CDR" in said
    answer, _ = await edge.call("GET", response.headers["Location"], token)
    assert answer["data"]["total_energy"] == 20.5
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.task") == 1


async def test_a_credit_cdr_is_kept_without_a_task_and_found_from_what_it_reverses(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await accepted(edge, "POST", "/cdrs", token, cdr())
    said = await rejected(edge, "POST", "/cdrs", token, cdr(id="CDR1-C", credit=True))
    assert said.startswith("$.credit_reference_id")
    credit = {"id": "CDR1-C", "credit": True, "credit_reference_id": "cdr1"}
    said = await rejected(edge, "POST", "/cdrs", token, cdr(**credit))
    assert said.startswith("$.total_cost.excl_vat: is '10.05'; the total of a credit CDR is negative")
    await accepted(edge, "POST", "/cdrs", token, cdr(**credit, total_cost={"excl_vat": -10.05}))
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.task") == 1
    async with edge.pool.acquire() as connection:
        assert await cdrs.list_credits(connection, "NL-ABC", "CDR1") == ["CDR1-C"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"end_date_time": "2026-10-29T07:59:59Z"}, "$.end_date_time: is before start_date_time"),
        ({"charging_periods": []}, "$.charging_periods: expected a list"),
        (
            {
                "charging_periods": [
                    {"start_date_time": AT, "dimensions": [{"type": "ENERGY", "volume": "2"}]}
                ]
            },
            "$.charging_periods[0].dimensions[0].volume: expected a number",
        ),
        ({"total_cost": 10.05}, "$.total_cost: expected a Price object"),
        ({"currency": None}, "$.currency: missing"),
        ({"id": "é"}, "$.id: expected"),
        ({"start_date_time": "1999-10-29T08:00:00Z"}, "$.start_date_time: expected a year from 2000 to 2100"),
        ({"end_date_time": "2126-10-29T09:00:00Z"}, "$.end_date_time: expected a year from 2000 to 2100"),
        (
            {"charging_periods": [{"start_date_time": "1926-10-29T08:00:00Z", "dimensions": []}]},
            "$.charging_periods[0].start_date_time: expected a time from 1970 on",
        ),
        (
            {"cdr_location": {"id": "LOC1", "evse_uid": "E1\x00"}},
            "$.cdr_location.evse_uid: expected printable characters only, got U+0000",
        ),
        ({"remark": "two\nlines"}, "$.remark: expected printable characters only, got U+000A"),
        ({"later": [{"x": "a" * 65_537}]}, "$.later[0].x: expected text of at most 65536 characters"),
        ({"id": "x" * 40}, "$.id: expected a string of 1 to 39"),
    ],
)
async def test_a_cdr_that_is_no_cdr_is_rejected_and_kept_for_the_operator(
    edge: Edge, changes: dict[str, Any], expected: str
) -> None:
    token = await edge.register("NL-ABC")
    assert expected in await rejected(edge, "POST", "/cdrs", token, cdr(**changes))
    row = await edge.pool.fetchrow("SELECT module, status_code, raw FROM gateway.ocpi_rejected_push")
    assert row is not None
    assert (row["module"], row["status_code"]) == ("cdrs", 2001)
    assert json.loads(row["raw"]) == cdr(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"currency": "XXX"},
        {"end_date_time": "2026-10-29T08:00:00Z"},
        {
            "charging_periods": [
                {
                    "start_date_time": "2026-10-29T08:30:00Z",
                    "dimensions": [{"type": "NEW_KIND", "volume": 1}],
                },
                {"start_date_time": "2026-10-29T08:00:00Z", "dimensions": []},
            ]
        },
        {"auth_method": "TELEPATHY", "something_new": {"a": [1, 2.5, None]}},
        {"total_energy": -3.5},
    ],
)
async def test_odd_cdrs_are_kept_as_sent_for_pricing_to_judge(edge: Edge, changes: dict[str, Any]) -> None:
    token = await edge.register("NL-ABC")
    response, answer = await edge.send("POST", "/emsp/2.2.1/cdrs", token, cdr(**changes))
    assert response.status == 201, answer
    given, _ = await edge.call("GET", response.headers["Location"], token)
    assert given["data"] == cdr(**changes)


async def test_a_cdr_goes_to_the_shard_of_the_session_it_names(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    authorization = new_id(shard=17)
    reference = format_id("auth", authorization)
    await accepted(edge, "POST", "/cdrs", token, cdr(authorization_reference=reference.upper()))
    assert await edge.pool.fetchval("SELECT shard FROM gateway.task") == 17 == shard_of(authorization)


async def test_waiting_cdrs_are_listed_with_their_reason_and_replayed(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    for name in ("A", "B", "C"):
        await accepted(edge, "POST", "/cdrs", token, cdr(id=name))
    await edge.pool.execute("DELETE FROM gateway.task")
    async with edge.pool.acquire() as connection:
        for name in ("A", "B"):
            assert await cdrs.mark_cdr(
                connection, "NL-ABC", name, status=CdrStatus.UNMATCHED, reason="no session", now=NOW
            )
        waiting = await cdrs.list_queued_cdrs(connection)
        assert [(row.cdr_id, row.reason) for row in waiting] == [("A", "no session"), ("B", "no session")]
        page = await cdrs.list_queued_cdrs(connection, limit=1, after=waiting[0])
        assert [row.cdr_id for row in page] == ["B"]
        assert await cdrs.replay_cdr(connection, "NL-ABC", "A", now=NOW, wall_now=NOW)
        assert not await cdrs.replay_cdr(connection, "NL-ABC", "A", now=NOW, wall_now=NOW)
        assert not await cdrs.replay_cdr(connection, "NL-ABC", "C", now=NOW, wall_now=NOW)
        assert await cdrs.replay_waiting(connection, now=NOW, wall_now=NOW) == 1
        assert await connection.fetchval("SELECT count(*) FROM gateway.task") == 2
        settled = await cdrs.mark_cdr(
            connection, "NL-ABC", "A", status=CdrStatus.COMPLETED, session_id=new_id(), now=NOW
        )
        assert settled
        assert not await cdrs.mark_cdr(
            connection, "NL-ABC", "A", status=CdrStatus.UNMATCHED, reason="late", now=NOW
        )


async def test_routing_headers_come_back_turned_around(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    headers = {
        "OCPI-to-party-id": "NWC",
        "OCPI-to-country-code": "CH",
        "OCPI-from-party-id": "ABC",
        "OCPI-from-country-code": "NL",
    }
    response, _ = await edge.send("PUT", "/emsp/2.2.1/tariffs/NL/ABC/T1", token, tariff(), headers=headers)
    assert response.headers["OCPI-from-party-id"] == "NWC"
    assert response.headers["OCPI-from-country-code"] == "CH"
    assert response.headers["OCPI-to-party-id"] == "ABC"
    assert response.headers["OCPI-to-country-code"] == "NL"


async def test_tariffs_that_can_not_be_read_are_rejected(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    for changes, place in (
        ({"elements": []}, "$.elements"),
        (
            {"elements": [{"price_components": [{"type": "ENERGY", "price": "cheap", "step_size": 1}]}]},
            "price",
        ),
        ({"currency": "EURO"}, "urrency"),
        ({"id": "T2"}, "$.id"),
    ):
        said = await rejected(edge, "PUT", "/tariffs/NL/ABC/T1", token, tariff(**changes))
        assert place in said
    answer, status = await edge.call("PATCH", "/emsp/2.2.1/tariffs/NL/ABC/T1", token, {"last_updated": AT})
    assert (status, answer["status_code"]) == (405, 2000)


async def test_two_first_pushes_of_one_tariff_at_once_both_succeed(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    statuses = await asyncio.gather(
        *(accepted(edge, "PUT", "/tariffs/NL/ABC/T1", token, tariff(0.1 * count)) for count in range(1, 7))
    )
    assert statuses.count(201) == 1
    assert datetime.now(UTC) > NOW
    current = await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_tariff WHERE superseded_at IS NULL")
    assert current == 1


async def test_two_patches_of_one_location_at_once_both_count(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    await accepted(edge, "PUT", "/locations/NL/ABC/LOC1", token, location())
    fields = [f"field_{number}" for number in range(8)]
    await asyncio.gather(
        *(
            accepted(edge, "PATCH", "/locations/NL/ABC/LOC1/E1", token, {name: name, "last_updated": AT})
            for name in fields
        )
    )
    answer, _ = await edge.call("GET", "/emsp/2.2.1/locations/NL/ABC/LOC1/E1", token)
    assert {name: answer["data"][name] for name in fields} == {name: name for name in fields}


async def test_a_database_that_is_away_asks_for_another_try(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    edge.services.peers.forget()
    await edge.pool.close()
    answer, status = await edge.call("POST", "/emsp/2.2.1/cdrs", token, cdr())
    assert (status, answer["status_code"]) == (503, 3000)


async def test_text_with_a_nul_is_rejected_without_a_crash(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    for changes in ({"address": "a\x00b"}, {"postal_code": "1\x00"}, {"extra": {"x": ["\x00"]}}):
        answer, status = await edge.call(
            "PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", token, location(**changes)
        )
        assert (status, answer["status_code"]) == (200, 2001), answer
    assert "$.currency" in await rejected(edge, "POST", "/cdrs", token, cdr(currency="E\x00R"))
