"""Migrations on a real PostgreSQL: once each, by any number of processes, never over a changed history."""

import asyncio
import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest

from gateway.database import Pool, connect, create_pool, named_queries, transaction
from gateway.errors import DatabaseUnreachableError, MigrationError
from gateway.migrations import PACKAGES, Migration, list_pending, load_migrations, migrate, read_migrations

# What makes two schemas equal: every column, constraint, index and function body outside the system's own
# schemas.
CATALOG = """
SELECT format('column %s.%s.%s %s %s %s', n.nspname, c.relname, a.attname, format_type(a.atttypid,
a.atttypmod),
              a.attnotnull, pg_get_expr(d.adbin, d.adrelid)) AS line
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'v')
UNION ALL
SELECT format('constraint %s %s %s', n.nspname, c.conname, pg_get_constraintdef(c.oid))
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE n.nspname = ANY($1)
UNION ALL
SELECT format('index %s', pg_get_indexdef(i.indexrelid))
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY($1)
ORDER BY line
"""


_LONGEST_LINE = 120
SLEEPING = """
SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()
"""


def step(version: int, sql: str, *, name: str = "step", package: str = "gateway") -> Migration:
    digest = hashlib.sha256(sql.encode()).hexdigest()
    return Migration(package=package, version=version, name=name, sql=sql, sha256=digest)


async def schema_of(dsn: str) -> list[str]:
    async with connect(dsn) as connection:
        return [row["line"] for row in await connection.fetch(CATALOG, list(PACKAGES))]


async def test_every_package_is_migrated_into_its_own_schema(empty_database_url: str) -> None:
    wanted = load_migrations()
    assert wanted
    assert await list_pending(empty_database_url) == wanted
    assert await migrate(empty_database_url) == wanted
    assert await list_pending(empty_database_url) == []
    assert await migrate(empty_database_url) == []
    async with connect(empty_database_url) as connection:
        schemas = await connection.fetch(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        )
        outside = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    assert {row["nspname"] for row in schemas} - {"public"} == {migration.package for migration in wanted}
    assert outside == 0


async def test_the_schema_is_the_sum_of_the_migrations(database_url: str, empty_database_url: str) -> None:
    # One at a time, each run anew, as an installation that followed every release.
    wanted = load_migrations()
    for count in range(1, len(wanted) + 1):
        await migrate(empty_database_url, migrations=wanted[:count])
    stepwise, at_once = await schema_of(empty_database_url), await schema_of(database_url)
    assert stepwise
    assert stepwise == at_once


async def test_processes_that_start_at_once_apply_each_migration_once(empty_database_url: str) -> None:
    wanted = load_migrations()
    runs = await asyncio.gather(*(migrate(empty_database_url) for _ in range(8)))
    assert sorted(len(run) for run in runs) == [0] * 7 + [len(wanted)]


async def test_a_failing_migration_leaves_nothing_of_itself_and_all_before_it(
    empty_database_url: str,
) -> None:
    good = step(1, "CREATE TABLE gateway.first (n integer);")
    bad = step(2, "CREATE TABLE gateway.second (n integer); SELECT 1 / 0;", name="bad")
    with pytest.raises(
        MigrationError, match="gateway/0002_bad failed, nothing of it remains: division by zero"
    ):
        await migrate(empty_database_url, migrations=[good, bad])
    async with connect(empty_database_url) as connection:
        assert await connection.fetchval("SELECT to_regclass('gateway.first') IS NOT NULL")
        assert await connection.fetchval("SELECT to_regclass('gateway.second') IS NULL")
    mended = step(2, "CREATE TABLE gateway.second (n integer);", name="bad")
    assert await migrate(empty_database_url, migrations=[good, mended]) == [mended]


async def test_a_changed_file_is_rejected_by_migrate_and_pending(empty_database_url: str) -> None:
    original = step(1, "CREATE TABLE gateway.first (n integer);")
    await migrate(empty_database_url, migrations=[original])
    changed = step(1, "CREATE TABLE gateway.first (n bigint);")
    renamed = replace(original, name="other")
    for other in (changed, renamed):
        for run in (migrate, list_pending):
            with pytest.raises(
                MigrationError, match="was changed after it was applied; restore it and add a new file"
            ):
                await run(empty_database_url, migrations=[other])


async def test_a_file_that_vanished_or_was_overtaken_is_rejected(empty_database_url: str) -> None:
    first, second, third = (step(n, f"CREATE TABLE gateway.t{n} (n integer);") for n in (1, 2, 3))
    await migrate(empty_database_url, migrations=[first, third])
    with pytest.raises(MigrationError, match="gateway/0002_step comes before what is applied"):
        await migrate(empty_database_url, migrations=[first, second, third])
    with pytest.raises(MigrationError, match="gateway/0001 is applied and its file is missing"):
        await migrate(empty_database_url, migrations=[third])


