"""The schema and its distribution as rows; the statements that distribute a table.

Owns: these reads and calls of Citus. Must not know which table lies where, or in which order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.database import BareConnection, Connection, FromRow, named_queries
from gateway.distribution.node_functions import ShardGroup, Signature
from gateway.distribution.places import ForeignKey
from gateway.distribution.plan import PlacedTable, SchemaTable

_QUERIES: Final[Any] = named_queries("gateway", "citus/distribution.sql")
_COPY: Final[Any] = named_queries("gateway", "citus/endpoint_copy.sql")
PREPARED: Final = "networkcore_checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseNode(FromRow):
    """A machine of the distributed database; `keeps_shards`: rows are put there."""

    name: str
    port: int
    keeps_shards: bool


async def find_extension_version(connection: Connection) -> str | None:
    """The version of Citus in this database, such as 14.0-1; None where there is none."""
    found: str | None = await _QUERIES.extension_version(connection)
    return found


async def find_available_version(connection: Connection) -> str | None:
    """The version of Citus that this server could create; None where it has none."""
    found: str | None = await _QUERIES.available_version(connection)
    return found


async def list_nodes(connection: Connection) -> list[DatabaseNode]:
    """The nodes of this database, the coordinator first where it is one of them."""
    return [DatabaseNode.from_row(row) async for row in _QUERIES.nodes(connection)]


async def take_lock(connection: Connection, *, key: int) -> bool:
    """Take a lock of this connection, which ends with it; False where another has it."""
    taken: bool = await _QUERIES.take_lock(connection, key=key)
    return taken


async def list_tables(connection: Connection, *, distributed: bool) -> list[SchemaTable]:
    """Every table of ours; `distributed`: with the column that it is distributed by already."""
    by: dict[str, str] = {}
    if distributed:
        by = {row["name"]: row["column"] async for row in _QUERIES.distributed_tables(connection)}
    return [
        SchemaTable(
            name=row["name"],
            columns=frozenset(row["columns"]),
            unique_keys=tuple(frozenset(key.split(",")) for key in row["unique_keys"]),
            distributed_by=by.get(row["name"]),
        )
        async for row in _QUERIES.plain_tables(connection)
    ]


async def list_foreign_keys(connection: Connection) -> list[ForeignKey]:
    """Every foreign key of our tables."""
    return [
        ForeignKey(table=row["table"], name=row["name"], definition=row["definition"])
        async for row in _QUERIES.foreign_keys(connection)
    ]


async def set_for_database(connection: Connection, *, setting: str, value: str) -> None:
    """Give each later connection to this database a setting."""
    await connection.execute(await _QUERIES.set_for_database(connection, setting=setting, value=value))


async def drop_key(connection: Connection, key: ForeignKey) -> None:
    """Drop a foreign key; nothing where it is gone."""
    await connection.execute(f"ALTER TABLE {key.table} DROP CONSTRAINT IF EXISTS {key.name}")


async def add_key(connection: Connection, key: ForeignKey) -> None:
    """Add a foreign key, which every row is proved against."""
    await connection.execute(f"ALTER TABLE {key.table} ADD CONSTRAINT {key.name} {key.definition}")


async def put_shard_into_key(connection: Connection, table: str, *, name: str, columns: str) -> None:
    """Make a table's primary key anew with the shard in it."""
    await connection.execute(
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} PRIMARY KEY ({columns})"
    )


async def distribute_table(
    connection: Connection, table: PlacedTable, *, with_table: str | None, shard_count: int
) -> None:
    """Distribute a table with its rows, beside `with_table` where one is named, else into new shards."""
    if with_table is None:
        await _QUERIES.distribute_table(
            connection, name=table.name, column=table.column, colocate_with="none", shard_count=shard_count
        )
    else:
        await _QUERIES.distribute_with(
            connection, name=table.name, column=table.column, colocate_with=with_table
        )


async def prepared_types(connection: Connection, *, prepared: str) -> tuple[Sequence[str], Sequence[str]]:
    """The types of a prepared statement: of its parameters, and of the columns of its rows, in order."""
    found = await _QUERIES.types_of_prepared(connection, name=prepared)
    return found["parameters"], found["results"] or ()


async def list_shard_groups(connection: Connection) -> list[ShardGroup]:
    """The shards of Citus that lie beside each other, group by group; [] without the copy of endpoints."""
    endpoints = await _QUERIES.shard_of_copy(connection)
    if endpoints is None:
        return []
    return [
        ShardGroup(numbers=dict(zip(row["tables"], row["shards"], strict=True)), endpoints=endpoints)
        async for row in _QUERIES.shard_groups(connection)
    ]


async def list_functions(connection: Connection) -> set[str]:
    """The names of the functions on the nodes."""
    return {row["name"] async for row in _QUERIES.functions_on_nodes(connection)}


async def read_signature(connection: BareConnection, sql: str) -> Signature:
    """The types of a statement's parameters and of its columns."""
    async with connection.transaction():
        await connection.execute(f"PREPARE {PREPARED} AS {sql}")
    try:
        parameters, results = await prepared_types(connection, prepared=PREPARED)
    finally:
        await connection.execute(f"DEALLOCATE {PREPARED}")
    columns = [column.name for column in (await connection.prepare(sql)).get_attributes()]
    return Signature(parameters=parameters, columns=list(zip(columns, results, strict=True)))


async def create_function(connection: Connection, definition: str) -> None:
    """Create a function of the nodes on all of them."""
    await connection.execute(definition)


async def copy_endpoints(connection: Connection) -> int:
    """Keep a copy of the webhook endpoints on each node; how many were copied now.

    From the moment the endpoints are read, nobody changes one that the trigger does not copy.
    """
    for step in (_COPY.create_schema, _COPY.create_copy):
        await step(connection)
    if not await _COPY.is_reference(connection):
        await _COPY.make_reference(connection)
    await _COPY.create_trigger(connection)
    await _COPY.grant_access(connection)
    async with connection.transaction():
        await _COPY.lock_endpoints(connection)
        missing = [dict(row) async for row in _COPY.missing_endpoints(connection)]
        for row in missing:
            await _COPY.delete_copy(connection, id=row["id"])
            await _COPY.insert_copy(connection, **row)
    return len(missing)
