"""Every named statement reads and writes one shard, that of its parameter, or is listed with its reason.

PostgreSQL's own planner proves it: each table with a shard is made anew with two partitions, the rows of one
shard and all others, and each statement is planned with that shard for `:shard` and nothing known of its
other parameters. What plans the other partition too would scatter over a database that is distributed by
shard: `a.shard = moved.shard` of a CTE does, `a.shard = :shard` does not. Rows that are inserted go where
their shard sends them, so that the plan says nothing about them.
"""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from gateway.database import Connection
from gateway.distribution.named_statements import named_statements
from gateway.distribution.places import BY_NAME, FEW_ROWS
from gateway.distribution.several_shards import listed_statements

SHARD = 5
# One PostgreSQL finds an Idempotency-Key in any shard; a distributed database in its own (decision 0928).
_DISTRIBUTED_KEY = """
ALTER TABLE gateway.idempotency_key
    DROP CONSTRAINT idempotency_key_pkey, ADD PRIMARY KEY (shard, party_id, key)"""
PLAN_OF = """
CREATE FUNCTION public.plan_of(statement text) RETURNS json LANGUAGE plpgsql AS $body$
DECLARE found json;
BEGIN
    EXECUTE 'EXPLAIN (GENERIC_PLAN, FORMAT JSON) ' || statement INTO found;
    RETURN found;
END $body$"""
_TABLES = """
SELECT r.oid::regclass::text AS name,
       (SELECT bool_and(EXISTS (SELECT 1 FROM pg_attribute AS k WHERE k.attrelid = r.oid
                                AND k.attnum = ANY (i.indkey) AND k.attname = 'shard'))
        FROM pg_index AS i WHERE i.indrelid = r.oid AND i.indisunique) AS keyed
FROM pg_class AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = 'shard'
WHERE r.relkind = 'r' AND r.relnamespace::regnamespace::text IN ('gateway', 'clearing', 'pnc')
ORDER BY 1"""

_VIEWS = """
SELECT c.oid::regclass::text AS name, pg_get_viewdef(c.oid) AS definition FROM pg_class AS c
WHERE c.relkind = 'v' AND c.relnamespace::regnamespace::text IN ('gateway', 'clearing', 'pnc')"""


@pytest.fixture
async def partitioned(database_url: str) -> AsyncIterator[Connection]:
    """A migrated database whose tables with a shard have a partition for one shard and one for the others."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(_DISTRIBUTED_KEY)
        views = await connection.fetch(_VIEWS)
        for name, keyed in await connection.fetch(_TABLES):
            assert keyed is not (name in BY_NAME or name in FEW_ROWS), (
                f"{name}: is the shard in each of its unique keys?"
            )
            if keyed:
                await connection.execute(
                    f"ALTER TABLE {name} RENAME TO {name.split('.')[1]}__whole;"
                    f"CREATE TABLE {name} (LIKE {name}__whole INCLUDING ALL) PARTITION BY LIST (shard);"
                    f"CREATE TABLE {name}__own PARTITION OF {name} FOR VALUES IN ({SHARD});"
                    f"CREATE TABLE {name}__others PARTITION OF {name} DEFAULT"
                )
        for name, definition in views:  # else they would still read the tables as they were
            await connection.execute(f"CREATE OR REPLACE VIEW {name} AS {definition}")
        await connection.execute(PLAN_OF)
        yield connection
    finally:
        await connection.close()


def relations(node: dict[str, Any]) -> Iterator[str]:
    """Every table or partition that a plan reads or writes."""
    if "Relation Name" in node:
        yield node["Relation Name"]
    for target in node.get("Target Tables", []):
        yield target["Relation Name"]
    for child in node.get("Plans", []):
        yield from relations(child)


async def scattered(connection: Connection, statement: str) -> list[str]:
    """The tables of which a statement reads or writes more than the one shard."""
    plan = json.loads(await connection.fetchval("SELECT public.plan_of($1)", statement))[0]["Plan"]
    return sorted({name.removesuffix("__others") for name in relations(plan) if name.endswith("__others")})


async def test_each_statement_names_its_shard_or_is_listed_with_a_reason(
    partitioned: Connection,
) -> None:
    found = {
        statement.place: tables
        for statement in named_statements(shard=SHARD)
        if (tables := await scattered(partitioned, statement.sql))
    }
    reasons = [place for place, _ in listed_statements()]
    assert len(reasons) == len(set(reasons)), "a statement has two reasons"
    assert {place: tables for place, tables in found.items() if place not in reasons} == {}
    assert sorted(set(reasons) - set(found)) == [], "listed, but they read one shard"


async def test_what_scatters_is_seen(partitioned: Connection) -> None:
    moved = (
        "WITH moved AS (UPDATE gateway.payment_authorization SET version = 2 WHERE shard = 5 AND id = $1 "
        "RETURNING shard, session_id) UPDATE gateway.session AS s SET state = 'cancelled' FROM moved "
        "WHERE s.id = moved.session_id AND s.shard = "
    )
    assert await scattered(partitioned, moved + "moved.shard") == ["session"]
    assert await scattered(partitioned, moved + "5::smallint") == []
    assert await scattered(partitioned, "SELECT * FROM gateway.capture WHERE session_id = $1") == ["capture"]
    joined = "SELECT * FROM gateway.session AS s JOIN gateway.capture AS c ON c.shard = s.shard WHERE "
    assert await scattered(partitioned, joined + "s.shard = 5::smallint") == []
