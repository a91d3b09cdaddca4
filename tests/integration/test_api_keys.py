"""API keys over HTTP: who may what, rotation with an overlap, revocation, limits, and the edge's manners."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from html import escape

import pytest
from aiohttp import web
from openapi_spec_validator import validate

from gateway.api.problems import CATALOG
from gateway.api.routes import endpoints
from gateway.api.server import build_api
from gateway.database import Pool
from gateway.limits.address_limit import AddressLimiter
from gateway.limits.rate_limit import RateRule
from tests.fakes.api import ADMIN, Api, authorization_body, open_api


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


async def test_every_way_of_a_wrong_key_is_the_same_401(api: Api) -> None:
    good = api.keys["parking"]
    wrong = [
        None,
        "",
        "Basic abc",
        "Bearer ",
        "Bearer nck_",
        f"Bearer {good[:-1]}{'A' if good[-1] != 'A' else 'B'}",
        f"Bearer nck_{'a' * 12}_{'b' * 43}",
        f"Bearer {ADMIN}x",
        f"Bearer x{good}",
    ]
    for header in wrong:
        headers = {} if header is None else {"Authorization": header}
        answer = await api.call("GET", "/v1/sessions", party=None, headers=headers)
        assert (answer.status, answer.json["code"]) == (401, "unauthenticated"), header
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert good[17:] not in answer.text


async def test_a_key_does_only_what_its_scopes_allow(api: Api) -> None:
    for path, party, scope in (
        ("/v1/receivables", "parking", "`finance:read`"),
        ("/v1/captures", "DE-ABC", "`capture:read`"),
        ("/v1/webhook-endpoints", "DE-ABC", "`webhooks:read`"),
        ("/v1/summary", "superapp", "`status:read`"),
    ):
        answer = await api.call("GET", path, party=party)
        assert (answer.status, answer.json["code"]) == (403, "missing_scope"), path
        assert scope in answer.json["detail"]


async def test_every_endpoint_but_the_public_ones_needs_a_key(pool: Pool) -> None:
    many = RateRule(name="address", per_second=1000, burst=1000)
    async with open_api(pool, addresses=AddressLimiter(many)) as api:
        await check_every_endpoint(api)


async def check_every_endpoint(api: Api) -> None:
    described = endpoints(sandbox=True)
    # Their link is the secret.
    linked = {"getDriverReceipt", "getBuyerPage", "nameBuyer", "getNamedInvoice", "getNamedInvoices"}
    public_keys = {"listWebhookKeys"}
    assert {one.operation for one in described if one.public} == linked | public_keys
    for endpoint in (one for one in described if not one.public):
        path = endpoint.path.replace("{currency:[A-Z]{3}}", "EUR")
        for name, value in (
            ("{version:2\\.0\\.1|2\\.1}", "2.1"),
            ("{version:1\\.6|2\\.0\\.1|2\\.1}", "1.6"),
            ("{message:[A-Za-z0-9-]{1,64}}", "boot-notification"),
            ("{type:APP_USER|RFID|OTHER}", "RFID"),
            ("{uid:[!-.0-~]{1,36}}", "04A1B2C3"),
        ):
            path = path.replace(name, value)
        path = re.sub(r"\{\w+\}", "x", path)
        answer = await api.call(endpoint.method, path, {}, party=None)
        assert answer.status == 401, (endpoint.method, path)


async def test_a_rotated_key_works_until_the_overlap_ends_and_a_revoked_one_stops_at_once(api: Api) -> None:
    path = "/v1/parties/parking/api-keys"
    listed = (await api.call("GET", path, party="admin")).json["data"]
    assert len(listed) == 1
    assert listed[0]["api_key"] is None
    old = api.keys["parking"]
    assert (await api.call("GET", "/v1/sessions")).status == 200
    rotated = await api.call("POST", f"{path}/{listed[0]['id']}/rotate", {"overlap_s": 60}, party="admin")
    assert rotated.status == 201
    assert rotated.json["scopes"] == listed[0]["scopes"]
    assert (await api.call("GET", "/v1/sessions")).status == 200
    api.keys["parking"] = rotated.json["api_key"]
    assert (await api.call("GET", "/v1/sessions")).status == 200
    api.clock.pass_wall(61)
    assert (await api.call("GET", "/v1/sessions")).status == 200
    api.keys["parking"] = old
    assert (await api.call("GET", "/v1/sessions")).status == 401

    api.keys["parking"] = rotated.json["api_key"]
    gone = await api.call("DELETE", f"{path}/{rotated.json['id']}", party="admin")
    assert gone.status == 204
    assert (await api.call("GET", "/v1/sessions")).status == 401
    foreign = await api.call("DELETE", f"/v1/parties/superapp/api-keys/{rotated.json['id']}", party="admin")
    assert foreign.status == 404


async def test_a_party_that_is_none_gets_no_key(api: Api) -> None:
    answer = await api.call("POST", "/v1/parties/nobody/api-keys", {"scopes": ["capture"]}, party="admin")
    assert (answer.status, answer.json["code"]) == (404, "not_found")


async def test_a_key_over_its_rate_gets_the_seconds_to_wait(pool: Pool) -> None:
    rule = RateRule(name="key", per_second=1, burst=3)
    async with open_api(pool, key_rate=rule) as api:
        answers = [await api.call("GET", "/v1/sessions") for _ in range(5)]
        limited = [answer for answer in answers if answer.status == 429]
        assert limited
        assert limited[0].json["code"] == "rate_limited"
        assert int(limited[0].headers["Retry-After"]) >= 1
        assert answers[0].headers["RateLimit-Policy"] == '"key";q=3;w=3'
        assert answers[0].headers["RateLimit"].startswith('"key";r=2;t=')
        assert (await api.call("GET", "/v1/sessions", party="superapp")).status == 200


async def test_a_body_above_the_limit_or_slower_than_patience_is_cut_off(pool: Pool) -> None:
    async with open_api(pool, small_body_bytes=1024, body_timeout_seconds=0.2) as api:
        large = await api.call(
            "POST", "/v1/authorizations", authorization_body(session_ref="x" * 2000), key="k"
        )
        assert (large.status, large.json["code"]) == (413, "body_too_large")

        host, port = api.client.server.host, api.client.server.port
        reader, writer = await asyncio.open_connection(host, port)
        head = (
            f"POST /v1/authorizations HTTP/1.1\r\nHost: {host}\r\n"
            f"Authorization: Bearer {api.keys['parking']}\r\n"
            "Idempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
        )
        writer.write(head.encode())
        await writer.drain()
        status = await asyncio.wait_for(reader.readline(), 5)
        assert b" 408 " in status
        writer.close()
        await writer.wait_closed()


async def test_a_connection_that_is_slow_with_its_headers_is_closed(api: Api) -> None:
    runner = web.AppRunner(build_api(api.services), keepalive_timeout=0.3, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    await writer.drain()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    await runner.cleanup()


async def test_the_edge_has_manners(api: Api) -> None:
    """Paths that are not there, methods not taken, media types, request ids, health, no version of ours."""
    missing = await api.call("GET", "/v1/nothing")
    assert (missing.status, missing.json["code"]) == (404, "not_found")
    method = await api.call("DELETE", "/v1/sessions")
    assert (method.status, method.json["code"]) == (405, "method_not_allowed")
    assert "GET" in method.headers["Allow"]
    form = await api.call(
        "POST",
        "/v1/authorizations",
        b"a=b",
        key="k",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert (form.status, form.json["code"]) == (415, "unsupported_media_type")
    named = await api.call("GET", "/v1/nothing", headers={"X-Request-Id": "mine-1"})
    assert named.headers["X-Request-Id"] == named.json["instance"] == "mine-1"
    forged = await api.call("GET", "/v1/nothing", headers={"X-Request-Id": "a b"})
    assert forged.json["instance"].startswith("req_")
    assert missing.headers["Server"] == "networkcore"
    unknown = await api.call("GET", "/v1/sessions?limt=3")
    assert unknown.json["errors"] == [
        {"pointer": "/limt", "expected": "no field of this name; did you mean limit?"}
    ]
    for path in ("/healthz", "/readyz"):
        assert (await api.call("GET", path, party=None)).status == 200
    clock = await api.call("PUT", "/v1/market-clock", {"business_at": "2026-10-29T08:00:00"}, party="admin")
    assert clock.json["errors"][0]["pointer"] == "/business_at"


async def test_the_documents_describe_what_is_routed(api: Api) -> None:
    document = (await api.call("GET", "/openapi.json", party=None)).json
    validate(document)
    routed = {
        (route.method, route.resource.canonical)
        for route in api.client.app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith("/v1/")
    }
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    signed_webhooks = {
        ("POST", "/v1/psp/webhooks"),
        ("POST", "/v1/plug-and-charge/contract-pool-feeds/{party}/events"),
    }
    assert routed - signed_webhooks == described
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all(
        ("401" in operation["responses"]) == (operation.get("security") != []) for operation in operations
    )
    page = await api.call("GET", "/docs", party=None)
    assert page.status == 200
    assert all(escape(operation["summary"]) in page.text for operation in operations)
    assert "<script" not in page.text
    for code in CATALOG:
        shown = await api.call("GET", f"/problems/{code}", party=None)
        assert shown.status == 200
        assert code in shown.text
    assert (await api.call("GET", "/problems/none", party=None)).status == 404


async def test_an_unauthentic_psp_webhook_is_rejected_and_an_authentic_one_is_stored_once(api: Api) -> None:
    for signature, status in (("bad", 400), ("good", 200), ("good", 200)):
        answer = await api.call(
            "POST", "/v1/psp/webhooks", b"evt_1", party=None, headers={api.psp.signature_header: signature}
        )
        assert answer.status == status
    async with api.services.pool.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM gateway.psp_event") == 1


async def test_the_cache_forgets_a_key_within_seconds(api: Api) -> None:
    """A key revoked by another process stops here once the cache's few seconds are over."""
    assert (await api.call("GET", "/v1/sessions")).status == 200
    async with api.services.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.api_key SET revoked_at = now() WHERE party_id = 'parking'")
    api.clock.wall += timedelta(seconds=6)
    assert (await api.call("GET", "/v1/sessions")).status == 401


async def test_metrics_count_by_route_and_show_what_waits_to_the_platform_only(api: Api) -> None:
    assert (await api.call("GET", "/metrics", party=None)).status == 401
    assert (await api.call("GET", "/metrics")).status == 403
    await api.authorize(key="k1")
    for _ in range(3):
        await api.call("GET", "/v1/sessions/nonsense")
    await api.call("GET", "/secret/path")
    shown = await api.call("GET", "/metrics", party="admin")
    assert shown.status == 200
    assert shown.headers["Content-Type"].startswith("text/plain")
    lines = shown.text.splitlines()
    counted = 'networkcore_http_requests_total{method="GET",path="/v1/sessions/{id}",status="404"} 3.0'
    assert counted in lines
    assert 'networkcore_http_requests_total{method="ANY",path="none",status="404"} 1.0' in lines
    assert any(line.startswith("networkcore_events_to_fan_out ") for line in lines)
    assert "secret" not in shown.text
