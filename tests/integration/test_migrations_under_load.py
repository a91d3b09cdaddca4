"""Migrations beside requests: they give way, go on after a failure, and say how far the database is."""

import asyncio
import hashlib
import time
from dataclasses import replace

import pytest

from gateway.database import connect
from gateway.errors import MigrationError
from gateway.migrations import Migration, compare_schema, load_migrations, migrate

OUTSIDE = "-- outside a transaction\n"
BATCH = (
    "UPDATE gateway.busy SET filled = n WHERE n IN "
    "(SELECT n FROM gateway.busy WHERE filled IS NULL LIMIT 10);"
)


def step(version: int, sql: str) -> Migration:
    digest = hashlib.sha256(sql.encode()).hexdigest()
    return Migration(package="gateway", version=version, name="step", sql=sql, sha256=digest)


TABLE = step(
    1, "CREATE TABLE gateway.busy (n integer, filled integer); INSERT INTO gateway.busy (n) VALUES (1);"
)


async def test_a_migration_gives_way_to_a_long_transaction_and_requests_go_on(
    empty_database_url: str,
) -> None:
    await migrate(empty_database_url, migrations=[TABLE])
    added = step(2, "ALTER TABLE gateway.busy ADD COLUMN m integer;")
    longest = 0.0
    async with connect(empty_database_url) as long, connect(empty_database_url) as short:
        block = long.transaction()
        await block.start()
        await long.fetch("SELECT * FROM gateway.busy")
        running = asyncio.create_task(migrate(empty_database_url, migrations=[TABLE, added]))
        until = time.monotonic() + 5
        while time.monotonic() < until:
            asked = time.monotonic()
            await short.fetch("SELECT n FROM gateway.busy")
            longest = max(longest, time.monotonic() - asked)
            await asyncio.sleep(0.05)
        assert not running.done()
        await block.rollback()
        assert await running == [added]
    # It waited once and more for the lock, two seconds at a time.
    assert 0.2 < longest < 4


async def test_a_table_that_stays_locked_ends_the_run_with_a_reason_and_nothing_done(
    empty_database_url: str,
) -> None:
    await migrate(empty_database_url, migrations=[TABLE])
    added = step(2, "CREATE TABLE gateway.other (); ALTER TABLE gateway.busy ADD COLUMN m integer;")
    async with connect(empty_database_url) as long, long.transaction():
        await long.fetch("SELECT * FROM gateway.busy")
        with pytest.raises(
            MigrationError, match="gateway/0002_step was tried 1 times, and others had its tables"
        ):
            await migrate(empty_database_url, migrations=[TABLE, added], attempts=1)
        assert await long.fetchval("SELECT to_regclass('gateway.other')") is None


async def test_an_index_that_was_left_invalid_is_dropped_and_made_anew(empty_database_url: str) -> None:
    twice = step(2, "INSERT INTO gateway.busy (n) VALUES (1);")
    unique = step(3, f"{OUTSIDE}CREATE UNIQUE INDEX CONCURRENTLY busy_n ON gateway.busy (n);")
    with pytest.raises(
        MigrationError, match=r"(?s)gateway/0003_step failed, what it has done is kept .* duplicated"
    ):
        await migrate(empty_database_url, migrations=[TABLE, twice, unique])
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'gateway.busy_n'::regclass"
    async with connect(empty_database_url) as connection:
        assert await connection.fetchval(valid) is False
        await connection.execute(
            "DELETE FROM gateway.busy WHERE ctid IN (SELECT max(ctid) FROM gateway.busy)"
        )
        assert await migrate(empty_database_url, migrations=[TABLE, twice, unique]) == [unique]
        assert await connection.fetchval(valid) is True


