"""The log of requests: what an entry holds and what it never holds, whose it is, and how it ends."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.api.request_log import RequestLog
from gateway.api.server import EDGE_METRICS, REQUEST_LOG
from gateway.database import Pool, transaction
from gateway.partners.request_log_repository import RequestRecord
from gateway.personal_data.retention_service import RetentionService
from gateway.personal_data.rules import default_policy
from tests.fakes.api import Api, open_api

PATH = "/v1/request-log"


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        for party in ("parking", "superapp"):
            body = {"scopes": ["keys:read", "capture:read", "webhooks:write"]}
            made = await opened.call("POST", f"/v1/parties/{party}/api-keys", body, party="admin")
            opened.keys[party] = made.json["api_key"]
        yield opened


def log_of(api: Api) -> RequestLog:
    assert api.client.app is not None
    return api.client.app[REQUEST_LOG]


async def listed(api: Api, query: str = "", *, party: str = "parking") -> list[dict[str, Any]]:
    await log_of(api).store()
    found = await api.call("GET", f"{PATH}{query}", party=party)
    assert found.status == 200, found.text
    return list(found.json["data"])


async def test_an_entry_shows_the_request_and_nothing_of_its_contents(api: Api) -> None:
    secret = "driver@example.com"
    hook = {"url": f"https://receiver.example/{secret}", "events": ["nonsense"]}
    answer = await api.call("POST", "/v1/webhook-endpoints", hook, headers={"X-Request-Id": "mine-1"})
    assert answer.status == 400
    await api.call("GET", f"/v1/sessions/{secret}?{secret}=1")
    query, posted = await listed(api)
    assert (posted["request_id"], posted["method"], posted["route"]) == (
        "mine-1",
        "POST",
        "/v1/webhook-endpoints",
    )
    assert (posted["status"], posted["error_code"]) == (400, answer.json["code"])
    assert (query["route"], query["key"]) == ("/v1/sessions/{id}", api.keys["parking"][:16])
    assert posted["duration_ms"] >= 0
    rows = await api.services.pool.fetch("SELECT r::text AS row FROM gateway.request_log AS r")
    assert rows
    assert not [row for row in rows if secret in row["row"]]


async def test_a_request_is_found_by_its_id_its_key_and_its_failure(api: Api) -> None:
    good = await api.call("GET", "/v1/sessions")
    assert good.status == 200
    bad = await api.call("GET", "/v1/sessions/ses_none")
    by_id = await listed(api, f"?request_id={bad.headers['X-Request-Id']}")
    assert [one["status"] for one in by_id] == [404]
    one = await api.call("GET", f"{PATH}/{by_id[0]['id']}")
    assert one.json == by_id[0]
    assert [one["error_code"] for one in await listed(api, "?failed=true")] == ["not_found"]
    assert await listed(api, "?key=nck_aaaaaaaaaaaa") == []
    pages = await api.call("GET", f"{PATH}?limit=1")
    rest = await api.call("GET", f"{PATH}?limit=1&cursor={pages.json['next_cursor']}")
    assert pages.json["data"][0]["id"] > rest.json["data"][0]["id"]


async def test_a_party_sees_its_own_requests_and_the_platform_all(api: Api) -> None:
    mine = await api.call("GET", "/v1/sessions")
    [entry] = await listed(api, f"?request_id={mine.headers['X-Request-Id']}")
    assert await listed(api, f"?request_id={entry['request_id']}", party="superapp") == []
    assert await listed(api, "?party=parking", party="superapp") != [], "its own, whatever it asks for"
    assert {one["party"] for one in await listed(api, "?party=parking", party="superapp")} == {"superapp"}
    assert (await api.call("GET", f"{PATH}/{entry['id']}", party="superapp")).status == 404
    assert (await api.call("GET", f"{PATH}/{entry['id']}", party="admin")).json == entry
    assert (await api.call("GET", PATH, party="DE-ABC")).status == 403, "a key without the scope"


async def test_a_request_without_a_known_key_is_nobodys(api: Api) -> None:
    await log_of(api).store()
    before = await api.services.pool.fetchval("SELECT count(*) FROM gateway.request_log")
    await api.call("GET", "/v1/sessions", party=None)
    await api.call("GET", "/v1/nowhere")
    assert await log_of(api).store() == 0
    assert await api.services.pool.fetchval("SELECT count(*) FROM gateway.request_log") == before


async def test_a_full_queue_loses_entries_and_counts_them(api: Api) -> None:
    lost: list[int] = []
    noted = RequestLog(api.services, count_lost=lost.append, limit=1)
    known = log_of(api)
    await api.call("GET", "/v1/sessions")
    kept: list[RequestRecord] = list(known.waiting)
    for record in [*kept, *kept, *kept]:
        noted.add(record)
    assert sum(lost) == 3 * len(kept) - 1
    assert len(noted.waiting) == 1


async def test_a_batch_that_the_database_rejects_is_counted_as_lost(api: Api) -> None:
    await api.call("GET", "/v1/sessions")
    waiting = list(log_of(api).waiting)
    await api.services.pool.execute("ALTER TABLE gateway.request_log RENAME TO away")
    try:
        assert await log_of(api).store() == 0
    finally:
        await api.services.pool.execute("ALTER TABLE gateway.away RENAME TO request_log")
    assert api.client.app is not None
    metrics = await api.client.app[EDGE_METRICS].read()
    assert f"networkcore_request_log_lost_total {float(len(waiting))}" in metrics.decode()
    assert (await api.call("GET", "/v1/sessions")).status == 200


async def test_entries_end_after_seven_days(api: Api) -> None:
    await api.call("GET", "/v1/sessions")
    assert await listed(api)
    retention = RetentionService(policy=default_policy(), environment="sandbox")
    for days, left in ((6, True), (8, False)):
        api.clock.wall += timedelta(days=days) if days == 6 else timedelta(days=2)
        async with transaction(api.services.pool) as connection:
            await retention.remove_batch(connection, "request_log", clock=api.clock)
        rows = await api.services.pool.fetchval("SELECT count(*) FROM gateway.request_log")
        assert bool(rows) is left, days
