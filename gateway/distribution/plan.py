"""What is done to a schema so that it is distributed, in order: pure.

Owns: the place of each table, the order of tables, and what becomes of each foreign key. Must not know a
connection. A table lies on the shard that its rows name where every unique key of it holds the shard; a
distributed database can't keep another key unique.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.distribution.places import (
    BY_NAME,
    FEW_ROWS,
    KEYS_BETWEEN_SHARDS,
    KEYS_WITH_SHARD,
    ON_COORDINATOR,
    ForeignKey,
)
from gateway.errors import GatewayError

SHARD_COLUMN: Final = "shard"


class DistributionError(GatewayError):
    """The database can't be distributed as it is; the text says what to do."""


class Place(StrEnum):
    """Where the rows of a table lie."""

    SHARD = "shard"  # distributed by the shard, together with all others of these
    NAME = "name"  # distributed by a foreign name
    COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaTable:
    """A table of ours: its columns, the columns of each unique key, by what it is distributed already."""

    name: str
    columns: frozenset[str]
    unique_keys: tuple[frozenset[str], ...]
    distributed_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedTable:
    """A table with its place, and the column that it is distributed by; None: it stays on the coordinator."""

    name: str
    place: Place
    column: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionPlan:
    """What is to be done, in this order; empty where everything is done.

    `dropped`: keys to drop first, among them those that a distributed database can't keep; `tables`: to
    distribute, referenced ones first; `added`: keys to add at last; `on_coordinator`: all others, by name.
    """

    dropped: tuple[ForeignKey, ...]
    tables: tuple[PlacedTable, ...]
    added: tuple[ForeignKey, ...]
    on_coordinator: tuple[str, ...]


def place_table(table: SchemaTable) -> PlacedTable:
    """Return where a table lies.

    Raises:
        DistributionError: `places.py` does not say so, or says another thing than the table's keys.
    """
    listed = [reason for reason, names in ON_COORDINATOR.items() if table.name in names]
    if column := BY_NAME.get(table.name):
        if all(column in key for key in table.unique_keys):
            return PlacedTable(name=table.name, place=Place.NAME, column=column)
        raise DistributionError(f"{table.name}: a unique key lacks {column}, which distributes it")
    if SHARD_COLUMN not in table.columns:
        if len(listed) == 1:
            return PlacedTable(name=table.name, place=Place.COORDINATOR, column=None)
        raise DistributionError(f"{table.name} has no place; name it once in gateway/distribution/places.py")
    if table.name in FEW_ROWS:
        return PlacedTable(name=table.name, place=Place.COORDINATOR, column=None)
    if listed:
        raise DistributionError(f"{table.name} has the shard and is kept on the coordinator: {listed[0]}")
    if table.name not in KEYS_WITH_SHARD and not all(SHARD_COLUMN in key for key in table.unique_keys):
        raise DistributionError(f"{table.name}: a unique key lacks the shard, which distributes it")
    return PlacedTable(name=table.name, place=Place.SHARD, column=SHARD_COLUMN)


def plan_distribution(tables: Sequence[SchemaTable], keys: Sequence[ForeignKey]) -> DistributionPlan:
    """Return what is left to do to a schema with these tables and foreign keys.

    Raises:
        DistributionError: a table has no place, is distributed by another column, or keys form a circle.
    """
    placed = {table.name: place_table(table) for table in tables}
    for table in tables:
        if table.distributed_by not in (None, placed[table.name].column):
            raise DistributionError(
                f"{table.name} is distributed by {table.distributed_by}, not by {placed[table.name].column}; "
                "undistribute it first: SELECT undistribute_table(...)"
            )
    by_shard = {name for name, table in placed.items() if table.place is Place.SHARD}
    undone = {one.name for one in tables if one.distributed_by is None and placed[one.name].column}
    kept = [key for key in keys if {key.table, key.referenced} <= by_shard]
    if unknown := [key.name for key in kept if key not in KEYS_BETWEEN_SHARDS]:
        raise DistributionError(f"{unknown[0]} is not named in gateway/distribution/places.py")
    touching = [key for key in keys if {key.table, key.referenced} & undone]
    dropped = tuple(key for key in touching if placed[key.table].column or placed[key.referenced].column)
    present = {(key.table, key.name) for key in keys} - {(key.table, key.name) for key in dropped}
    return DistributionPlan(
        dropped=dropped,
        tables=tuple(placed[name] for name in _referenced_first(placed) if name in undone),
        added=tuple(key for key in KEYS_BETWEEN_SHARDS if (key.table, key.name) not in present),
        on_coordinator=tuple(sorted(name for name, table in placed.items() if table.column is None)),
    )


def _referenced_first(placed: dict[str, PlacedTable]) -> Iterator[str]:
    """Yield the distributed tables, each after those that it points at; the first is what others join."""
    wanted = sorted(name for name, table in placed.items() if table.column is not None)
    points_at = {
        name: {key.referenced for key in KEYS_BETWEEN_SHARDS if key.table == name} - {name} for name in wanted
    }
    done: set[str] = set()
    while len(done) < len(wanted):
        ready = [name for name in wanted if name not in done and points_at[name] <= done]
        if not ready:
            raise DistributionError("the keys between distributed tables go round in a circle")
        done.update(ready)
        yield from ready
