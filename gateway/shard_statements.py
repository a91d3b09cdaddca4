"""The statements of a session's two calls and what the PSP tells of it, run beside the session's shard.

Owns: the text that such a statement has there, made of its text in the .sql file, and how it is called.
Must not know: how the functions get onto the nodes (gateway/distribution/node_functions.py).

Citus sends each part of a statement that writes as a query of its own, with copies between them. So a
statement whose rows all lie in one shard is a function on the nodes, called in one query to that shard: to
Citus it is a query that writes (it locks the shard against being moved, and commits on two nodes as always).
What its parts do elsewhere, marked so in the file, is done at the coordinator in the same transaction.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final, Self

from gateway.database import NamedStatement, named_queries, named_statement

SCHEMA: Final = "node"
_ELSEWHERE: Final = re.compile(r"(\w+) AS \( +-- elsewhere(?:: (?P<columns>[^\n]+))?\n.*?\n(?=\))", re.DOTALL)
_COMMENT: Final = re.compile(r"--[^\n]*")
_PARAMETER: Final = re.compile(r"\$(\d+)")
_FORM: Final = "3"  # of the functions around the text; another one gives them other names


# The statements of a session's two calls that write.
OF_THE_CALLS: Final = frozenset({"open_authorization", "record_hold", "complete_session", "record_end"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStatement:
    """A statement that runs beside its shard.

    `is_whole`, `before`, `is_named` and `lookup`: what is done at the coordinator, or empty; with `$1` for
    the parameters of the statement.
    """

    statement: NamedStatement
    is_whole: str = ""
    before: str = ""
    is_named: str = ""
    lookup: str = ""

    @classmethod
    def named(cls, file: str, name: str) -> Self:
        """The statement of that name in a file of the gateway."""
        statement = named_statement(named_queries("gateway", file), name)
        found = named_queries("gateway", "citus/calls.sql")
        parts = {
            part: _renumbered(named_statement(found, f"{name}_{part}"), statement)
            for part in ("is_whole", "before", "is_named", "lookup")
            if f"{name}_{part}" in found.available_queries
        }
        return cls(statement=statement, **parts)

    @property
    def at_coordinator(self) -> bool:
        """Whether a part of it is done at the coordinator."""
        return bool(self.is_whole or self.before or self.lookup)

    @property
    def function(self) -> str:
        """The name of its functions: another text has another one, so that two releases run side by side."""
        texts = (_FORM, self.statement.sql, self.is_whole, self.before, self.is_named, self.lookup)
        return f"{self.statement.name}_{hashlib.sha256(chr(0).join(texts).encode()).hexdigest()[:8]}"

    @property
    def text(self) -> str:
        """What runs beside the shard: the parts that lie elsewhere are empty, comments are gone."""

        def emptied(found: re.Match[str]) -> str:
            columns = [column.split() for column in (found["columns"] or "one integer").split(",")]
            values = ", ".join(f"NULL::{type_} AS {name}" for name, type_ in columns)
            return f"{found[1]} AS (SELECT {values} WHERE false\n"

        return plain(_ELSEWHERE.sub(emptied, self.statement.sql))

    @property
    def query(self) -> str:
        """The one query that is sent to the shard."""
        given = ", ".join(self._places)
        shard = f"${self.statement.parameters.index('shard') + 1}::smallint"
        return (  # its first part changes nothing; by it Citus knows a query that writes
            f"WITH writes AS (UPDATE gateway.shard_lease SET fence = fence WHERE shard = {shard}"  # noqa: S608 - names of ours
            f" AND fence < 0 RETURNING 1) SELECT answer.* FROM gateway.shard_lease AS l CROSS JOIN LATERAL"
            f" {SCHEMA}.{self.function}_of_shard(l.tableoid, {given}) AS answer WHERE l.shard = {shard}"
        )

    @property
    def call(self) -> NamedStatement:
        """What a caller runs: the same parameters in the same order, the same columns."""
        sql = f"SELECT * FROM {SCHEMA}.{self.function}({', '.join(self._places)})"  # noqa: S608 - names of ours
        return NamedStatement(
            name=self.statement.name,
            sql=sql if self.at_coordinator else self.query,
            parameters=self.statement.parameters,
        )

    @property
    def _places(self) -> list[str]:
        return [f"${number}" for number in range(1, len(self.statement.parameters) + 1)]


def plain(sql: str) -> str:
    """A statement without comments and its last semicolon."""
    return _COMMENT.sub("", sql).strip().removesuffix(";")


def _renumbered(part: NamedStatement, statement: NamedStatement) -> str:
    """The part's text with the parameters' numbers of the statement."""

    def number(found: re.Match[str]) -> str:
        return f"${statement.parameters.index(part.parameters[int(found[1]) - 1]) + 1}"

    return _PARAMETER.sub(number, plain(part.sql))


def shard_statements() -> dict[str, ShardStatement]:
    """All that run so, by their names: the four of the two calls that write, then the others."""
    found: Any = (
        ("payments.sql", "open_authorization"),
        ("psp_requests.sql", "record_hold"),
        ("payments.sql", "complete_session"),
        ("psp_requests.sql", "record_end"),
        ("payments.sql", "keep_psp_event"),
    )
    return {name: ShardStatement.named(file, name) for file, name in found}
