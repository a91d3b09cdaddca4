"""The database read-only, full, used up or failing over: 503 with Retry-After, never 500, nothing lost."""

import asyncio
from typing import Any

import asyncpg
import pytest

from gateway.api.error_mapping import problem_for
from gateway.database import NamedStatement, Pool, create_pool
from gateway.shared_statements import SharedStatements
from tests.fakes.api import authorization_body, open_api

TRANSIENT_STATES = {
    "08006": "connection_failure",
    "25006": "read_only_sql_transaction",
    "26000": "invalid_sql_statement_name",
    "40001": "serialization_failure",
    "40P01": "deadlock_detected",
    "53100": "disk_full",
    "53200": "out_of_memory",
    "53300": "too_many_connections",
    "55P03": "lock_not_available",
    "57014": "query_canceled",
    "57P01": "admin_shutdown",
    "57P02": "crash_shutdown",
    "57P03": "cannot_connect_now",
    "57P05": "idle_session_timeout",
}
DEFECT_STATES = {"23514": "check_violation", "42P01": "undefined_table", "XX001": "data_corrupted"}


def as_raised(state: str) -> asyncpg.PostgresError:
    """The error that asyncpg raises for a server's error of this SQLSTATE."""
    error = asyncpg.PostgresError.new({"C": state, "M": "the server says so", "S": "ERROR"})
    assert error.sqlstate == state
    return error


@pytest.mark.parametrize("state", TRANSIENT_STATES, ids=TRANSIENT_STATES.values())
def test_what_passes_by_itself_is_503_with_retry_after(state: str) -> None:
    problem = problem_for(as_raised(state))
    assert problem is not None
    assert problem.kind.status == 503
    assert int(problem.headers["Retry-After"]) >= 1
    assert problem.kind.transient


@pytest.mark.parametrize("state", DEFECT_STATES, ids=DEFECT_STATES.values())
def test_what_does_not_pass_by_itself_is_a_defect_of_ours(state: str) -> None:
    assert problem_for(as_raised(state)) is None


async def set_read_only(pool: Pool, *, on: bool) -> None:
    """Have this test's database refuse writes on every connection opened from now on."""
    async with pool.acquire() as connection:
        name = await connection.fetchval("SELECT current_database()")
        value = "on" if on else "off"
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")
    await pool.expire_connections()


async def test_a_read_only_database_gives_503_to_writes_and_the_same_key_works_afterwards(pool: Pool) -> None:
    async with open_api(pool) as api:
        await set_read_only(pool, on=True)
        refused = await api.call(
            "POST", "/v1/authorizations", authorization_body(), party="parking", key="k1"
        )
        assert (refused.status, refused.json["code"]) == (503, "unavailable"), refused.text
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await api.call("GET", "/v1/sessions", party="parking")).status == 200
        ready = await api.client.get("/readyz")
        assert ready.status == 503
        shown = await ready.json()
        assert (shown["database"], shown["database_writable"]) == (True, False)
        await set_read_only(pool, on=False)
        done = await api.call("POST", "/v1/authorizations", authorization_body(), party="parking", key="k1")
        assert done.status == 201, done.text
        listed = await api.call("GET", "/v1/sessions", party="parking")
        assert [one["id"] for one in listed.json["data"]] == [done.json["session"]]


async def test_used_up_connections_give_503_and_nothing_is_lost(pool: Pool, database_url: str) -> None:
    small = await create_pool(
        database_url, min_size=1, max_size=1, application="test", acquire_timeout_seconds=0.3
    )
    try:
        async with open_api(small) as api:
            await api.call("GET", "/v1/sessions", party="parking")  # its key is known now
            held: Any = await small.acquire()
            refused = await api.call(
                "POST", "/v1/authorizations", authorization_body(), party="parking", key="k1"
            )
            assert (refused.status, refused.json["code"]) == (503, "unavailable"), refused.text
            await small.release(held)
            done = await api.call(
                "POST", "/v1/authorizations", authorization_body(), party="parking", key="k1"
            )
            assert done.status == 201, done.text
    finally:
        await asyncio.wait_for(small.close(), timeout=10)


async def test_a_statement_whose_table_has_a_new_column_passes_at_the_next_attempt(pool: Pool) -> None:
    statement = NamedStatement(
        name="look", sql="SELECT t.*, $1::integer AS asked FROM gateway.grown AS t", parameters=("n",)
    )
    async with pool.acquire() as connection:
        await connection.execute(
            "CREATE TABLE gateway.grown (id integer); INSERT INTO gateway.grown VALUES (1)"
        )
        await connection.fetchrow(statement.sql, 0)
        await connection.execute("ALTER TABLE gateway.grown ADD COLUMN more integer")
        with pytest.raises(asyncpg.InvalidCachedStatementError) as found:
            async with connection.transaction():
                await connection.fetchrow(statement.sql, 0)
        problem = problem_for(found.value)
        assert problem is not None
        assert problem.kind.status == 503
        shared = SharedStatements(pool=pool, statement=statement)
    await asyncio.gather(*(shared.run(order=n, group=0, n=n) for n in range(4)))
    async with pool.acquire() as connection:
        await connection.execute("ALTER TABLE gateway.grown ADD COLUMN again integer")
    rows = await asyncio.gather(*(shared.run(order=n, group=0, n=n) for n in range(4)))
    assert [dict(row) for row in rows] == [
        {"id": 1, "more": None, "again": None, "asked": n} for n in range(4)
    ]
    async with pool.acquire() as connection:
        await connection.execute("DROP TABLE gateway.grown")
