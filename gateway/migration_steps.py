"""How the SQL of a migration is read: in one transaction, or statement by statement outside one.

Owns: the marker of a file that runs outside a transaction, its statements, and which of these may be
repeated. Must not know: connections, the order of files.

A file whose first line is `-- outside a transaction` has statements that PostgreSQL refuses in one, or that
must not hold locks together. Each of them may be repeated after a failure without a second effect: an index
that is made concurrently, a constraint that is validated, a batch of rows that is changed until none is left.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.errors import MigrationError

OUTSIDE_MARKER: Final = "-- outside a transaction"
_COMMENT: Final = re.compile(r"--[^\n]*")
_INDEX: Final = re.compile(
    r"create\s+(?:unique\s+)?index\s+concurrently\s+(?P<index>[a-z_][a-z0-9_]*)\s+on\s+"
    r"(?P<schema>[a-z_][a-z0-9_]*)\.(?P<table>[a-z_][a-z0-9_]*)\b",
    re.IGNORECASE,
)
_DROP_INDEX: Final = re.compile(r"drop\s+index\s+concurrently\s+if\s+exists\s+\S+", re.IGNORECASE)
_VALIDATE: Final = re.compile(r"alter\s+table\s+\S+\s+validate\s+constraint\s+\S+", re.IGNORECASE)
_BATCH: Final = re.compile(r"(?:update|delete\s+from|with)\b.*\blimit\s+\d+", re.IGNORECASE | re.DOTALL)


class StepKind(StrEnum):
    """What one statement outside a transaction does, and so how it is repeated."""

    CREATE_INDEX = "create_index"  # left out where the index is there and valid
    ONCE = "once"  # dropping an index that may be gone, validating a constraint that may be valid
    BATCHES = "batches"  # rows by LIMIT, until none is left


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationStep:
    """One statement outside a transaction; `schema` and `index` of an index that is made."""

    kind: StepKind
    sql: str
    schema: str = ""
    index: str = ""


def runs_outside(sql: str) -> bool:
    """Whether a file's statements run outside a transaction."""
    return sql.split("\n", 1)[0].strip() == OUTSIDE_MARKER


def read_steps(sql: str, *, file: str) -> list[MigrationStep]:
    """Return the statements of a file that runs outside a transaction.

    Raises:
        MigrationError: it has none, or one that can't be repeated.
    """
    statements = [part.strip() for part in _COMMENT.sub("", sql).split(";") if part.strip()]
    if not statements:
        raise MigrationError(f"{file} has no statement")
    return [_step(statement, file=file) for statement in statements]


def _step(statement: str, *, file: str) -> MigrationStep:
    index = _INDEX.match(statement)
    if index is not None:
        return MigrationStep(
            kind=StepKind.CREATE_INDEX,
            sql=statement,
            schema=index["schema"].lower(),
            index=index["index"].lower(),
        )
    if _DROP_INDEX.fullmatch(statement) or _VALIDATE.fullmatch(statement):
        return MigrationStep(kind=StepKind.ONCE, sql=statement)
    if _BATCH.match(statement):
        return MigrationStep(kind=StepKind.BATCHES, sql=statement)
    raise MigrationError(
        f"{file} runs outside a transaction, and `{' '.join(statement.split())[:60]}` can't be repeated; "
        "allowed are CREATE INDEX CONCURRENTLY name ON schema.table, DROP INDEX CONCURRENTLY IF EXISTS, "
        "VALIDATE CONSTRAINT, and UPDATE or DELETE with LIMIT"
    )
