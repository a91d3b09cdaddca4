"""The roles at the database: the owner migrates, the application adds to the journal, reports only read."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from gateway.database import Pool, connect, create_pool
from gateway.database_roles import APPEND_ONLY, HIDDEN_FROM_REPORTS, READER, WRITER, grant_access
from gateway.errors import MigrationError
from gateway.jobs.act_seals import ActSealJob
from gateway.jobs.clearing import ClearingJob
from gateway.migrations import load_migrations, migrate
from sandbox.postgres.embedded import EmbeddedPostgres
from tests.conftest import database_dsn, run_apart
from tests.fakes.api import cdr, open_api
from tests.fakes.parties import create_party

ROLES = Path(__file__).parents[2] / "deploy/postgres/roles.sql"
NAMES = ("networkcore_owner", "networkcore_app", "networkcore_reports")
DENIED = asyncpg.InsufficientPrivilegeError


def script() -> str:
    """The statements of roles.sql as psql sends them."""
    text = ROLES.read_text(encoding="utf-8").replace(':"DBNAME"', "market")
    return re.sub(r":'(\w+)'", r"'\1'", text)


@pytest.fixture(scope="module")
def cluster(open_tmp_path: Path) -> Iterator[str]:
    """The superuser's address of a migrated database with the roles, in a cluster of its own."""
    with EmbeddedPostgres(open_tmp_path / "roles", durable=False) as server:
        dsn = database_dsn(server, "market")

        async def prepare() -> None:
            async with connect(server.dsn) as connection:
                await connection.execute("CREATE DATABASE market")
            async with connect(dsn) as connection:
                await connection.execute(script())
            await migrate(as_role(dsn, "networkcore_owner"))

        run_apart(prepare())
        yield dsn


def as_role(dsn: str, role: str) -> str:
    """The same database as another role; the server's socket asks for no password."""
    return re.sub(r"(postgresql://)(?:[^@/]*@)?", rf"\1{role}@", dsn, count=1)


@pytest.fixture
async def app(cluster: str) -> AsyncIterator[Pool]:
    """A pool as the application has it."""
    opened = await create_pool(
        as_role(cluster, "networkcore_app"), min_size=1, max_size=8, application="test"
    )
    yield opened
    await opened.close()


async def tables(cluster: str) -> list[str]:
    async with connect(cluster) as connection:
        rows = await connection.fetch(
            "SELECT schemaname || '.' || tablename AS name FROM pg_tables "
            "WHERE schemaname IN ('gateway', 'clearing', 'pnc') ORDER BY 1"
        )
    return [row["name"] for row in rows]


async def test_none_of_the_roles_is_a_superuser_or_owns_what_it_should_not(cluster: str) -> None:
    async with connect(cluster) as connection:
        rows = await connection.fetch(
            "SELECT rolname, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication AS strong "
            "FROM pg_roles WHERE rolname ~ '^networkcore_'"
        )
        owners = await connection.fetch(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('gateway', 'clearing', 'pnc')"
        )
    assert {row["rolname"] for row in rows} == {*NAMES, WRITER, READER}
    assert not any(row["strong"] for row in rows)
    assert [row["tableowner"] for row in owners] == ["networkcore_owner"]


async def test_the_application_changes_and_deletes_nothing_of_what_is_only_added_to(
    cluster: str, app: Pool
) -> None:
    known = await tables(cluster)
    assert set(APPEND_ONLY) <= set(known)
    async with app.acquire() as connection:
        for table in APPEND_ONLY:
            column = await connection.fetchval(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) "
                "AND attnum > 0 AND attidentity = '' LIMIT 1",
                table,
            )
            for statement in (
                f"UPDATE {table} SET {column} = {column}",  # noqa: S608 - names of ours
                f"DELETE FROM {table}",  # noqa: S608
                f"TRUNCATE {table}",
                f"ALTER TABLE {table} ADD COLUMN x int",
                f"DROP TABLE {table}",
            ):
                with pytest.raises(DENIED):
                    await connection.execute(statement)
            await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
        for statement in (
            "UPDATE clearing.entry SET gross_minor = 0",
            "ALTER TABLE gateway.api_key DISABLE TRIGGER admin_act_update",
            "DROP TRIGGER admin_act_row ON gateway.api_key",
            "CREATE TABLE gateway.x (id int)",
            "CREATE SCHEMA x",
            "SET session_replication_role = replica",
            "DELETE FROM gateway.migration",
            "DROP FUNCTION gateway.record_act()",
        ):
            with pytest.raises(DENIED):
                await connection.execute(statement)


