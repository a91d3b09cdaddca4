"""Live views: bounded, ended when nobody may look any more or the process stops, read once for all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from gateway.live_streams import LiveLook, LiveStreams, Look, SharedReading, end_streams_at_shutdown


@asynccontextmanager
async def served(
    streams: LiveStreams, look: Look, viewer: Callable[[web.Request], str] = lambda _request: ""
) -> AsyncIterator[tuple[TestServer, aiohttp.ClientSession]]:
    """A server of one live view."""

    async def live(request: web.Request) -> web.StreamResponse:
        return await streams.run(request, look, viewer=viewer(request))

    app = web.Application()
    app.router.add_get("/live", live)
    end_streams_at_shutdown(app)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        yield server, http


def live_of(server: TestServer) -> URL:
    return server.make_url("/live")


async def still(number: int) -> LiveLook:
    return LiveLook(html="<p>one</p>\n<p>two</p>" if number == 0 else None, moving=True)


async def test_what_changes_is_sent_and_what_does_not_only_keeps_the_connection() -> None:
    async def look(number: int) -> LiveLook:
        return LiveLook(html="a" if number < 10 else "b", moving=number < 10)

    async with (
        served(LiveStreams(0.001), look) as (server, http),
        http.get(live_of(server)) as answer,
    ):
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        text = await answer.text()
    assert text.startswith("retry: 1\n\nevent: live\ndata: a\n\nevent: alive\ndata:\n\n")
    assert text.count("data: a") == 1
    assert text.endswith("event: live\ndata: b\n\n")


async def test_who_may_no_longer_look_is_sent_the_end_and_nothing_more() -> None:
    async def look(number: int) -> LiveLook:
        return LiveLook(html=f"{number}", moving=True, over=number == 2)

    async with (
        served(LiveStreams(0.001), look) as (server, http),
        http.get(live_of(server)) as answer,
    ):
        text = await answer.text()
    assert text.endswith("data: 1\n\nevent: over\ndata:\n\n")


async def test_a_look_that_fails_before_the_stream_is_an_answer_and_later_its_end() -> None:
    async def never(_number: int) -> LiveLook:
        raise web.HTTPNotFound

    async def later(number: int) -> LiveLook:
        if number:
            raise ConnectionResetError("the database is away")
        return LiveLook(html="a", moving=True)

    async with served(LiveStreams(0.001), never) as (server, http), http.get(live_of(server)) as answer:
        assert answer.status == 404
    streams = LiveStreams(0.001)
    async with served(streams, later) as (server, http), http.get(live_of(server)) as answer:
        assert (await answer.text()).endswith("data: a\n\n")
    assert streams.count == 0


async def test_streams_are_bounded_in_all_and_for_each_viewer() -> None:
    streams = LiveStreams(60, most=3, most_of_one=2)
    async with served(streams, still, lambda request: request.query["who"]) as (server, http):
        address = live_of(server)
        open_ones = [await http.get(address.with_query(who=who)) for who in ("a", "a")]
        async with http.get(address.with_query(who="a")) as third:
            assert (third.status, third.headers["Retry-After"]) == (503, "10")
        open_ones.append(await http.get(address.with_query(who="b")))
        async with http.get(address.with_query(who="c")) as fourth:
            assert fourth.status == 503
        assert [one.status for one in open_ones] == [200, 200, 200]
        assert streams.count == 3
        for one in open_ones:
            one.close()


async def test_streams_end_when_the_process_stops() -> None:
    streams = LiveStreams(600)
    async with served(streams, still) as (server, http):
        answer = await http.get(live_of(server))
        assert await answer.content.readline() == b"retry: 600000\n"
        await asyncio.wait_for(server.close(), 20)  # it would wait a minute for an open request
        assert (await answer.content.read()).endswith(b"data: <p>one</p>\ndata: <p>two</p>\n\n")
    assert streams.count == 0


async def test_one_reading_serves_all_and_is_renewed_when_it_is_old() -> None:
    shared: SharedReading[int] = SharedReading(60)
    began, go, readings = asyncio.Event(), asyncio.Event(), 0

    async def read() -> int:
        nonlocal readings
        readings += 1
        began.set()
        await go.wait()
        return readings

    waiting = [asyncio.ensure_future(shared.get(read)) for _ in range(50)]
    await began.wait()
    waiting[0].cancel()  # who began the reading goes away: the others get it all the same
    go.set()
    assert await asyncio.gather(*waiting[1:]) == [1] * 49
    assert await shared.get(read) == 1
    shared.seconds = 0
    assert await shared.get(read) == 2


async def test_a_reading_that_failed_is_tried_again() -> None:
    shared: SharedReading[int] = SharedReading(60)

    async def fails() -> int:
        raise ConnectionResetError("the database is away")

    async def succeeds() -> int:
        return 7

    with pytest.raises(ConnectionResetError):
        await shared.get(fails)
    assert await shared.get(succeeds) == 7
