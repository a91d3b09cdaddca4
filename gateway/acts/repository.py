"""Administrative acts and their seals as rows.

Owns: reads of gateway.admin_act, what an operation adds to it, and gateway.admin_act_seal. Must not know who
acts or why. Rows of both are added and never changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.acts.hash_chain import SealableAct
from gateway.acts.tables import WatchedTable
from gateway.database import Connection, FromRow, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "admin_acts.sql")
# Every column of an act but its id, its time and its JSON, in the order in which they are hashed.
_TEXTS: Final = (
    "kind",
    "principal",
    "key_prefix",
    "party_id",
    "scope",
    "request_id",
    "operation",
    "path",
    "reason",
    "object_table",
    "object_id",
    "process",
    "database_user",
    "transaction_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActRecord(FromRow):
    """One administrative act, as gateway.admin_act has it."""

    id: int
    acted_at: datetime
    kind: str
    principal: str | None
    key_prefix: str | None
    party_id: str | None
    scope: str | None
    request_id: str | None
    operation: str | None
    path: str | None
    reason: str | None
    object_table: str | None
    object_id: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    process: str
    database_user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActFilter:
    """Which acts are wanted; all that is given must match. `unnamed`: those without a principal."""

    principal: str | None = None
    unnamed: bool = False
    object_table: str | None = None
    object_id: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A place in the hash chain with the act that it covers; `act` None: the act is gone."""

    position: int
    act_id: int
    hash: bytes
    act: SealableAct | None


async def set_act(connection: Connection, act: str) -> None:
    """Name who acts, as JSON, for the rest of the transaction."""
    await _QUERIES.set_act(connection, act=act)


async def record_operation(connection: Connection) -> None:
    """Add the act of the transaction that wrote something of which there is no act yet."""
    await _QUERIES.record_operation(connection)


async def record_reading(connection: Connection, reading: Mapping[str, str | None]) -> None:
    """Add the act of reading personal data."""
    await _QUERIES.record_reading(connection, **reading)


async def list_acts(
    connection: Connection, wanted: ActFilter, *, before: int | None, limit: int
) -> list[ActRecord]:
    """Acts, the newest first, those older than `before`."""
    rows = _QUERIES.list_acts(
        connection,
        principal=wanted.principal,
        unnamed=wanted.unnamed,
        object_table=wanted.object_table,
        object_id=wanted.object_id,
        request_id=wanted.request_id,
        since=wanted.since,
        until=wanted.until,
        before=before,
        limit=limit,
    )
    return [ActRecord.from_row(row) async for row in rows]


async def lock_seals(connection: Connection) -> None:
    """Wait for whoever seals, and seal alone until the transaction ends."""
    await _QUERIES.lock_seals(connection)


async def find_last_seal(connection: Connection) -> tuple[int, bytes] | None:
    """The position and hash of the chain's end; None: nothing is sealed."""
    row = await _QUERIES.last_seal(connection)
    return None if row is None else (row["position"], row["hash"])


async def list_unsealed(connection: Connection, *, limit: int) -> list[SealableAct]:
    """The oldest acts that no seal covers."""
    return [_sealable(row) async for row in _QUERIES.list_unsealed(connection, limit=limit)]


async def add_seals(connection: Connection, *, after: int, seals: Sequence[tuple[int, bytes]]) -> None:
    """Continue the chain after the position `after` with (act, hash) pairs."""
    await _QUERIES.insert_seals(
        connection,
        positions=list(range(after + 1, after + 1 + len(seals))),
        act_ids=[act_id for act_id, _ in seals],
        hashes=[digest for _, digest in seals],
    )


async def list_sealed(connection: Connection, *, after: int, limit: int) -> list[Seal]:
    """The chain from the position after `after`, with the acts."""
    rows = _QUERIES.list_sealed(connection, after=after, limit=limit)
    return [
        Seal(
            position=row["position"],
            act_id=row["act_id"],
            hash=row["hash"],
            act=None if row["id"] is None else _sealable(row),
        )
        async for row in rows
    ]


async def count_unsealed(connection: Connection) -> tuple[int, datetime | None]:
    """How many acts no seal covers yet, and when the oldest of them was."""
    row = await _QUERIES.count_unsealed(connection)
    return row["acts"], row["oldest"]


async def watch_tables(connection: Connection, tables: Sequence[WatchedTable]) -> list[str]:
    """Put the triggers on each of these tables that is there and lacks them; the names of those."""
    if not await _QUERIES.can_watch(connection):
        return []
    found: dict[str, set[tuple[str, ...]]] = {}
    async for row in _QUERIES.list_watched(connection):
        found.setdefault(row["name"], set()).add(tuple(row["arguments"].decode().split("\0")[1:3]))
    missing = [table for table in tables if found.get(table.name) != {table.trigger_arguments}]
    for table in missing:
        await _QUERIES.watch_table(
            connection, name=table.name, hidden=table.hidden_text, columns=table.columns_text
        )
    return [table.name for table in missing]


def _sealable(row: Mapping[str, Any]) -> SealableAct:
    return SealableAct(
        id=row["id"],
        acted_at=row["acted_at"],
        texts=[None if row[name] is None else str(row[name]) for name in _TEXTS],
        before=row["before_text"],
        after=row["after_text"],
    )
