"""The PSP's refusals for mistakes of ours in PostgreSQL.

Owns: translation between rows and values. Must not know: what a code means. Each function is one statement.
"""

from datetime import datetime
from typing import Final

from gateway.database import Connection, named_queries

_sql: Final = named_queries("gateway", "psp_incidents.sql")


async def report(
    connection: Connection, *, account: str, code: str, detail: str, count: int, now: datetime
) -> None:
    """Count `count` requests that met it at wall time `now`."""
    await _sql.report(connection, account=account, code=code, detail=detail, count=count, now=now)


async def exists(connection: Connection, *, account: str, code: str) -> bool:
    """Whether it stands."""
    return bool(await _sql.exists(connection, account=account, code=code))


async def count_by_code(connection: Connection) -> dict[str, int]:
    """Requests that met each, while it stands."""
    return {row["code"]: row["requests"] async for row in _sql.counts(connection)}


async def forget(connection: Connection, *, account: str, code: str) -> bool:
    """It was mended. False: it does not stand."""
    return bool(await _sql.forget(connection, account=account, code=code))
