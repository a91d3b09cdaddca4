"""Fixtures for every package: a real PostgreSQL for the run, a fresh migrated database for each test."""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from hypothesis import HealthCheck, settings

from gateway.database import Pool, create_pool
from gateway.migrations import migrate
from sandbox.postgres.embedded import EmbeddedPostgres

# A loaded machine makes nothing wrong: no test fails because examples came slowly.
settings.register_profile("any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_machine")

# An error that is logged is a plain traceback: with every local value it takes minutes to draw.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

_TEMPLATE = "migrated"
_PLENTY_BYTES = 4 << 30
_MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a directory of its own in it
_DISK = Path("/tmp")  # noqa: S108 - likewise; and open to the user that the server runs as
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs PostgreSQL, so that `-m "not postgres"` runs without it."""
    for item in items:
        if "postgres_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)


def run_apart(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end in a thread: fixtures must not touch the loop of the tests."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.fixture(scope="session")
def open_tmp_path() -> Iterator[Path]:
    """A directory that other users may pass through: root's server runs as nobody.

    In memory where there is plenty: a database for each test is many files.
    """
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _PLENTY_BYTES
    path = Path(tempfile.mkdtemp(prefix="networkcore-test-", dir=_MEMORY if roomy else _DISK))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(open_tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for the whole run of this process: 18, or that of TEST_POSTGRES_BIN; not durable."""
    named = os.environ.get("TEST_POSTGRES_BIN")
    programs = Path(named) if named else None
    with EmbeddedPostgres(open_tmp_path / "postgres", durable=False, programs=programs) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database with every migration applied, which each test's database is copied from."""
    run_apart(_execute(postgres_server.dsn, f"CREATE DATABASE {_TEMPLATE}"))
    run_apart(migrate(database_dsn(postgres_server, _TEMPLATE)))
    return _TEMPLATE


@pytest.fixture
def empty_database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The address of a fresh database with nothing in it."""
    yield from _database(postgres_server, template="template1")


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """The address of a fresh, migrated database of this test's own."""
    yield from _database(postgres_server, template=migrated_template)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """A pool on this test's database, set up as in production."""
    opened = await create_pool(database_url, min_size=1, max_size=8, application="test")
    yield opened
    await asyncio.wait_for(opened.close(), timeout=10)


def database_dsn(server: EmbeddedPostgres, name: str) -> str:
    """The address of another database on the same server."""
    before, after = server.dsn.split("?", 1)
    return f"{before.rsplit('/', 1)[0]}/{name}?{after}"


def _database(server: EmbeddedPostgres, *, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    run_apart(_execute(server.dsn, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))
    yield database_dsn(server, name)
    run_apart(_execute(server.dsn, f"DROP DATABASE {name} WITH (FORCE)"))


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
