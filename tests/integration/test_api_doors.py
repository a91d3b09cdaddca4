"""What reaches the gateway from callers that nobody knows: little work, a short answer, no way around it."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import asyncpg
import pytest
import structlog
from aiohttp import ClientSession, web
from multidict import CIMultiDict

from gateway.api.auth import KeyRing
from gateway.api.health import DatabaseReadiness
from gateway.api.http_server import GatewayRunner
from gateway.api.problems import ProblemError
from gateway.api.server import build_api
from gateway.database import Pool
from gateway.limits.address_limit import AddressLimiter
from gateway.limits.rate_limit import RateRule
from tests.fakes.api import Hands, open_api

UNKNOWN_KEY = f"Bearer nck_{'a' * 12}_{'b' * 43}"
FEW = RateRule(name="address", per_second=1, burst=3)


@dataclass(kw_only=True)
class CountingPool:
    """Counts how often a connection is taken."""

    pool: Pool
    taken: int = 0

    def acquire(self) -> Any:
        self.taken += 1
        return self.pool.acquire()


@dataclass(kw_only=True)
class Answering:
    """A pool with one connection that gives one answer, or fails with it."""

    answer: Any
    asked: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["Answering"]:
        yield self

    async def fetchval(self, statement: str) -> Any:
        self.asked.append(statement)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_an_address_with_unknown_keys_is_turned_away_before_the_database_is_asked(pool: Pool) -> None:
    async with open_api(pool, addresses=AddressLimiter(FEW)) as api:
        counted = CountingPool(pool=pool)
        api.services.keys._pool = counted  # type: ignore[assignment]
        seen = []
        for number in range(6):
            key = f"Bearer nck_{'a' * 11}{number}_{'b' * 43}"
            answer = await api.client.get("/v1/sessions", headers={"Authorization": key})
            seen.append(answer.status)
        assert seen == [401, 401, 401, 429, 429, 429]
        assert counted.taken == 3
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await answer.json())["code"] == "rate_limited"


async def test_a_known_key_works_on_at_an_address_that_others_misuse(pool: Pool) -> None:
    async with open_api(pool, addresses=AddressLimiter(FEW)) as api:
        assert (await api.call("GET", "/v1/sessions", party="parking")).status == 200
        for _ in range(5):
            await api.client.get("/v1/sessions", headers={"Authorization": UNKNOWN_KEY})
        assert (await api.call("GET", "/v1/sessions", party="parking")).status == 200
        assert (await api.call("GET", "/v1/sessions", party="superapp")).status == 429, "not seen before"


async def test_a_revoked_key_is_limited_like_an_unknown_one(pool: Pool) -> None:
    async with open_api(pool, addresses=AddressLimiter(FEW)) as api:
        assert (await api.call("GET", "/v1/sessions", party="parking")).status == 200
        await pool.execute("UPDATE gateway.api_key SET revoked_at = now() WHERE party_id = 'parking'")
        api.services.keys.forget(api.keys["parking"][: len("nck_") + 12])
        seen = [(await api.call("GET", "/v1/sessions", party="parking")).status for _ in range(5)]
        assert seen == [401, 401, 401, 429, 429]


async def test_many_requests_with_an_unknown_key_take_few_connections(pool: Pool) -> None:
    counted = CountingPool(pool=pool)
    ring = KeyRing(pool=counted, clock=Hands())  # type: ignore[arg-type]

    async def once() -> None:
        with pytest.raises(ProblemError, match="not valid"):
            await ring.authenticate(UNKNOWN_KEY)

    await asyncio.gather(*(once() for _ in range(50)))
    assert counted.taken <= 4
    await once()
    assert counted.taken <= 4, "it is remembered as unknown"
    assert not ring.recognizes(UNKNOWN_KEY)


@pytest.mark.parametrize(
    "path", ["/v1/nowhere", "/docs", "/problems", "/openapi.json", "/problems/not_found"]
)
async def test_pages_and_wrong_paths_are_limited_by_address(pool: Pool, path: str) -> None:
    async with open_api(pool, addresses=AddressLimiter(FEW)) as api:
        seen = [(await api.client.get(path)).status for _ in range(5)]
        assert seen[3:] == [429, 429]
        assert 429 not in seen[:3]


async def test_a_sender_of_forged_psp_events_is_turned_away_unread(pool: Pool) -> None:
    async with open_api(pool, addresses=AddressLimiter(FEW)) as api:
        seen = [(await api.client.post("/v1/psp/webhooks", data=b"{}")).status for _ in range(5)]
        assert seen == [400, 400, 400, 429, 429]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
@pytest.mark.parametrize("path", ["/v1/quotes", "/v1/psp/webhooks", "/v1/nowhere"])
async def test_a_compressed_body_is_rejected_unread(pool: Pool, path: str, coding: str) -> None:
    async with (
        open_api(pool) as api,
        listening(build_api(api.services)) as port,
        ClientSession() as client,
    ):
        answer = await client.post(
            f"http://127.0.0.1:{port}{path}",
            data=gzip.compress(b"0" * 100_000),
            headers={"Content-Encoding": coding, "Content-Type": "application/json"},
        )
        assert answer.status == 415
        assert (await answer.json())["code"] == "unsupported_media_type"


async def test_every_answer_carries_the_security_headers(pool: Pool) -> None:
    async with open_api(pool) as api:
        for path in ("/healthz", "/docs", "/v1/nowhere", "/v1/sessions", "/metrics", "/openapi.json"):
            answer = await api.client.get(path)
            assert answer.headers["X-Content-Type-Options"] == "nosniff", path
            assert answer.headers["Referrer-Policy"] == "no-referrer", path
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path
            public = path in {"/docs", "/openapi.json"}
            assert answer.headers["Cache-Control"] == ("public, max-age=300" if public else "no-store"), path
            assert "Strict-Transport-Security" not in answer.headers, path
    async with open_api(pool, own_tls=True) as api:
        answer = await api.client.get("/healthz")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("remote", "forwarded", "expected"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.7, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.7, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.7\n198.51.100.1", "198.51.100.1"),  # a proxy that adds a line of its own
        ("10.0.0.1", "rubbish", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::ffff:203.0.113.9", "", "203.0.113.9"),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        ("", "", ""),
    ],
)
def test_the_address_that_counts(remote: str, forwarded: str, expected: str) -> None:
    class Request:
        headers = CIMultiDict(("X-Forwarded-For", line) for line in forwarded.splitlines())

    Request.remote = remote  # type: ignore[attr-defined]
    limiter = AddressLimiter(trusted_proxies=[ip_network("10.0.0.0/8")])
    assert limiter.address(Request()) == expected  # type: ignore[arg-type]


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[int]:
    runner = GatewayRunner(app, shutdown_timeout_seconds=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def raw(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 secret-in-hello\r\n\r\n",
        b"GET /x HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: nan\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
async def test_rubbish_gets_one_line_and_leaves_one_line(
    rubbish: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    async with listening(web.Application()) as port:
        with structlog.testing.capture_logs() as lines:
            answer = await raw(port, rubbish)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert body == b"The request is not valid HTTP.\n"
    assert b"nosniff" in head
    assert [line["log_level"] for line in lines] == ["info"]
    assert "Traceback" not in capsys.readouterr().err


async def test_the_server_never_unpacks_a_body() -> None:
    sizes = []

    async def receive(request: web.Request) -> web.Response:
        sizes.append(len(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", receive)
    packed = gzip.compress(b"0" * 1_000_000)
    async with listening(app) as port, ClientSession() as client:
        answer = await client.post(
            f"http://127.0.0.1:{port}/", data=io.BytesIO(packed), headers={"Content-Encoding": "gzip"}
        )
        assert answer.status == 200
    assert sizes == [len(packed)]


async def test_a_standby_is_not_ready_and_probes_ask_the_database_once_a_second() -> None:
    standby = Answering(answer=False)
    readiness = DatabaseReadiness(pool=standby)  # type: ignore[arg-type]
    assert [await readiness.state() for _ in range(20)] == [(True, False)] * 20
    assert len(standby.asked) == 1
    gone = DatabaseReadiness(pool=Answering(answer=asyncpg.AdminShutdownError("gone")))  # type: ignore[arg-type]
    assert await gone.state() == (False, False)
    primary = DatabaseReadiness(pool=Answering(answer=True))  # type: ignore[arg-type]
    assert await primary.state() == (True, True)


async def test_a_required_body_is_required_and_an_optional_one_has_its_defaults(pool: Pool) -> None:
    async with open_api(pool) as api:
        made = await api.call(
            "POST",
            "/v1/webhook-endpoints",
            {"url": "http://127.0.0.1:9/hook", "events": ["*"]},
            party="parking",
            key="w",
        )
        assert made.status == 201, made.text
        path = f"/v1/webhook-endpoints/{made.json['id']}"
        missing = await api.call("PATCH", path, b"", party="parking", key="p")
        assert (missing.status, missing.json["code"]) == (400, "invalid_parameters"), missing.text
        rotated = await api.call("POST", f"{path}/rotate-secret", b"", party="parking", key="r")
        assert rotated.status == 200, rotated.text
        strange = await api.client.post("/v1/sessions/%00%F0%9F%94%8C/stop")
        assert strange.status == 401
        for text in ("0.5", "1", "2026-01-01", "0"):
            odd = await api.call("GET", f"/v1/sessions?created_from={text}", party="parking")
            assert odd.status == 400, (text, odd.text)
        assert rotated.json["secret"]
