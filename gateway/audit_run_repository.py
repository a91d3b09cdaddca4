"""What each audit came to, in PostgreSQL.

Owns: the record of audits. Must not know: how anything is audited.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.database import Connection, named_queries

_sql: Final[Any] = named_queries("gateway", "audit_runs.sql")
AUDIT_RESULTS: Final = ("agrees", "differs", "not_compared")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRun:
    """What an audit came to, and the names of the checks that did not agree; times are wall time.

    `compared` has each check's `name`, `subject`, `result`, what it `compared` and what it `left_out`; it is
    empty in a run of a program that did not keep it. `daily`: the run went on from a checkpoint.
    """

    finished_at: datetime
    result: str
    checks: Sequence[str]
    began_at: datetime | None = None
    daily: bool = False
    compared: Sequence[Mapping[str, str]] = ()


async def record_run(connection: Connection, run: AuditRun) -> None:
    """Keep what an audit came to."""
    await _sql.insert_run(
        connection,
        began_at=run.began_at,
        finished_at=run.finished_at,
        result=run.result,
        checks=list(run.checks),
        daily=run.daily,
        compared=[dict(one) for one in run.compared],
    )


async def find_latest_run(connection: Connection) -> AuditRun | None:
    """What the last audit came to; None: there was none."""
    row = await _sql.latest_run(connection)
    return None if row is None else AuditRun(**dict(row))


async def find_latest_run_of(connection: Connection, *, daily: bool) -> AuditRun | None:
    """What the last audit of its kind came to: a daily one, or one of everything; None: there was none."""
    row = await _sql.latest_run_of(connection, daily=daily)
    return None if row is None else AuditRun(**dict(row))