async def test_steps_that_were_done_are_not_done_again(empty_database_url: str) -> None:
    first = "CREATE INDEX CONCURRENTLY busy_n ON gateway.busy (n);"
    half = step(2, f"{OUTSIDE}{first}ALTER TABLE gateway.busy VALIDATE CONSTRAINT missing;")
    with pytest.raises(MigrationError, match="missing"):
        await migrate(empty_database_url, migrations=[TABLE, half])
    whole = step(2, f"{OUTSIDE}{first}")
    async with connect(empty_database_url) as connection:
        made = await connection.fetchval("SELECT 'gateway.busy_n'::regclass::oid")
        assert await migrate(empty_database_url, migrations=[TABLE, whole]) == [whole]
        assert await connection.fetchval("SELECT 'gateway.busy_n'::regclass::oid") == made


async def test_rows_are_changed_in_batches_until_none_is_left(empty_database_url: str) -> None:
    many = step(2, "INSERT INTO gateway.busy (n) SELECT generate_series(2, 25);")
    fill = step(3, f"{OUTSIDE}{BATCH}")
    await migrate(empty_database_url, migrations=[TABLE, many, fill])
    async with connect(empty_database_url) as connection:
        assert await connection.fetchval("SELECT count(*) FROM gateway.busy WHERE filled = n") == 25


async def test_a_constraint_comes_not_valid_and_is_validated_by_a_later_file(empty_database_url: str) -> None:
    added = step(2, "ALTER TABLE gateway.busy ADD CONSTRAINT positive CHECK (n > 0) NOT VALID;")
    validated = step(3, f"{OUTSIDE}ALTER TABLE gateway.busy VALIDATE CONSTRAINT positive;")
    await migrate(empty_database_url, migrations=[TABLE, added, validated])
    async with connect(empty_database_url) as connection:
        assert await connection.fetchval("SELECT convalidated FROM pg_constraint WHERE conname = 'positive'")


async def test_who_waits_for_the_lock_of_all_does_not_hold_up_an_index(empty_database_url: str) -> None:
    index = step(2, f"{OUTSIDE}CREATE INDEX CONCURRENTLY busy_n ON gateway.busy (n);")
    await migrate(empty_database_url, migrations=[TABLE])
    async with connect(empty_database_url) as old:
        block = old.transaction(isolation="repeatable_read")  # the index waits for its end
        await block.start()
        await old.fetch("SELECT * FROM gateway.busy")
        both = [asyncio.create_task(migrate(empty_database_url, migrations=[TABLE, index])) for _ in range(2)]
        await asyncio.sleep(1.0)
        await block.rollback()
        async with asyncio.timeout(30):
            assert sorted(map(len, await asyncio.gather(*both))) == [0, 1]


async def test_the_database_is_older_the_same_or_newer_by_a_number(database_url: str) -> None:
    wanted = load_migrations()
    same = await compare_schema(database_url)
    assert same.summary == "the database is the same as this program, nothing pending"
    one_more = replace(wanted[-1], version=wanted[-1].version + 1, name="more")
    older = await compare_schema(database_url, migrations=[*wanted, one_more])
    assert older.summary == "the database is older than this program by 1 migration"
    newer = await compare_schema(database_url, migrations=wanted[:-2])
    assert newer.summary == "the database is newer than this program by 2 migrations"
    assert list(newer.unknown) == [str(one) for one in wanted[-2:]]


async def test_a_request_is_answered_while_an_index_is_made(empty_database_url: str) -> None:
    many = step(2, "INSERT INTO gateway.busy (n) SELECT generate_series(2, 20000);")
    index = step(3, f"{OUTSIDE}CREATE INDEX CONCURRENTLY busy_n ON gateway.busy (n);")
    await migrate(empty_database_url, migrations=[TABLE, many])
    async with connect(empty_database_url) as writer:
        async with writer.transaction():
            await writer.execute("UPDATE gateway.busy SET filled = 1 WHERE n = 1")
            running = asyncio.create_task(migrate(empty_database_url, migrations=[TABLE, many, index]))
            await asyncio.sleep(0.5)
            async with connect(empty_database_url) as other:
                await asyncio.wait_for(
                    other.execute("UPDATE gateway.busy SET filled = 2 WHERE n = 2"), timeout=2
                )
            assert not running.done()
        assert await asyncio.wait_for(running, timeout=30) == [index]
