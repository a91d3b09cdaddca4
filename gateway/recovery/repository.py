"""What others have seen after a restore, compared with the database.

Owns: the translation between values and rows. Must not know: the PSP, what follows from a difference.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries

_sql = named_queries("gateway", "recovery.sql")


async def list_unknown_payments(connection: Connection, *, psp_payments: Sequence[str]) -> list[str]:
    """Of payments at the PSP, those that no session here has."""
    rows = _sql.list_unknown_payments(connection, psp_payments=list(psp_payments))
    return [row["psp_payment"] async for row in rows]


async def list_unknown_refunds(connection: Connection, *, psp_refunds: Sequence[str]) -> list[str]:
    """Of refunds at the PSP, those that are not known here under the PSP's name."""
    rows = _sql.list_unknown_refunds(connection, psp_refunds=list(psp_refunds))
    return [row["psp_refund"] async for row in rows]


async def is_requested_refund(connection: Connection, refund_id: UUID) -> bool:
    """Whether a refund of ours is here; its request ends with the PSP's answer then."""
    return bool([row async for row in _sql.list_requested_refunds(connection, ids=[refund_id])])


async def add_restored_hold(connection: Connection, **fields: Any) -> bool:
    """The hold of a session that was just rebuilt; False: something else pays for it."""
    return bool(await _sql.add_restored_hold(connection, **fields))


async def list_parties(connection: Connection) -> list[str]:
    """Every party's id."""
    return [row["id"] async for row in _sql.list_parties(connection)]


async def count_open_requests(connection: Connection) -> int:
    """Requests to the PSP whose answer is not known."""
    return int(await _sql.count_open_requests(connection))


async def is_first_check(connection: Connection, *, restored_to: datetime) -> bool:
    """Whether no run for this point was recorded yet."""
    return bool(await _sql.is_first_check(connection, restored_to=restored_to))


async def add_restore_check(
    connection: Connection,
    *,
    restored_to: datetime,
    checked_at: datetime,
    steps: Sequence[Mapping[str, Any]],
) -> None:
    """Record one run."""
    await _sql.add_restore_check(
        connection, restored_to=restored_to, checked_at=checked_at, steps=list(steps)
    )
