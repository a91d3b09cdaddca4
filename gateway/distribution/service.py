"""Brings a migrated database into its distributed form, from wherever it stands.

Owns: the order of the steps, each done once and visible in the database itself, so that a run that died is
completed by the next. Must not know how a statement is written.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from gateway.database import BareConnection, connect
from gateway.distribution import repository
from gateway.distribution.node_functions import functions
from gateway.distribution.places import KEYS_WITH_SHARD
from gateway.distribution.plan import (
    DistributionError,
    DistributionPlan,
    Place,
    place_table,
    plan_distribution,
)
from gateway.migrations import list_pending
from gateway.shard_statements import ShardStatement, shard_statements

# Citus 14 alone is tried; what it rejects and scatters differs from release to release.
SUPPORTED_MAJOR: Final = 14
# Shards of Citus, in which the 64 of the sessions lie by hash; each may lie on a node of its own.
DATABASE_SHARDS: Final = 32
# Each later connection's settings. Without the first, the driver's look-up of types is 60 times slower.
SETTINGS: Final = (("citus.override_table_visibility", "off"),)
_LOCK_KEY: Final = int.from_bytes(hashlib.sha256(b"networkcore distribute").digest()[:8], "big", signed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How a database is distributed: nodes with rows, tables by place, keys that it can't keep."""

    version: str
    nodes: int
    by_shard: int
    by_name: int
    on_coordinator: int


async def distribute(
    dsn: str, *, report: Callable[[str], None], shards: int = DATABASE_SHARDS
) -> Distribution:
    """Do what is left to do; one line for each step. A second run changes nothing.

    `shards`: how many pieces of the database the 64 shards of the sessions lie in, for the first table that
    is distributed; all later ones follow it.

    Raises:
        DistributionError: Citus is missing or of another version, no node keeps rows, another run is under
            way, or a step failed; what was done stays done.
        DatabaseUnreachableError: no PostgreSQL answers at `dsn`.
        MigrationError: as `list_pending`.
    """
    if pending := await list_pending(dsn):
        raise DistributionError(
            f"{len(pending)} migrations are pending, from {pending[0]} on; run networkcore migrate first"
        )
    async with connect(dsn, application="networkcore distribute", statement_timeout_ms=0) as connection:
        version = await check_citus(connection)
        nodes = [node for node in await repository.list_nodes(connection) if node.keeps_shards]
        if not nodes:
            raise DistributionError(
                "no node keeps rows; add one: SELECT citus_add_node('host', 5432) "
                "(docs/operations/scale-out.md)"
            )
        if not await repository.take_lock(connection, key=_LOCK_KEY):
            raise DistributionError("another process distributes this database; wait for it")
        for setting, value in SETTINGS:
            await repository.set_for_database(connection, setting=setting, value=value)
            report(f"set {setting} = {value} for every later connection")
        try:
            await _carry_out(connection, await read_plan(connection), shards=shards, report=report)
            await _put_calls_on_nodes(connection, report=report)
        except asyncpg.PostgresError as error:
            raise DistributionError(
                f"a step failed, what was done before it stays done: {str(error).splitlines()[0]}; "
                "mend it and start again"
            ) from error
        return await _describe(connection, version=version, nodes=len(nodes))


async def check_citus(connection: BareConnection) -> str:
    """Return the version of Citus in this database.

    Raises:
        DistributionError: there is none, or one that was never tried.
    """
    version = await repository.find_extension_version(connection)
    if version is None:
        if await repository.find_available_version(connection) is None:
            raise DistributionError("this PostgreSQL has no Citus; install it (docs/operations/scale-out.md)")
        raise DistributionError("Citus is not in this database yet; run CREATE EXTENSION citus on each node")
    if int(version.partition(".")[0]) != SUPPORTED_MAJOR:
        raise DistributionError(f"this is Citus {version}; {SUPPORTED_MAJOR} is supported")
    return version


async def read_plan(connection: BareConnection) -> DistributionPlan:
    """What is left to do to this database. Raises DistributionError: as `plan_distribution`."""
    return plan_distribution(
        await repository.list_tables(connection, distributed=True),
        await repository.list_foreign_keys(connection),
    )


async def _carry_out(
    connection: BareConnection, plan: DistributionPlan, *, shards: int, report: Callable[[str], None]
) -> None:
    """Do the steps of a plan, each in a transaction of its own."""
    for key in plan.dropped:
        await repository.drop_key(connection, key)
        report(f"dropped {key.table} {key.name}")
    for number, table in enumerate(plan.tables, 1):
        if with_shard := KEYS_WITH_SHARD.get(table.name):
            name, columns = with_shard
            await repository.put_shard_into_key(connection, table.name, name=name, columns=columns)
            report(f"put the shard into {table.name} {name}")
        with_table = await _companion(connection, table.name) if table.place is Place.SHARD else None
        await repository.distribute_table(connection, table, with_table=with_table, shard_count=shards)
        report(f"distributed {table.name} by {table.column} ({number} of {len(plan.tables)})")
    for key in plan.added:
        await repository.add_key(connection, key)
        report(f"added {key.table} {key.name}")


async def _put_calls_on_nodes(connection: BareConnection, *, report: Callable[[str], None]) -> None:
    """Create the functions by which a session's two calls run beside its shard, and what they read there."""
    if copied := await repository.copy_endpoints(connection):
        report(f"copied {copied} webhook endpoints to each node")
    for statement, missing in await missing_functions(connection):
        for definition in missing.values():
            await repository.create_function(connection, definition)
        if missing:
            report(f"put {statement.statement.name} on the nodes: {len(missing)} functions")


async def missing_functions(
    connection: BareConnection,
) -> Sequence[tuple[ShardStatement, Mapping[str, str]]]:
    """Each statement of the two calls, with the names and definitions of its functions that are not there."""
    groups = await repository.list_shard_groups(connection)
    there = await repository.list_functions(connection)
    found = []
    for statement in shard_statements().values():
        signature = await repository.read_signature(connection, statement.statement.sql)
        needed = functions(statement, signature, groups)
        found.append((statement, {name: text for name, text in needed if name not in there}))
    return found


async def _companion(connection: BareConnection, name: str) -> str | None:
    """A table that is distributed by the shard already: all others lie beside it."""
    for table in await repository.list_tables(connection, distributed=True):
        if table.name != name and table.distributed_by and place_table(table).place is Place.SHARD:
            return table.name
    return None


async def _describe(connection: BareConnection, *, version: str, nodes: int) -> Distribution:
    places = [place_table(t).place for t in await repository.list_tables(connection, distributed=True)]
    return Distribution(
        version=version,
        nodes=nodes,
        by_shard=places.count(Place.SHARD),
        by_name=places.count(Place.NAME),
        on_coordinator=places.count(Place.COORDINATOR),
    )
