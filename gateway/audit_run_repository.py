"""What each audit came to, in PostgreSQL.

Owns: the record of audits. Must not know: how anything is audited.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.database import Connection, named_queries

_sql: Final[Any] = named_queries("gateway", "audit_runs.sql")
AUDIT_RESULTS: Final = ("agrees", "differs", "not_compared")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRun:
    """What an audit came to, and the names of the checks that did not agree; `finished_at` is wall time."""

    finished_at: datetime
    result: str
    checks: Sequence[str]


async def record_run(connection: Connection, run: AuditRun) -> None:
    """Keep what an audit came to."""
    await _sql.insert_run(connection, finished_at=run.finished_at, result=run.result, checks=list(run.checks))


async def find_latest_run(connection: Connection) -> AuditRun | None:
    """What the last audit came to; None: there was none."""
    row = await _sql.latest_run(connection)
    return None if row is None else AuditRun(**dict(row))
