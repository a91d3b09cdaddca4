"""A process that dies with a shared statement in flight: each of its calls has one effect, whoever goes on.

Several calls of both kinds are in flight; the statement that a part of them shares is lost, before the server
has it or after it has committed. Then the same requests come again under the same keys, and what nobody asks
for again is resolved.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

import asyncpg
import pytest

from gateway.api.idempotency import LOCK
from gateway.audit.system_audit import audit_system
from gateway.database import Pool, named_queries, named_statement
from tests.fakes.api import Answer, Api, open_api
from tests.fakes.workers import resolve_outcomes

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
SESSIONS = 8
USAGE = {"started_at": "2026-10-29T08:05:00Z", "ended_at": "2026-10-29T08:50:00Z", "energy_wh": 18_500}
STATEMENTS = {
    "open_authorization": "payments.sql",
    "record_hold": "psp_requests.sql",
    "complete_session": "payments.sql",
    "record_end": "psp_requests.sql",
}
AUTHORIZING = ("open_authorization", "record_hold")


class Lost(StrEnum):
    BEFORE = "the server has not received it"
    AFTER = "the server has committed it"


@dataclass
class LosingPool:
    """A pool that loses the connection with one statement that calls share, as if its process had died."""

    pool: Pool
    sql: str = ""
    lost: Lost = Lost.BEFORE
    shared: list[int] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def acquire(self, **options: Any) -> AsyncIterator[Any]:
        async with self.pool.acquire(**options) as connection:
            yield _LosingConnection(self, connection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)


class _LosingConnection:
    def __init__(self, losing: LosingPool, connection: Any) -> None:
        self._losing, self._connection = losing, connection

    async def fetchrow(self, sql: str, *arguments: Any) -> Any:
        if sql == self._losing.sql:  # the first of all is under way until the others have gathered
            await self._losing.gate.wait()
        return await self._connection.fetchrow(sql, *arguments)

    async def fetchmany(self, sql: str, arguments: Sequence[Any]) -> Any:
        losing = self._losing
        if sql != losing.sql:
            return await self._connection.fetchmany(sql, arguments)
        losing.shared.append(len(arguments))
        if losing.lost is Lost.AFTER:
            await self._connection.fetchmany(sql, arguments)
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def authorize(api: Api, number: int) -> Answer:
    return await api.authorize(key=f"a{number}", session_ref=f"R{number}")


async def complete(api: Api, number: int, session: str) -> Answer:
    return await api.call(
        "POST", f"/v1/sessions/{session}/complete", {"usage": USAGE}, party="admin", key=f"c{number}"
    )


async def together(losing: LosingPool, calls: Sequence[Any]) -> list[Answer]:
    """The answers of calls that are all in flight before the first of their statements is written."""
    losing.gate.clear()
    tasks = [asyncio.create_task(call) for call in calls]
    async with asyncio.timeout(20):
        while not losing.shared:
            await asyncio.sleep(0.002)
    losing.gate.set()
    return await asyncio.gather(*tasks)


@pytest.mark.parametrize("lost", list(Lost))
@pytest.mark.parametrize("name", list(STATEMENTS))
async def test_each_call_of_a_lost_statement_has_one_effect(pool: Pool, name: str, lost: Lost) -> None:
    losing = LosingPool(pool=pool)
    async with open_api(cast("Pool", losing), request_timeout_seconds=20.0) as api:
        sql = named_statement(named_queries("gateway", STATEMENTS[name]), name).sql
        if name in AUTHORIZING:
            losing.sql, losing.lost = sql, lost
            first = await together(losing, [authorize(api, number) for number in range(SESSIONS)])
        else:
            made = [(await authorize(api, number)).json["session"] for number in range(SESSIONS)]
            losing.sql, losing.lost = sql, lost
            first = await together(losing, [complete(api, n, one) for n, one in enumerate(made)])
        assert max(losing.shared) > 1, "no statement was shared"
        failed = sum(answer.status >= 500 for answer in first)
        assert failed == sum(losing.shared)

        losing.sql = ""
        api.clock.pass_wall(LOCK.total_seconds() + 1)
        answers = await asyncio.gather(*(authorize(api, number) for number in range(SESSIONS)))
        assert {answer.status for answer in answers} == {201}
        sessions = [answer.json["session"] for answer in answers]
        assert len(set(sessions)) == SESSIONS
        for number, session in enumerate(sessions):
            again = await complete(api, number, session)
            assert again.status == 200, again.content
        api.clock.pass_wall(120)
        await resolve_outcomes(api.services.payments.resolver)

        assert Counter(one.status for one in api.psp.payments.values()) == {"captured": SESSIONS}
        async with pool.acquire() as connection:
            captures = await connection.fetch("SELECT state, amount_minor FROM gateway.capture")
            states = await connection.fetch("SELECT DISTINCT state FROM gateway.payment_authorization")
            opened = await connection.fetchval("SELECT count(*) FROM gateway.psp_request WHERE kind = 'hold'")
        assert [tuple(row) for row in captures] == [("succeeded", 1101)] * SESSIONS
        assert [row["state"] for row in states] == ["captured"]
        assert opened == SESSIONS
        audited = await audit_system(pool, clock=api.clock, psp=None)
        assert audited.findings == []
        for number, session in enumerate(sessions):
            again, once_more = await complete(api, number, session), await complete(api, number, session)
            assert (again.status, again.content) == (once_more.status, once_more.content)
            assert once_more.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("lost", list(Lost))
async def test_the_events_of_a_lost_statement_are_kept_once_when_the_psp_repeats_them(
    pool: Pool, lost: Lost
) -> None:
    losing = LosingPool(pool=pool)
    names = [f"evt_{number}" for number in range(SESSIONS)]
    async with open_api(cast("Pool", losing), request_timeout_seconds=20.0) as api:

        async def webhook(name: str) -> Answer:
            headers = {api.psp.signature_header: "good"}
            return await api.call("POST", "/v1/psp/webhooks", name.encode(), party=None, headers=headers)

        losing.sql = named_statement(named_queries("gateway", "payments.sql"), "keep_psp_event").sql
        losing.lost = lost
        first = await together(losing, [webhook(name) for name in names])
        assert max(losing.shared) > 1, "no statement was shared"
        assert sum(answer.status >= 500 for answer in first) == sum(losing.shared)
        losing.sql = ""
        again = await asyncio.gather(*(webhook(name) for name in names))
        assert {answer.status for answer in again} == {200}
        async with pool.acquire() as connection:
            kept = await connection.fetch("SELECT id FROM gateway.psp_event ORDER BY id")
        assert [row["id"] for row in kept] == names
