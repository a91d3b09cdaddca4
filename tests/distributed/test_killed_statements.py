"""A statement that writes in parts, on two nodes, is killed between them: all of it remains or nothing."""

import asyncio
import random

import asyncpg
import pytest
from structlog.testing import capture_logs

from gateway.database import Pool, create_pool
from tests.fakes.api import Api, open_api
from tests.fakes.citus import Node, nodes

ROUNDS = 6
AT_ONCE = 4
_HALF = """
SELECT 'session without authorization' AS what, count(*) FROM gateway.session AS s
WHERE NOT EXISTS (
    SELECT 1 FROM gateway.payment_authorization AS a WHERE a.shard = s.shard AND a.session_id = s.id)
UNION ALL
SELECT 'authorization without session', count(*) FROM gateway.payment_authorization AS a
WHERE NOT EXISTS (SELECT 1 FROM gateway.session AS s WHERE s.shard = a.shard AND s.id = a.session_id)
UNION ALL
SELECT 'authorization without request', count(*) FROM gateway.payment_authorization AS a
WHERE NOT EXISTS (
    SELECT 1 FROM gateway.psp_request AS r WHERE r.shard = a.shard AND r.authorization_id = a.id)"""


async def _kill(node: Node, database: str) -> None:
    """End every client's process of a database at a node, as a crash of it would, but at once."""
    connection = await asyncpg.connect(node.dsn("postgres"))
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = $1 AND backend_type = 'client backend'",
            database,
        )
    finally:
        await connection.close()


async def _try(api: Api, name: str) -> bool:
    try:
        return (await api.authorize(key=f"k{name}", session_ref=f"R{name}")).status == 201
    except Exception:  # noqa: BLE001 - what a killed process answers is not the point
        return False


async def _settled(pool: Pool) -> None:
    """Wait until no process of a kill is left and Citus has ended what was prepared."""
    for _ in range(100):
        try:
            async with pool.acquire() as connection:
                await connection.execute("SELECT recover_prepared_transactions()")
                return
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await asyncio.sleep(0.1)


async def _rounds(pool: Pool, database: str) -> tuple[int, int]:
    """Open sessions while the processes of one node after another are killed; how many opened and failed."""
    found, chance = await nodes(), random.Random(4)
    opened = failed = 0
    async with open_api(pool) as api:
        assert await _try(api, "first")
        for number in range(ROUNDS):
            tasks = [asyncio.create_task(_try(api, f"{number}-{one}")) for one in range(AT_ONCE)]
            await asyncio.sleep(chance.uniform(0.0, 0.15))
            await _kill(found[number % len(found)], database)
            done = await asyncio.gather(*tasks)
            opened += sum(done)
            failed += AT_ONCE - sum(done)
    return opened, failed


@pytest.mark.timeout(300)
async def test_a_statement_that_is_killed_between_its_parts_leaves_nothing(database_url: str) -> None:
    database = database_url.rpartition("/")[2].partition("?")[0]
    pool = await create_pool(database_url, min_size=1, max_size=AT_ONCE, application="test")
    try:
        with capture_logs():  # to print the frames of each failure takes minutes
            opened, failed = await _rounds(pool, database)
        await _settled(pool)
        async with pool.acquire() as connection:
            left = {row[0]: row[1] for row in await connection.fetch(_HALF)}
            authorized = await connection.fetchval(
                "SELECT count(*) FROM gateway.payment_authorization WHERE state = 'authorized'"
            )
            published = await connection.fetchval(
                "SELECT count(*) FROM gateway.event WHERE type = 'authorization.authorized'"
            )
            lookups = await connection.fetch(
                "SELECT shard, session_id FROM gateway.session_lookup WHERE kind = 'session_ref'"
            )
            sessions = {row["id"] for row in await connection.fetch("SELECT id FROM gateway.session")}
    finally:
        pool.terminate()
    assert failed, "nothing was killed in time: the test shows nothing"
    assert left == dict.fromkeys(left, 0), (opened, failed)
    assert authorized == published
    assert {row["session_id"] for row in lookups} <= sessions
    assert len(sessions) >= opened
