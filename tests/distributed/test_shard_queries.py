"""What the two calls of a session cost a distributed database: the queries to shards are counted.

The coordinator reports each query that it sends to a node, so that what one statement becomes is seen.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from gateway.database import Pool, connect, create_pool
from gateway.distribution.named_statements import named_statements
from gateway.distribution.repository import copy_endpoints
from gateway.distribution.service import distribute
from gateway.distribution.several_shards import NOT_DISTRIBUTED
from gateway.distribution.statement_check import PlannedOn, check_calls, check_statements
from gateway.ids import new_id, shard_of
from gateway.named_shards import with_shards_named
from gateway.payments.psp_event_repository import PspEventRepository
from tests.fakes.api import Api, open_api
from tests.integration.test_statements_per_session import AUTHORIZE, COMPLETE, USAGE

pytestmark = pytest.mark.filterwarnings("ignore:.*active log listener")
# Each of the five statements is one query to the session's shard; two write a name, which lies by itself.
MOST_SHARD_QUERIES = 7
_TRANSACTION = re.compile(r"BEGIN|COMMIT|ROLLBACK|PREPARE TRANSACTION|SAVEPOINT|RELEASE|SET |SELECT assign_")
_SHARD_OF_TABLE = re.compile(r"\b(?:gateway|clearing|pnc)\.([a-z_]+)_(\d{6})\b")


@dataclass
class Counted:
    """The API, its statements, and the queries that the coordinator sent to nodes for them."""

    api: Api
    pool: Pool
    statements: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def clear(self) -> None:
        self.statements.clear()
        self.sent.clear()

    @property
    def shards(self) -> set[str]:
        """The shards of tables that lie by the shard of the session, by their number in the first table."""
        found = {(table, number) for query in self.sent for table, number in _SHARD_OF_TABLE.findall(query)}
        return {number for table, number in found if table in {"shard_lease", "session"}}


@pytest.fixture
async def counted(database_url: str) -> AsyncIterator[Counted]:
    statements: list[str] = []
    sent: list[str] = []

    def note(_connection: Any, message: Any) -> None:
        text = message.message.removeprefix("issuing ")
        if text != message.message and not _TRANSACTION.match(text):
            sent.append(text)

    async def listen(connection: Any) -> None:  # a listener ends with each use of the connection
        connection.add_log_listener(note)

    pool = await create_pool(database_url, min_size=1, max_size=1, setup=listen)
    async with pool.acquire() as connection:
        await connection.execute("SET citus.log_remote_commands = on; SET client_min_messages = notice")
        connection.add_query_logger(lambda query: statements.append(query.query))
    async with open_api(pool) as api:
        yield Counted(api=api, pool=pool, statements=statements, sent=sent)
    await pool.close()


async def test_the_two_calls_ask_one_shard_with_each_statement(counted: Counted) -> None:
    for number in (0, 1):  # the first teaches the connection the types of the columns
        counted.clear()
        shown = await counted.api.authorize(key=f"a{number}", session_ref=f"R{number}")
        assert shown.status == 201, shown.content
    assert len(counted.statements) <= AUTHORIZE
    assert len(counted.shards) == 1
    sent = list(counted.sent)
    counted.clear()
    path = f"/v1/sessions/{shown.json['session']}/complete"
    done = await counted.api.call("POST", path, {"usage": USAGE}, key="c1")
    assert done.json["capture"]["state"] == "succeeded"
    assert len(counted.statements) <= COMPLETE
    assert len(counted.shards) == 2  # of the leases and of the sessions: the read asks for it by its table
    sent += counted.sent
    on_shards = [query for query in sent if _SHARD_OF_TABLE.search(query)]
    assert len(on_shards) <= MOST_SHARD_QUERIES, on_shards
    assert sent == on_shards  # no copies between parts of a statement


async def test_an_event_of_the_psp_is_kept_by_one_query_to_its_shard(counted: Counted, pool: Pool) -> None:
    shown = await counted.api.authorize(key="a1", session_ref="R1")
    assert shown.status == 201, shown.content
    async with pool.acquire() as connection:
        session = await connection.fetchval("SELECT id FROM gateway.session")
    kept = PspEventRepository.over(counted.pool)
    for number in range(2):
        counted.clear()
        assert await kept.keep(with_others=True, **_event(session, id=f"evt_{number}"))
    assert [query for query in counted.sent if not _SHARD_OF_TABLE.search(query)] == []
    assert len(counted.sent) == 1, counted.sent
    assert not await kept.keep(with_others=False, **_event(session, id="evt_1"))
    async with pool.acquire() as connection:
        tasks = await connection.fetch("SELECT shard FROM gateway.task WHERE kind = 'handle_psp_event'")
    assert [row["shard"] for row in tasks] == [shard_of(session)] * 2


def _event(session: UUID, *, id: str) -> dict[str, Any]:  # noqa: A002 - the column's name
    shard = shard_of(session)
    return {
        **dict.fromkeys(("psp_setup", "detached_method", "attached_method", "updated_method", "psp_topup")),
        **dict.fromkeys(("revoked_mandate", "connected_account")),
        "event_shard": shard,
        "shard": shard,
        "session_id": session,
        "id": id,
        "task_id": new_id(shard=shard),
        "type": "charge.refunded",
        "body": b"{}",
        "received_at": datetime(2026, 10, 29, 8, 30, tzinfo=UTC),
        "psp_payment": "pi_2",
        "always": True,
        "ended": False,
        "captured": False,
    }


async def test_rows_of_several_shards_are_asked_of_their_shards_alone(database_url: str) -> None:
    marked = {
        one.place
        for one in named_statements(shard=5)
        if with_shards_named(one.sql) != one.sql and one.place not in NOT_DISTRIBUTED
    }
    assert "gateway/tasks: finish_tasks" in marked
    checked = {one.place: one for one in await check_statements(database_url) if one.place in marked}
    assert set(checked) == marked
    assert {place for place, one in checked.items() if one.planned_on is not PlannedOn.ONE_SHARD} == set()


async def test_the_check_counts_what_the_two_calls_send(database_url: str) -> None:
    checked = await check_calls(database_url)
    assert [one for one in checked if one.is_at_fault] == []
    assert (len(checked), sum(one.shard_queries for one in checked)) == (
        AUTHORIZE + COMPLETE,
        MOST_SHARD_QUERIES,
    )


async def test_without_its_functions_a_call_runs_whole_and_the_check_fails(
    pool: Pool, database_url: str
) -> None:
    async with pool.acquire() as connection:
        dropped = await connection.fetchval(
            "SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc "
            "WHERE pronamespace = 'node'::regnamespace AND proname LIKE 'complete_session%'"
        )
        await connection.execute(f"DROP FUNCTION {dropped}")
    async with open_api(pool) as api:
        shown = await api.authorize(key="a", session_ref="R")
        path = f"/v1/sessions/{shown.json['session']}/complete"
        done = await api.call("POST", path, {"usage": USAGE}, key="c")
    assert done.json["capture"]["state"] == "succeeded"
    at_fault = [one for one in await check_calls(database_url) if one.is_at_fault]
    assert [one.place for one in at_fault] == ["the two calls: complete_session"]
    assert "run networkcore distribute" in at_fault[0].error
    lines: list[str] = []
    await distribute(database_url, report=lines.append)
    assert [line for line in lines if line.startswith("put")] == [
        "put complete_session on the nodes: 9 functions"
    ]
    assert [one for one in await check_calls(database_url) if one.is_at_fault] == []


async def test_an_endpoint_is_copied_to_each_node_as_it_changes(counted: Counted, database_url: str) -> None:
    body = {"url": "https://198.51.100.7/hooks", "events": ["authorization.authorized"]}
    made = await counted.api.call("POST", "/v1/webhook-endpoints", body, key="w1")
    assert made.status == 201, made.content
    assert (await counted.api.authorize(key="a1", session_ref="R1")).status == 201
    path = f"/v1/webhook-endpoints/{made.json['id']}"
    assert (await counted.api.call("DELETE", path)).status == 204
    assert (await counted.api.authorize(key="a2", session_ref="R2")).status == 201
    async with connect(database_url) as connection:
        copies = await connection.fetch("SELECT state FROM node.webhook_endpoint")
        written = await connection.fetch(
            "SELECT e.fanned_out, d.event_id IS NOT NULL AS handed_out FROM gateway.event AS e "
            "LEFT JOIN gateway.delivery AS d ON d.shard = e.shard AND d.event_id = e.id "
            "WHERE e.type = 'authorization.authorized' ORDER BY e.id"
        )
    assert [row["state"] for row in copies] == ["deleted"]
    assert [tuple(row) for row in written] == [(True, True), (True, False)]


@pytest.mark.parametrize("function", ["open_authorization_________", "open_authorization__________of_shard"])
async def test_the_check_misses_each_function(database_url: str, function: str) -> None:
    async with connect(database_url) as connection:
        name = await connection.fetchval(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'node'::regnamespace "
            "AND proname LIKE $1 ORDER BY proname LIMIT 1",
            function,
        )
        await connection.execute(f"DROP FUNCTION {name}")
    (at_fault,) = [one for one in await check_calls(database_url) if one.is_at_fault]
    assert (at_fault.place, at_fault.error[:26]) == (
        "the two calls: open_authorization",
        "1 of its functions are not",
    )


async def test_an_endpoint_that_is_changed_while_all_are_copied_is_copied_as_it_is_then(
    counted: Counted, database_url: str
) -> None:
    body = {"url": "https://198.51.100.7/hooks", "events": ["authorization.authorized"]}
    assert (await counted.api.call("POST", "/v1/webhook-endpoints", body, key="w1")).status == 201
    async with connect(database_url) as first, connect(database_url) as second:
        await first.execute("DELETE FROM node.webhook_endpoint")  # as before its first copy
        change = first.transaction()
        await change.start()
        await first.execute("UPDATE gateway.webhook_endpoint SET event_types = '{session.completed}'")
        copying = asyncio.create_task(copy_endpoints(second))
        await asyncio.sleep(0.5)
        assert not copying.done()
        await change.commit()
        assert await copying == 0
        assert await second.fetchval("SELECT event_types FROM node.webhook_endpoint") == ["session.completed"]
