"""What the gateway holds open at the end of a period, in PostgreSQL.

Owns: the query. Must not know: who closes a period.
"""

from datetime import datetime

from gateway.database import Connection, named_queries

_sql = named_queries("gateway", "period_close.sql")


async def count_waiting_captures(connection: Connection, *, until: datetime) -> tuple[int, datetime | None]:
    """Sessions captured before an instant that are not cleared yet, and since when the oldest waits."""
    row = await _sql.waiting_captures(connection, until=until)
    return row["sessions"], row["since"]
