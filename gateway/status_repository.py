"""The state of the queues as rows: tasks, unanswered PSP requests, webhook deliveries, holds about to end.

Owns: these reads. Must not know: who shows them or what counts as late.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from gateway.database import Connection, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "status.sql")
Row = Mapping[str, Any]


async def count_tasks(connection: Connection, *, wall_now: datetime) -> list[Row]:
    """Each kind of task: `kind`, `waiting`, `due`, `oldest_due_at`, `exceptions`."""
    return [row async for row in _QUERIES.tasks(connection, wall_now=wall_now)]


async def open_psp_requests(connection: Connection) -> list[Row]:
    """Each kind of PSP request without an outcome: `kind`, `open`, `oldest_at`."""
    return [row async for row in _QUERIES.open_psp_requests(connection)]


async def count_deliveries(connection: Connection, *, wall_now: datetime) -> Row:
    """Webhooks: `pending`, `due`, `to_fan_out`, `failing_endpoints`."""
    found: Row = await _QUERIES.deliveries(connection, wall_now=wall_now)
    return found


async def find_oldest_pending_delivery(connection: Connection) -> datetime | None:
    """When the oldest pending delivery was made."""
    found: datetime | None = await _QUERIES.oldest_pending_delivery(connection)
    return found


async def count_holds_ending(connection: Connection, *, before: datetime) -> int:
    """How many card holds end by `before` (business time) and are not captured."""
    found: int = await _QUERIES.holds_ending(connection, before=before)
    return found