async def test_an_older_program_leaves_newer_migrations_alone(empty_database_url: str) -> None:
    first, second = (step(n, f"CREATE TABLE gateway.t{n} (n integer);") for n in (1, 2))
    await migrate(empty_database_url, migrations=[first, second])
    assert await migrate(empty_database_url, migrations=[first]) == []


async def test_a_killed_migration_frees_the_lock(empty_database_url: str) -> None:
    slow = step(1, "SELECT pg_sleep(30);")
    task = asyncio.create_task(migrate(empty_database_url, migrations=[slow]))
    async with connect(empty_database_url) as watcher, asyncio.timeout(10):
        while not await watcher.fetchval(SLEEPING):
            await asyncio.sleep(0.02)
        await watcher.fetchval(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'networkcore migrate'"
        )
    with pytest.raises((MigrationError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await task
    quick = step(1, "CREATE TABLE gateway.t (n integer);")
    assert await migrate(empty_database_url, migrations=[quick]) == [quick]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"1_short.sql": ""}, "1_short.sql is not named NNNN_name.sql"),
        ({"0001_Upper.sql": ""}, "0001_Upper.sql is not named"),
        ({"0001_a.sql": "", "0001_b.sql": ""}, "share a number"),
        ({"0001_a.sql": "CREATE TABLE a ();\nCOMMIT;\n"}, "0001_a.sql controls transactions"),
    ],
)
def test_a_badly_named_or_doubled_file_is_rejected(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, sql in files.items():
        tmp_path.joinpath(name).write_text(sql, encoding="utf-8")
    with pytest.raises(MigrationError, match=said):
        read_migrations("gateway", tmp_path)


def test_line_ends_of_another_system_do_not_change_the_digest(tmp_path: Path) -> None:
    for folder, ends in (("unix", b"\n"), ("windows", b"\r\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0001_a.sql").write_bytes(ends.join([b"SELECT 1;", b"SELECT 2;", b""]))
    assert read_migrations("gateway", tmp_path / "unix") == read_migrations("gateway", tmp_path / "windows")
    assert read_migrations("gateway", tmp_path / "missing") == []


async def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(
        DatabaseUnreachableError, match=r"cannot connect to PostgreSQL at 127\.0\.0\.1:1/money"
    ) as rejection:
        await migrate("postgresql://app:hunter2@127.0.0.1:1/money", wait_seconds=0)
    assert "hunter2" not in str(rejection.value)
    with pytest.raises(DatabaseUnreachableError) as rejection:
        await create_pool("postgresql://app:hunter2@127.0.0.1:1/money", min_size=1)
    assert "hunter2" not in str(rejection.value)


async def test_an_address_of_several_servers_names_each_without_the_password() -> None:
    dsn = "postgresql://app:hunter2@127.0.0.1:1,127.0.0.1:2/money?target_session_attrs=primary"
    with pytest.raises(
        DatabaseUnreachableError, match=r"at 127\.0\.0\.1:1, 127\.0\.0\.1:2/money"
    ) as rejection:
        await create_pool(dsn, min_size=1)
    assert "hunter2" not in str(rejection.value)


async def test_json_columns_keep_every_digit(pool: Pool) -> None:
    text = '{"price": 123456789012345.6789, "count": 3, "list": [0.1]}'
    async with transaction(pool) as connection:
        value = await connection.fetchval("SELECT $1::text::jsonb", text)
        assert str(value["price"]) == "123456789012345.6789"
        assert type(value["count"]) is int
        assert await connection.fetchval("SELECT ($1::jsonb)::text", value) == await connection.fetchval(
            "SELECT ($1::text::jsonb)::text", text
        )


async def insert_and_fail(pool: Pool) -> None:
    async with transaction(pool) as connection:
        await connection.execute("INSERT INTO public.kept VALUES (1)")
        raise RuntimeError


async def test_a_transaction_rolls_back_when_its_block_raises(pool: Pool) -> None:
    await pool.execute("CREATE TABLE public.kept (n integer)")
    with pytest.raises(RuntimeError):
        await insert_and_fail(pool)
    assert await pool.fetchval("SELECT count(*) FROM public.kept") == 0


async def test_a_statement_that_hangs_is_ended_by_the_server(database_url: str) -> None:
    impatient = await create_pool(database_url, min_size=1, max_size=1, statement_timeout_ms=100)
    try:
        with pytest.raises(asyncpg.QueryCanceledError, match="statement timeout"):
            await impatient.execute("SELECT pg_sleep(10)")
    finally:
        await impatient.close()


def test_every_table_is_described_and_no_line_is_too_long() -> None:
    for migration in load_migrations():
        lines = migration.sql.splitlines()
        assert max(map(len, lines)) <= _LONGEST_LINE, migration
        undescribed = [
            line
            for before, line in pairwise(["", *lines])
            if line.startswith("CREATE TABLE") and not before.startswith("-- ")
        ]
        assert not undescribed, migration


def test_a_missing_file_of_queries_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.sql"):
        named_queries("gateway", "nothing.sql")
