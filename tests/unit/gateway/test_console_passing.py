"""Requests for the console are passed on whole and as they come; everything else stays in its process."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from gateway.console.passing import PEER, SCHEME, pass_console, take_console

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class TwoProcesses:
    """The server that passes, and what the other did."""

    url: str
    http: aiohttp.ClientSession
    taken: list[web.Request]
    let_go: asyncio.Event


async def _echo(request: web.Request) -> web.Response:
    body = await request.read()
    answer = web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "host": request.headers["Host"],
            "cookie": request.headers.get("Cookie"),
            "remote": request.remote,
            "scheme": request.scheme,
            "bytes": len(body),
        },
        headers={"X-Of-Console": "yes"},
    )
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer


@asynccontextmanager
async def two_processes(*, listening: bool = True, seconds: float = 30.0) -> AsyncIterator[TwoProcesses]:
    """A server that passes the console on to another at a unix socket."""
    taken: list[web.Request] = []
    let_go = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        await let_go.wait()
        if request.query.get("break") and request.transport is not None:
            request.transport.abort()
            return response
        await response.write(b"second\n")
        return response

    @web.middleware
    async def boundary(request: web.Request, handler: Handler) -> web.StreamResponse:
        taken.append(request)
        try:
            answer: web.StreamResponse = await handler(request)
        except web.HTTPNotFound as missing:
            answer = missing
        return answer

    async def moved(_request: web.Request) -> web.Response:
        return web.Response(status=303, headers={"Location": "/console/sign-in"})

    console = web.Application(middlewares=[boundary])
    console.router.add_route("*", "/console/echo", _echo)
    console.router.add_get("/console/stream", stream)
    console.router.add_get("/console", moved)
    console.router.add_get("/healthz", _echo)
    console.router.add_get("/v1/sessions", _echo)
    take_console(console)

    async def own(_request: web.Request) -> web.Response:
        return web.Response(text="own")

    with tempfile.TemporaryDirectory(prefix="networkcore-test-", dir="/tmp") as name:
        path = Path(name) / "console"
        runner = web.AppRunner(console)
        await runner.setup()
        if listening:
            await web.UnixSite(runner, str(path)).start()
        api = web.Application()
        api.router.add_get("/v1/sessions", own)
        api.router.add_get("/consoles", own)
        pass_console(api, path, request_seconds=seconds, tls=False)
        async with TestServer(api) as server, aiohttp.ClientSession() as http:
            yield TwoProcesses(
                url=str(server.make_url("")).rstrip("/"), http=http, taken=taken, let_go=let_go
            )
            let_go.set()
        await runner.cleanup()


async def test_a_request_and_its_answer_are_passed_whole() -> None:
    async with two_processes() as two:
        headers = {"Cookie": "s=1", "Host": "pay.example", PEER: "203.0.113.9", SCHEME: "https"}
        async with two.http.post(
            URL(f"{two.url}/console/echo?a=%2F&b=%C3%A4", encoded=True),
            data=b"x" * 200_000,
            headers=headers,
        ) as answer:
            found = await answer.json()
            assert answer.headers["X-Of-Console"] == "yes"
            assert [one.split(";")[0] for one in answer.headers.getall("Set-Cookie")] == ["a=1", "b=2"]
    assert found == {
        "method": "POST",
        "path": "/console/echo?a=%2F&b=%C3%A4",
        "host": "pay.example",
        "cookie": "s=1",
        "remote": "127.0.0.1",  # of the connection, whatever the request says
        "scheme": "http",
        "bytes": 200_000,
    }


async def test_redirects_are_the_browsers() -> None:
    async with two_processes() as two, two.http.get(f"{two.url}/console", allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/console/sign-in"


async def test_other_paths_are_not_passed() -> None:
    async with two_processes() as two:
        for path in ("/v1/sessions", "/consoles"):
            async with two.http.get(two.url + path) as answer:
                assert await answer.text() == "own"
        assert two.taken == []


async def test_an_answer_is_passed_as_it_comes() -> None:
    async with two_processes() as two, two.http.get(f"{two.url}/console/stream") as answer:
        assert await answer.content.readline() == b"first\n"  # the second is written after this was read
        two.let_go.set()
        assert await answer.content.read() == b"second\n"


async def test_an_answer_that_breaks_off_is_seen_to_break_off() -> None:
    async with two_processes() as two, two.http.get(f"{two.url}/console/stream?break=1") as answer:
        assert await answer.content.readline() == b"first\n"
        two.let_go.set()
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()


async def test_nobody_at_the_socket_is_a_page_that_says_when_to_try_again() -> None:
    async with two_processes(listening=False) as two:
        for method, again in (("GET", "/console/echo?page=2"), ("POST", "/console")):
            async with two.http.request(
                method, f"{two.url}/console/echo?page=2", headers={"Accept-Language": "de"}
            ) as answer:
                text = await answer.text()
                assert answer.status == 503
                assert answer.headers["Retry-After"] == "2"
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "Einen Moment, bitte" in text
                assert f'href="{again}"' in text
        async with two.http.get(f"{two.url}/v1/sessions") as answer:
            assert await answer.text() == "own"


async def test_a_port_of_the_console_answers_its_paths_alone_and_believes_no_header() -> None:
    console = web.Application()
    console.router.add_get("/console/echo", _echo)
    console.router.add_get("/healthz", _echo)
    console.router.add_get("/v1/sessions", _echo)
    take_console(console)
    async with TestServer(console) as server, aiohttp.ClientSession() as http:
        headers = {PEER: "203.0.113.9", SCHEME: "https"}
        async with http.get(server.make_url("/console/echo"), headers=headers) as answer:
            found = await answer.json()
            assert (found["remote"], found["scheme"]) == ("127.0.0.1", "http")
        async with http.get(server.make_url("/healthz")) as answer:
            assert answer.status == 200
        async with http.get(server.make_url("/v1/sessions")) as answer:
            assert answer.status == 404
