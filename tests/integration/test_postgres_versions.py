"""Another PostgreSQL version: the migrations, every statement, and a market day to its proof.

Set TEST_POSTGRES_BIN to a folder of PostgreSQL's programs (initdb, postgres) to run these.
"""

import os
from importlib.resources import files
from pathlib import Path

import asyncpg
import pytest

from gateway.database import named_queries
from gateway.errors import MigrationError
from gateway.migrations import PACKAGES, check_server, list_pending, migrate
from sandbox.postgres.embedded import EmbeddedPostgres
from tests.fakes.market_day import proved_day

PROGRAMS = os.environ.get("TEST_POSTGRES_BIN", "")
needs_programs = pytest.mark.skipif(
    not PROGRAMS, reason="TEST_POSTGRES_BIN names no folder of another PostgreSQL's programs"
)


def server(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder, durable=False, programs=Path(PROGRAMS))


@needs_programs
@pytest.mark.timeout(300)
async def test_the_migrations_apply_and_every_statement_prepares(open_tmp_path: Path) -> None:
    with server(open_tmp_path / "other") as other:
        await migrate(other.dsn)
        assert await list_pending(other.dsn) == []
        connection = await asyncpg.connect(other.dsn, server_settings={"search_path": "pg_catalog"})
        try:
            prepared = 0
            for package in PACKAGES:
                for path in (files(package) / "sql").iterdir():
                    if path.name.endswith(".sql"):
                        queries = named_queries(package, path.name)
                        for name in queries.available_queries:
                            if not name.endswith("_cursor"):
                                await connection.prepare(getattr(queries, name).sql)
                                prepared += 1
        finally:
            await connection.close()
    assert prepared > 300


@needs_programs
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_market_day_ends_with_its_proof(open_tmp_path: Path) -> None:
    await proved_day(open_tmp_path / "day", server(open_tmp_path / "day-postgres"))


def test_a_server_that_is_too_old_is_named() -> None:
    check_server(160000)
    with pytest.raises(MigrationError, match="this is PostgreSQL 15; 16 to 18 are supported"):
        check_server(150018)
