"""Plans every named statement on a distributed database: which shards it asks, and what is rejected.

Owns: how a statement is planned without being run, and what its plan says. Must not know a statement. A plan
shows what Citus rejects when it plans; what it rejects as it runs, tests run.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import asyncpg

from gateway.database import BareConnection, connect
from gateway.distribution import repository
from gateway.distribution.named_statements import FiledStatement, named_statements
from gateway.distribution.plan import DistributionError
from gateway.distribution.service import check_citus, missing_functions, read_plan
from gateway.distribution.several_shards import NOT_DISTRIBUTED, reason_of
from gateway.named_shards import with_shards_named
from gateway.shard_statements import OF_THE_CALLS, ShardStatement

_SHARD: Final = 5
_READ: Final = "gateway/payments: load_session_with_payment"
# A value of each type, as a literal: a plan must not depend on any of them.
_LITERALS: Final = {
    "bigint": "5",
    "boolean": "true",
    "bytea": "'\\x00'",
    "character": "'E'",
    "date": "'2026-01-01'",
    "inet": "'127.0.0.1'",
    "integer": "5",
    "interval": "'1 second'",
    "json": "'{}'",
    "jsonb": "'{}'",
    "numeric": "1",
    "smallint": "5",
    "text": "'1'",  # JSON and a number, too
    "timestamp with time zone": "'2026-01-01T00:00Z'",
    "uuid": "'00000000-0000-7000-8000-000000000005'",
    "xid8": "'5'",
}
_PARAMETER: Final = re.compile(r"\$(\d+)")


class PlannedOn(StrEnum):
    """What a plan asks."""

    COORDINATOR = "coordinator"
    ONE_SHARD = "one shard"
    SEVERAL_SHARDS = "several shards"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedStatement:
    """A statement and its plan. `shard_queries`: to shards, in all; `reason`: why it may ask several."""

    place: str
    planned_on: PlannedOn
    shard_queries: int = 0
    reason: str | None = None
    error: str = ""

    @property
    def is_at_fault(self) -> bool:
        """It is rejected, or asks several shards and is not listed."""
        return self.planned_on is PlannedOn.REJECTED or (
            self.planned_on is PlannedOn.SEVERAL_SHARDS and self.reason is None
        )


async def check_statements(dsn: str) -> Sequence[CheckedStatement]:
    """Plan every named statement on the distributed database at `dsn`; nothing is run or changed.

    Raises:
        DistributionError: the database is not distributed, or not wholly.
        DatabaseUnreachableError: no PostgreSQL answers at `dsn`.
    """
    async with connect(dsn, application="networkcore distribute", statement_timeout_ms=0) as connection:
        await check_citus(connection)
        plan = await read_plan(connection)
        if plan.tables or plan.added:
            raise DistributionError("the database is not wholly distributed; run networkcore distribute")
        checked = [
            await _check(connection, one)
            for one in named_statements(shard=_SHARD)
            if one.place not in NOT_DISTRIBUTED
        ]
        others = [
            await _check_call(connection, statement, missing=len(missing))
            for statement, missing in await missing_functions(connection)
            if statement.statement.name not in OF_THE_CALLS
        ]
        return [*checked, *others]


async def check_calls(dsn: str) -> Sequence[CheckedStatement]:
    """What the statements of a session's two calls send to shards: those that write, then the read.

    A name that is written beside the session lies in a second shard. A statement whose functions are not on
    the nodes is rejected. Raises what `check_statements` raises.
    """
    async with connect(dsn, application="networkcore distribute", statement_timeout_ms=0) as connection:
        await check_citus(connection)
        calls = [
            await _check_call(connection, statement, missing=len(missing))
            for statement, missing in await missing_functions(connection)
            if statement.statement.name in OF_THE_CALLS
        ]
        read = next(one for one in named_statements(shard=_SHARD) if one.place == _READ)
        return [*calls, await _check(connection, read)]


async def _check_call(
    connection: BareConnection, statement: ShardStatement, *, missing: int
) -> CheckedStatement:
    group = "the two calls" if statement.statement.name in OF_THE_CALLS else "beside the shard"
    place = f"{group}: {statement.statement.name}"
    if missing:
        why = f"{missing} of its functions are not on the nodes; run networkcore distribute"
        return CheckedStatement(place=place, planned_on=PlannedOn.REJECTED, error=why)
    signature = await repository.read_signature(connection, statement.statement.sql)
    values = [_literal(one) for one in signature.parameters]
    queries: list[int] = []
    try:
        for sent in filter(None, (statement.query, statement.lookup)):
            queries += _task_counts(await _explain(connection, _with_values(sent, values)))
    except asyncpg.PostgresError as error:
        why = f"{str(error).splitlines()[0]}; run networkcore distribute"
        return CheckedStatement(place=place, planned_on=PlannedOn.REJECTED, error=why)
    return _planned(place, queries)


async def _check(connection: BareConnection, statement: FiledStatement) -> CheckedStatement:
    try:
        sent = replace(statement, sql=with_shards_named(statement.sql))
        queries = list(_task_counts(await _plan(connection, sent)))
    except asyncpg.PostgresError as error:
        return CheckedStatement(
            place=statement.place, planned_on=PlannedOn.REJECTED, error=str(error).splitlines()[0]
        )
    return _planned(statement.place, queries)


def _planned(place: str, queries: Sequence[int]) -> CheckedStatement:
    """`queries`: how many to shards each part of the plan makes."""
    if not queries:
        return CheckedStatement(place=place, planned_on=PlannedOn.COORDINATOR)
    several = max(queries) > 1
    return CheckedStatement(
        place=place,
        planned_on=PlannedOn.SEVERAL_SHARDS if several else PlannedOn.ONE_SHARD,
        shard_queries=sum(queries),
        reason=reason_of(place) if several else None,
    )


async def _plan(connection: BareConnection, statement: FiledStatement) -> Any:
    """The plan as JSON.

    EXPLAIN of a prepared statement loses its parameters in a plan of several parts (Citus 14.0); such a
    statement, which runs, is planned with its values written into it.
    """
    async with connection.transaction():
        await connection.execute(f"PREPARE {repository.PREPARED} AS {statement.sql}")
    try:
        types, _ = await repository.prepared_types(connection, prepared=repository.PREPARED)
        values = [_literal(one) for one in types]
        execute = f"EXECUTE {repository.PREPARED}" + (f"({', '.join(values)})" if values else "")
        try:
            return await _explain(connection, execute)
        except asyncpg.PostgresError:
            return await _explain(connection, _with_values(statement.sql, values))
    finally:
        await connection.execute(f"DEALLOCATE {repository.PREPARED}")


def _with_values(sql: str, values: Sequence[str]) -> str:
    return _PARAMETER.sub(lambda found: f"({values[int(found[1]) - 1]})", sql)


async def _explain(connection: BareConnection, statement: str) -> Any:
    async with connection.transaction():
        return await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}")


def _literal(type_name: str) -> str:
    bare = type_name.removesuffix("[]")
    known = _LITERALS.get(bare.partition("(")[0])
    if known is None:
        return f"NULL::{type_name}"
    return f"ARRAY[{known}]::{type_name}" if bare != type_name else f"{known}::{type_name}"


def _task_counts(node: Any) -> Iterator[int]:
    """How many queries to shards each part of a plan makes."""
    match node:
        case dict():
            for key, value in node.items():
                if key == "Task Count":
                    yield value
                else:
                    yield from _task_counts(value)
        case list():
            for value in node:
                yield from _task_counts(value)
        case str() if node.startswith("["):
            yield from _task_counts(json.loads(node))
        case _:
            return
