"""The plan of `networkcore distribute` against the migrated schema; its errors on a database without Citus.

Needs no Citus: a new table without a place, or a new key between distributed tables, fails here.
"""

from collections.abc import Mapping

import asyncpg
import pytest

from gateway.distribution import repository
from gateway.distribution.places import BY_NAME, FEW_ROWS, KEYS_BETWEEN_SHARDS, ON_COORDINATOR
from gateway.distribution.plan import (
    DistributionError,
    DistributionPlan,
    Place,
    place_table,
    plan_distribution,
)
from gateway.distribution.service import check_citus, distribute
from gateway.distribution.statement_check import check_statements

# Keys that a distributed database can't keep, each with what makes up for it.
LOST: Mapping[str, str] = {
    "gateway.party": "no party is ever deleted",
    "clearing.party": "no party is ever deleted",
    "gateway.tariff_snapshot": "written by the statement that writes the session, and never deleted",
    "gateway.buyer": "a buyer is kept as long as a document may name it",
}


@pytest.fixture
async def plan(database_url: str) -> DistributionPlan:
    connection = await asyncpg.connect(database_url)
    try:
        return plan_distribution(
            await repository.list_tables(connection, distributed=False),
            await repository.list_foreign_keys(connection),
        )
    finally:
        await connection.close()


async def test_every_table_of_the_schema_has_one_place(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        tables = await repository.list_tables(connection, distributed=False)
        keys = await repository.list_foreign_keys(connection)
    finally:
        await connection.close()
    placed = [place_table(table) for table in tables]
    named = [name for names in ON_COORDINATOR.values() for name in names]
    existing = {table.name for table in tables}
    assert sorted(named) == sorted(set(named)), "a table has two places"
    assert {*named, *BY_NAME, *FEW_ROWS} - existing == set(), "named, but there is no such table"
    assert {one.name for one in placed if one.place is Place.NAME} == set(BY_NAME)
    assert len([one for one in placed if one.place is Place.SHARD]) >= 20
    distributed = {table.name for table in placed if table.column is not None}
    lost = {key.referenced for key in keys if key.table in distributed} - distributed
    assert lost == set(LOST)


def test_the_order_is_keys_then_tables_then_keys(plan: DistributionPlan) -> None:
    order = [table.name for table in plan.tables]
    for key in KEYS_BETWEEN_SHARDS:
        assert order.index(key.referenced) < order.index(key.table), key.name
    assert set(plan.added) == set(KEYS_BETWEEN_SHARDS)
    assert set(plan.added) < set(plan.dropped)
    columns = {Place.SHARD: "shard", Place.NAME: "foreign_id"}
    assert all(table.column == columns[table.place] for table in plan.tables)


async def test_a_key_between_shards_that_is_not_named_is_found(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "ALTER TABLE gateway.event ADD COLUMN session_id uuid, ADD CONSTRAINT unnamed_key "
            "FOREIGN KEY (shard, session_id) REFERENCES gateway.session (shard, id)"
        )
        tables = await repository.list_tables(connection, distributed=False)
        keys = await repository.list_foreign_keys(connection)
    finally:
        await connection.close()
    with pytest.raises(DistributionError, match="unnamed_key is not named"):
        plan_distribution(tables, keys)


async def test_a_new_table_without_a_place_is_found(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("CREATE TABLE gateway.news (id uuid PRIMARY KEY)")
        tables = await repository.list_tables(connection, distributed=False)
    finally:
        await connection.close()
    with pytest.raises(DistributionError, match=r"gateway.news has no place"):
        plan_distribution(tables, [])


async def test_a_server_without_citus_is_rejected_in_one_line(database_url: str) -> None:
    with pytest.raises(DistributionError, match="this PostgreSQL has no Citus"):
        await distribute(database_url, report=print)
    with pytest.raises(DistributionError, match="this PostgreSQL has no Citus"):
        await check_statements(database_url)


async def test_a_database_that_is_not_migrated_is_rejected(empty_database_url: str) -> None:
    with pytest.raises(DistributionError, match="run networkcore migrate first"):
        await distribute(empty_database_url, report=print)


async def test_another_version_of_citus_is_rejected(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        for version, expected in (("13.2-1", "this is Citus 13.2-1; 14 is supported"), ("14.0-1", None)):
            await connection.execute(
                "DROP TABLE IF EXISTS public.pg_extension; CREATE TABLE public.pg_extension (extname text, "
                "extversion text); SET search_path = public, pg_catalog"
            )
            await connection.execute("INSERT INTO public.pg_extension VALUES ('citus', $1)", version)
            if expected is None:
                assert await check_citus(connection) == version
            else:
                with pytest.raises(DistributionError, match=expected):
                    await check_citus(connection)
    finally:
        await connection.close()
