"""The live figures of operations: for the platform's people, while they are signed in, read once for all."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from aiohttp import ClientResponse

from gateway.console import operations_repository
from gateway.console.operations_repository import DatabaseProcess
from gateway.console.rendering import PAGE_HEADERS
from gateway.database import Connection, Pool
from gateway.people.person import SessionLimits
from tests.fakes.console import Visitor, open_console

LIVE = "/console/operations/live"
QUICK = 0.02  # seconds between two looks


async def read_event(answer: ClientResponse) -> tuple[str, str]:
    """The name and the data of the next event."""
    name, lines = "", list[str]()
    async with asyncio.timeout(20):
        async for raw in answer.content:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data:"):
                lines.append(line[5:].strip())
            elif not line and name == "alive":
                name, lines = "", []
            elif not line and name:
                break
    return name, "\n".join(lines)


async def opened(visitor: Visitor) -> ClientResponse:
    answer = await visitor.session.get(visitor.base + LIVE, allow_redirects=False)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == PAGE_HEADERS["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    return answer


async def test_the_figures_follow_what_happens_until_the_person_signs_out(pool: Pool) -> None:
    async with open_console(pool, live_seconds=QUICK) as console:
        visitor = await console.signed_in()
        stream = await opened(visitor)
        name, first = await read_event(stream)
        assert name == "live"
        assert '<svg class="chart bars"' in first
        assert "<html" not in first
        assert "<main" not in first
        console.api.clock.pass_wall(60)
        name, second = await read_event(stream)
        assert name == "live"
        assert second != first
        assert (await visitor.post("/console/sign-out")).status == 303
        while name == "live":
            name, data = await read_event(stream)
        assert (name, data) == ("over", "")


async def test_a_view_that_is_left_open_keeps_no_session_from_ending(pool: Pool) -> None:
    limits = SessionLimits(idle=timedelta(minutes=30), absolute=timedelta(hours=12))
    async with open_console(pool, limits=limits, live_seconds=QUICK) as console:
        visitor = await console.signed_in()
        await visitor.get("/console/operations")
        stream = await opened(visitor)
        name = ""
        for minutes in (10, 10, 9):  # nobody asks but the page
            console.api.clock.pass_wall(60 * minutes)
            assert (await read_event(stream))[0] == "live"
        console.api.clock.pass_wall(60)
        while name != "over":
            name, _ = await read_event(stream)
            assert name
        again = await visitor.get(LIVE)
        assert again.status == 303
        assert again.headers["Location"].startswith("/console/sign-in?next=")


async def test_the_figures_are_the_platforms_alone(pool: Pool) -> None:
    async with open_console(pool, live_seconds=QUICK) as console:
        assert (await console.visitor().get(LIVE)).status == 303
        partner = await console.signed_in(party="parking")
        assert (await partner.get(LIVE)).status == 404


async def test_a_person_opens_so_many_views_and_no_more(pool: Pool) -> None:
    async with open_console(pool, live_seconds=QUICK) as console:
        visitor = await console.signed_in()
        views = [await opened(visitor) for _ in range(10)]
        rejected = await visitor.get(LIVE)
        assert (rejected.status, rejected.headers["Retry-After"]) == (503, "10")
        views.append(await opened(await console.signed_in(name="Berta Meier")))
        for view in views:
            view.close()


async def test_many_views_are_one_reading(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = 0
    plain = operations_repository.list_processes

    async def counted(connection: Connection) -> Sequence[DatabaseProcess]:
        nonlocal readings
        readings += 1
        return await plain(connection)

    monkeypatch.setattr(operations_repository, "list_processes", counted)
    async with open_console(pool, live_seconds=600) as console:
        visitor = await console.signed_in()
        streams = [await opened(visitor) for _ in range(8)]
        assert {(await read_event(one))[0] for one in streams} == {"live"}
        for stream in streams:
            stream.close()
        assert readings == 1
