"""The functions on the nodes that run a session's two calls beside its shard: made of the statements' texts.

Owns: their DDL, and which of them are missing. Must not know what a statement means.

For each statement there is one function for each shard of Citus, with the names of that shard's tables in
it; one that finds it by the shard whose query calls it; and, where the coordinator has a part, one for both.
A shard that is moved keeps its name; one that is split has another, and its calls run as on one PostgreSQL
until `distribute` has run again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.distribution.plan import DistributionError
from gateway.shard_statements import SCHEMA, ShardStatement, plain

LEASES: Final = "gateway.shard_lease"
ENDPOINTS: Final = "gateway.webhook_endpoint"
# The rest of a statement may call the table that it inserts into by its own name.
_INSERT: Final = re.compile(r"(INSERT INTO \w+\.(\w+))(?! AS)\b")
_TABLE: Final = re.compile(r"\b(?:gateway|clearing|pnc)\.[a-z_]+\b(?!\()")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardGroup:
    """Shards of Citus that lie beside each other: the number of each table's; `endpoints`, of the copy."""

    numbers: Mapping[str, int]
    endpoints: int

    def name(self, table: str) -> str:
        """A table as it is called on the node. Raises DistributionError: it does not lie beside the shard."""
        if table == ENDPOINTS:
            return f"{SCHEMA}.webhook_endpoint_{self.endpoints}"
        if table not in self.numbers:
            raise DistributionError(f"{table} does not lie beside the shard; mark the part with -- elsewhere")
        return f"{table}_{self.numbers[table]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The types of a statement's parameters, and name and type of each column that it returns."""

    parameters: Sequence[str]
    columns: Sequence[tuple[str, str]]

    def after(self, *first: str) -> str:
        """The head of a function: its parameters and its columns."""
        columns = ", ".join(f"{name} {type_}" for name, type_ in self.columns)
        return f"({', '.join((*first, *self.parameters))}) RETURNS TABLE ({columns})"


def functions(
    statement: ShardStatement, signature: Signature, groups: Sequence[ShardGroup]
) -> Iterator[tuple[str, str]]:
    """Yield each function's name and the statement that creates it.

    Raises:
        DistributionError: the statement reads or writes what does not lie beside its shard.
    """
    name, count = statement.function, len(signature.parameters)
    named = _INSERT.sub(r"\1 AS \2", statement.text)
    for group in groups:
        text = _TABLE.sub(lambda found, group=group: group.name(found[0]), named)  # type: ignore[misc]
        own = f"{name}_{group.numbers[LEASES]}"
        yield own, _function(own, signature.after(), f"RETURN QUERY {text};")
    given, passed = _places(count, first=2), _places(count, first=1)
    suffix = "substring($1::regclass::text FROM '_[0-9]+$')"
    found = f"'SELECT * FROM {SCHEMA}.{name}' || {suffix} || '({passed})'"  # noqa: S608 - names of ours
    finder = f"{name}_of_shard"
    yield finder, _function(finder, signature.after("oid"), f"RETURN QUERY EXECUTE {found} USING {given};")
    if statement.at_coordinator:
        yield name, _function(name, signature.after(), _with_coordinator(statement, signature))


def _with_coordinator(statement: ShardStatement, signature: Signature) -> str:
    columns = ", ".join(column for column, _ in signature.columns)
    lines = []
    if statement.is_whole:
        whole = plain(statement.statement.sql)
        lines.append(f"IF ({statement.is_whole}) THEN RETURN QUERY {whole}; RETURN; END IF;")
    if statement.before:
        lines.append(f"{statement.before};")
    lines.append(f"{statement.query} INTO STRICT {columns};")
    if statement.lookup:
        lines.append(f"IF done AND ({statement.is_named}) THEN {statement.lookup}; END IF;")
    return "\n".join((*lines, "RETURN NEXT;"))


def _function(name: str, head: str, body: str) -> str:
    return (
        f"CREATE OR REPLACE FUNCTION {SCHEMA}.{name}{head} LANGUAGE plpgsql AS $body$\n"
        f"#variable_conflict use_column\nBEGIN\n{body}\nEND $body$"
    )


def _places(count: int, *, first: int) -> str:
    return ", ".join(f"${number}" for number in range(first, first + count))
