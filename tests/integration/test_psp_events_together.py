"""The PSP's webhooks that come at the same moment: few statements, each event once, one's fault its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import asyncpg
import pytest

from gateway.database import Pool
from gateway.payments.psp.port import PspEvent
from gateway.payments.psp_events import PspEventHandler
from tests.fakes.api import Answer, Api, open_api

WEBHOOKS = 40


@dataclass
class CountingPool:
    """A pool that knows which events each of its statements has kept, in order."""

    pool: Pool
    kept: list[list[str]] = field(default_factory=list)

    @asynccontextmanager
    async def acquire(self, **options: Any) -> AsyncIterator[Any]:
        async with self.pool.acquire(**options) as connection:
            yield _CountingConnection(self, connection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)

    def note(self, sql: str, calls: Sequence[Sequence[Any]]) -> None:
        if "INTO gateway.psp_event" in sql:
            self.kept.append([next(one for one in call if str(one).startswith("evt_")) for call in calls])


class _CountingConnection:
    def __init__(self, counting: CountingPool, connection: Any) -> None:
        self._counting, self._connection = counting, connection

    async def fetchrow(self, sql: str, *arguments: Any) -> Any:
        self._counting.note(sql, [arguments])
        return await self._connection.fetchrow(sql, *arguments)

    async def fetchmany(self, sql: str, arguments: Sequence[Any]) -> Any:
        self._counting.note(sql, arguments)
        return await self._connection.fetchmany(sql, arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture
async def counting(pool: Pool) -> CountingPool:
    return CountingPool(pool=pool)


@pytest.fixture
async def api(counting: CountingPool) -> AsyncIterator[Api]:
    async with open_api(cast("Pool", counting)) as opened:
        yield opened


def handler_of(api: Api) -> PspEventHandler:
    handler: PspEventHandler = api.services.payments.psp_events  # type: ignore[attr-defined]
    return handler


async def webhook(api: Api, event_id: str) -> Answer:
    headers = {api.psp.signature_header: "good"}
    return await api.call("POST", "/v1/psp/webhooks", event_id.encode(), party=None, headers=headers)


def event(event_id: str, **said: Any) -> PspEvent:
    return PspEvent(**{"id": event_id, "psp_type": "odd", "psp_payment": None, "session_id": None, **said})


async def stored(api: Api) -> list[str]:
    async with api.services.pool.acquire() as connection:
        rows = await connection.fetch("SELECT id FROM gateway.psp_event ORDER BY id")
    return [row["id"] for row in rows]


async def test_webhooks_in_flight_share_their_statements_and_one_alone_does_not_wait(
    api: Api, counting: CountingPool
) -> None:
    assert (await webhook(api, "evt_0")).status == 200
    assert counting.kept == [["evt_0"]]
    names = [f"evt_{number:02}" for number in range(10, 10 + WEBHOOKS)]
    answers = await asyncio.gather(*(webhook(api, name) for name in names))
    assert {answer.status for answer in answers} == {200}
    assert await stored(api) == ["evt_0", *names]
    assert len(counting.kept) - 1 <= WEBHOOKS / 4, counting.kept
    again = await asyncio.gather(*(webhook(api, name) for name in names))
    assert [answer.content for answer in again] == [answer.content for answer in answers]
    assert await stored(api) == ["evt_0", *names]


async def test_an_event_that_comes_twice_at_once_is_kept_once(api: Api) -> None:
    handler = handler_of(api)
    kept = await asyncio.gather(
        *(handler.keep_event(event(f"evt_{number % 3}"), b"{}", with_others=True) for number in range(12))
    )
    assert sum(kept) == 3
    assert await stored(api) == ["evt_0", "evt_1", "evt_2"]


async def test_an_event_that_the_database_rejects_is_its_own_callers_fault_alone(api: Api) -> None:
    handler = handler_of(api)
    events = [event(f"evt_{number}") for number in range(8)]
    events[5] = event("evt_\x00")
    kept = await asyncio.gather(
        *(handler.keep_event(one, b"{}", with_others=True) for one in events), return_exceptions=True
    )
    assert isinstance(kept.pop(5), asyncpg.DataError)
    assert set(kept) == {True}
    assert await stored(api) == [f"evt_{number}" for number in (0, 1, 2, 3, 4, 6, 7)]


async def test_a_refund_among_them_is_last_so_that_the_commit_is_flushed(
    api: Api, counting: CountingPool
) -> None:
    handler = handler_of(api)
    events = [event("evt_first"), event("evt_refund", refund="re_1", psp_payment="pi_1")]
    events += [event(f"evt_{number}") for number in range(6)]
    await asyncio.gather(*(handler.keep_event(one, b"{}", with_others=True) for one in events))
    together = next(names for names in counting.kept if "evt_refund" in names)
    assert len(together) > 1, counting.kept
    assert together[-1] == "evt_refund"
    async with api.services.pool.acquire() as connection:
        tasks = await connection.fetch("SELECT payload FROM gateway.task WHERE kind = 'handle_psp_event'")
    assert [row["payload"]["event"] for row in tasks] == ["evt_refund"]


async def test_the_last_of_several_events_decides_whether_their_commit_waits_for_the_disk(pool: Pool) -> None:
    """What the order of the events rests on: the setting of the last one holds when the commit comes."""
    statement = "SELECT set_config('synchronous_commit', $1, true), current_setting('synchronous_commit')"
    async with pool.acquire() as connection:
        rows = await connection.fetchmany(statement, [("off",), ("on",)])
        after = await connection.fetchmany(
            "SELECT current_setting('synchronous_commit'), $1::int", [(1,), (2,)]
        )
    assert [row["set_config"] for row in rows] == ["off", "on"]
    assert after[0][0] == after[1][0]  # nothing of it is left for the next transaction
