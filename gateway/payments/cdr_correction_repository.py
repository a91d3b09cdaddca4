"""The correction of a session by another CDR in PostgreSQL, and sessions handed back to clearing.

Owns: the translation between values and rows. Must not know: when a correction is possible.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.ids import new_id, shard_of

_sql = named_queries("gateway", "cdr_corrections.sql")


async def lock_session(connection: Connection, *, shard: int, session_id: UUID) -> None:
    """Nothing else ends or corrects this session until the caller's transaction ends."""
    await _sql.lock_session(connection, shard=shard, session_id=session_id)


async def replace_cdr(connection: Connection, **fields: Any) -> bool:
    """Another CDR's price counts from now on; False when the CDR that it replaces was replaced before."""
    return bool(await _sql.replace_cdr(connection, **fields))


async def renew_capture_task(connection: Connection, **fields: Any) -> None:
    """Leave a task to capture the price that counts now."""
    await _sql.renew_capture_task(connection, **fields)


async def set_receivable(connection: Connection, *, shard: int, session_id: UUID) -> None:
    """What a session captured at its last known cost is priced above that becomes a receivable."""
    await _sql.set_receivable(connection, shard=shard, session_id=session_id)


async def mark_unpaid_exception(connection: Connection, **fields: Any) -> bool:
    """A completed session that nobody can pay for becomes an exception; False when it is none."""
    return bool(await _sql.mark_unpaid_exception(connection, **fields))


async def retry_clearing(
    connection: Connection, *, session_id: UUID, now: datetime, wall_now: datetime
) -> bool:
    """Hand a session that is an exception to clearing once more; False when that is not possible."""
    shard = shard_of(session_id)
    retried = await _sql.retry_clearing(
        connection,
        shard=shard,
        session_id=session_id,
        task_id=new_id(shard=shard),
        now=now,
        wall_now=wall_now,
    )
    return bool(retried)
