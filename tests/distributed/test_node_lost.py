"""Nodes die and shards move while sessions are in flight: one capture for each session, and a clean audit."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from gateway.audit.system_audit import audit_system
from gateway.clock import SystemClock
from gateway.database import Pool
from tests.fakes.api import open_api
from tests.fakes.citus import Node, RunningCluster, distributed_database, needs_citus, nodes
from tests.fakes.market_day import proved_day
from tests.integration.test_statements_per_session import USAGE

pytestmark = [needs_citus, pytest.mark.slow]
_SECONDS_BETWEEN_DEATHS = 4.0
_DEATHS = 9  # then the day goes on undisturbed, on a slow machine too


async def end_processes(node: Node, database: str) -> int:
    """End every client's process of a database at a node, as a crash of it would; how many."""
    connection = await asyncpg.connect(node.dsn("postgres"))
    try:
        ended: int = await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = $1 AND backend_type = 'client backend'",
            database,
        )
    finally:
        await connection.close()
    return ended


@asynccontextmanager
async def nodes_that_die(database: str, ended: Counter[int]) -> AsyncIterator[None]:
    """End the processes of one node after another, the coordinator among them; `ended` counts at each."""
    found = await nodes()

    async def go_on() -> None:
        for number in range(_DEATHS):
            await asyncio.sleep(_SECONDS_BETWEEN_DEATHS)
            place = number % len(found)
            ended[place] += await end_processes(found[place], database)

    dying = asyncio.create_task(go_on())
    try:
        yield
    finally:
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)


@pytest.mark.timeout(900)
async def test_a_market_day_whose_nodes_die_ends_with_its_proof(open_tmp_path: Path) -> None:
    async with distributed_database() as dsn:
        ended = Counter[int]()
        dying = nodes_that_die(dsn.rpartition("/")[2], ended)
        await proved_day(open_tmp_path / "day", RunningCluster(dsn), beside=dying)
        assert set(ended) == set(range(len(await nodes()))), "a node did not die: the test shows nothing"


async def _move_all(dsn: str) -> int:
    """Move each group of shards of the first node that keeps rows to the second; how many."""
    first, second = [node for node in await nodes() if node.keeps_shards][:2]
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT shardid FROM citus_shards "
            "WHERE table_name = 'gateway.session'::regclass AND nodeport = $1",
            first.port,
        )
        for row in rows:
            await connection.execute(
                "SELECT citus_move_shard_placement($1, $2, $3, $4, $5, 'force_logical')",
                row["shardid"],
                first.host,
                first.port,
                second.host,
                second.port,
            )
    finally:
        await connection.close()
    return len(rows)


@pytest.mark.timeout(300)
async def test_sessions_go_on_while_their_shards_move(pool: Pool, database_url: str) -> None:
    captured: list[str] = []
    async with open_api(pool) as api:

        async def charge(number: int) -> None:
            shown = await api.authorize(key=f"a{number}", session_ref=f"R{number}")
            assert shown.status == 201, shown.content
            path = f"/v1/sessions/{shown.json['session']}/complete"
            done = await api.call("POST", path, {"usage": USAGE}, key=f"c{number}")
            assert done.status == 200, done.content
            captured.append(done.json["capture"]["state"])

        async def charge_on(first: int) -> None:
            number = first
            while not moving.done():
                await charge(number)
                number += 4

        moving = asyncio.create_task(_move_all(database_url))
        await asyncio.gather(*(charge_on(first) for first in range(4)))
        assert await moving > 0
    assert set(captured) == {"succeeded"}
    async with pool.acquire() as connection:
        kept = await connection.fetchval("SELECT count(*) FROM gateway.capture WHERE state = 'succeeded'")
    assert kept == len(captured)
    found = await audit_system(pool, clock=SystemClock(), psp=None)
    assert list(found.all_findings) == []
