"""Databases of a Citus cluster for tests: migrated and distributed once, then copied for each test.

Owns: CITUS_DSN, a database of the coordinator that has Citus and its nodes. Each database of a test is made
on every node.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from gateway.distribution.service import SETTINGS, distribute
from gateway.migrations import migrate

CITUS_DSN = os.environ.get("CITUS_DSN", "")
needs_citus = pytest.mark.skipif(not CITUS_DSN, reason="CITUS_DSN names no Citus coordinator")
_TEMPLATE = f"networkcore_{os.getpid()}"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Node:
    """A node as Citus knows it."""

    host: str
    port: int
    keeps_shards: bool

    def dsn(self, database: str) -> str:
        """The address of a database of this node, with the coordinator's credentials."""
        parts = urlsplit(CITUS_DSN)
        place = f"{parts.netloc.rpartition('@')[0]}@{self.host}:{self.port}"
        return urlunsplit((parts.scheme, place.removeprefix("@"), f"/{database}", parts.query, ""))


async def nodes() -> list[Node]:
    """The coordinator first, then the workers."""
    rows = await _fetch(
        CITUS_DSN,
        "SELECT nodename, nodeport, shouldhaveshards FROM pg_dist_node WHERE isactive ORDER BY groupid",
    )
    return [Node(host=row[0], port=row[1], keeps_shards=row[2]) for row in rows]


async def create_cluster(database: str, found: list[Node]) -> str:
    """A database with Citus on every node, joined; the coordinator's address."""
    for node in found:
        await _execute(node.dsn("postgres"), f"CREATE DATABASE {database}")
        await _execute(node.dsn(database), "CREATE EXTENSION citus")
    coordinator, *workers = found
    dsn = coordinator.dsn(database)
    await _fetch(dsn, "SELECT citus_set_coordinator_host($1, $2)", coordinator.host, coordinator.port)
    for worker in workers:
        await _fetch(dsn, "SELECT citus_add_node($1, $2)", worker.host, worker.port)
    return dsn


async def make_template() -> str:
    """Migrate and distribute a database that each test's is copied from; its name."""
    found = await nodes()
    dsn = await create_cluster(_TEMPLATE, found)
    await migrate(dsn)
    await distribute(dsn, report=lambda _line: None, shards=8)
    for node in found:  # the maintenance daemon of Citus is connected to it
        await _execute(node.dsn("postgres"), f"ALTER DATABASE {_TEMPLATE} ALLOW_CONNECTIONS false")
        await _disconnect(node, _TEMPLATE)
    return _TEMPLATE


async def drop_template() -> None:
    """Remove it from every node."""
    for node in await nodes():
        await _execute(node.dsn("postgres"), f"DROP DATABASE IF EXISTS {_TEMPLATE} WITH (FORCE)")


async def copy_template(template: str) -> tuple[str, str]:
    """A database like the template on every node: its name, and its address on the coordinator."""
    found, name = await nodes(), f"{template}_{next(_numbers)}"
    for node in found:
        await _disconnect(node, template)
        await _execute(node.dsn("postgres"), f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        for setting, value in SETTINGS:
            await _execute(node.dsn("postgres"), f"ALTER DATABASE {name} SET {setting} = {value}")
    return name, found[0].dsn(name)


async def drop_database(name: str) -> None:
    """Remove a test's database from every node."""
    for node in await nodes():
        await _execute(node.dsn("postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@asynccontextmanager
async def distributed_database(*, distributed: bool = True) -> AsyncIterator[str]:
    """A fresh migrated database, with the shards of production if `distributed`; its address."""
    found, name = await nodes(), f"networkcore_{os.getpid()}_{next(_numbers)}_whole"
    try:
        dsn = await create_cluster(name, found)
        await migrate(dsn)
        if distributed:
            await distribute(dsn, report=lambda _line: None)
        yield dsn
    finally:
        await drop_database(name)


@asynccontextmanager
async def create_database(node: Node) -> AsyncIterator[str]:
    """A fresh plain database of one node, without Citus; its address."""
    name = f"networkcore_{os.getpid()}_{next(_numbers)}_plain"
    await _execute(node.dsn("postgres"), f"CREATE DATABASE {name}")
    try:
        yield node.dsn(name)
    finally:
        await _execute(node.dsn("postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class RunningCluster:
    """The database of a stack that runs already: starts and stops nothing."""

    name = "Citus"
    log_path = Path(os.devnull)
    running = True
    pid = None

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def start(self) -> None:
        """It runs."""

    def stop(self) -> None:
        """It runs on."""


async def _disconnect(node: Node, database: str) -> None:
    for _ in range(50):
        left = await _fetch(
            node.dsn("postgres"),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
            database,
        )
        if not left:
            return
        await asyncio.sleep(0.05)


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch(dsn: str, statement: str, *arguments: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(statement, *arguments)
    finally:
        await connection.close()