async def test_reports_read_what_is_no_secret_and_write_nothing(cluster: str) -> None:
    async with connect(as_role(cluster, "networkcore_reports")) as connection:
        for table in await tables(cluster):
            statement = f"SELECT count(*) FROM {table}"  # noqa: S608 - from the catalog
            if table in HIDDEN_FROM_REPORTS:
                with pytest.raises(DENIED):
                    await connection.execute(statement)
            else:
                assert await connection.fetchval(statement) >= 0
        await connection.execute("SET default_transaction_read_only = off")
        for table in await tables(cluster):
            with pytest.raises(DENIED):
                await connection.execute(f"DELETE FROM {table}")  # noqa: S608


async def test_a_day_is_charged_cleared_and_administered_as_the_application(app: Pool) -> None:
    async with open_api(app) as api:
        session = (await api.authorize(key="a1")).json["session"]
        body = b'{"cdr":' + cdr() + b"}"
        done = await api.call("POST", f"/v1/sessions/{session}/complete", body, key="c1")
        assert done.status == 200, done.text
        for operation in ("createApiKey", "again"):
            path = "/v1/parties/parking/api-keys"
            made = await api.call(
                "POST", path, {"scopes": ["capture"]}, party="admin", key=f"key-{operation}"
            )
            assert made.status == 201
        await create_party(api, "DE-ABC")
        job = ClearingJob(
            pool=app, clock=api.clock, sessions=api.services.clearing.sessions, batch_size=10, chain=0
        )
        api.clock.pass_wall(5)
        await job.run_once()
        assert await ActSealJob(pool=app, clock=api.clock).run_once() > 0


async def test_a_start_as_the_application_migrates_nothing_and_says_what_is_pending(cluster: str) -> None:
    dsn = as_role(cluster, "networkcore_app")
    assert await migrate(dsn) == []
    wanted = load_migrations()

    later = replace(wanted[-1], version=9999, name="later")
    with pytest.raises(MigrationError, match=r"gateway/9999_later.*owner"):
        await migrate(dsn, migrations=[*wanted, later])


async def test_a_database_that_one_role_has_made_is_given_to_the_owner(cluster: str) -> None:
    async with connect(cluster) as connection:
        await connection.execute("CREATE DATABASE older")
    older = cluster.replace("/market?", "/older?")
    await migrate(older)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with connect(as_role(older, "networkcore_owner")) as connection:
            await connection.execute("ALTER TABLE gateway.party ADD COLUMN x int")
    async with connect(older) as connection:
        await connection.execute(ROLES.with_name("give-to-owner.sql").read_text(encoding="utf-8"))
        kept = await connection.fetchval(
            "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname IN ('gateway', 'clearing', 'pnc') AND c.relowner <> 'networkcore_owner'::regrole"
        )
    assert kept == 0
    await migrate(as_role(older, "networkcore_owner"))
    async with connect(as_role(older, "networkcore_app")) as connection:
        await connection.execute("INSERT INTO gateway.party VALUES ('aa', 'cpo', now())")
        with pytest.raises(DENIED):
            await connection.execute("DELETE FROM gateway.admin_act")


async def test_with_one_role_nothing_is_granted_and_everything_works(database_url: str, pool: Pool) -> None:
    assert await migrate(database_url) == []
    async with pool.acquire() as connection:
        assert await grant_access(connection) is False
