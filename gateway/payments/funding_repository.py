"""Funded accounts and top-ups in PostgreSQL.

Owns: the translation between values and rows. Must not know: the PSP, what a booking is.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.payments.records import AccountRecord, TopUpRecord

_sql = named_queries("gateway", "funding.sql")


async def fund_account(connection: Connection, **fields: Any) -> bool:
    """Raise a funded account's balance; False when that reference was booked before."""
    return bool(await _sql.fund_account(connection, **fields))


async def find_funding(connection: Connection, *, party_id: str, reference: str) -> tuple[str, int] | None:
    """Currency and amount of the funding that a party's reference refers to."""
    row = await _sql.load_funding(connection, party_id=party_id, reference=reference)
    return None if row is None else (row["currency"], row["amount_minor"])


async def request_top_up(connection: Connection, **fields: Any) -> TopUpRecord:
    """Commit what is about to be topped up under a subject; the first request's row, if there was one."""
    row = await _sql.request_top_up(connection, **fields)
    if row is None:  # another request's row, committed after this statement began: now it is visible
        row = await _sql.request_top_up(connection, **fields)
    return TopUpRecord.from_row(row)


async def renew_top_up_key(connection: Connection, **fields: Any) -> None:
    """A top-up that never reached the PSP is requested again: its key's lifetime begins now."""
    await _sql.renew_top_up_key(connection, **fields)


async def withdraw_top_up(connection: Connection, *, subject: str) -> None:
    """The PSP has refused a top-up: it is as if it had not been asked for."""
    await _sql.withdraw_top_up(connection, subject=subject)


async def record_top_up(connection: Connection, **fields: Any) -> None:
    """The PSP has the top-up; it is on its way."""
    await _sql.record_top_up(connection, **fields)


async def touch_top_up(connection: Connection, *, subject: str, wall_now: datetime) -> None:
    """The PSP was asked about a top-up, and nothing has changed."""
    await _sql.touch_top_up(connection, subject=subject, wall_now=wall_now)


async def move_top_up(connection: Connection, **fields: Any) -> TopUpRecord | None:
    """Move a top-up to another state, once; None where it was moved before."""
    row = await _sql.move_top_up(connection, **fields)
    return None if row is None else TopUpRecord.from_row(row)


async def record_overdrawn(connection: Connection, *, subject: str, overdrawn_minor: int) -> None:
    """What a party had spent of a top-up that the bank took back."""
    await _sql.record_overdrawn(connection, subject=subject, overdrawn_minor=overdrawn_minor)


async def load_top_up(connection: Connection, *, top_up_id: UUID) -> TopUpRecord | None:
    """One top-up."""
    row = await _sql.load_top_up(connection, id=top_up_id)
    return None if row is None else TopUpRecord.from_row(row)


async def find_top_up(connection: Connection, *, psp_object: str) -> TopUpRecord | None:
    """The top-up that the PSP knows by its own id."""
    row = await _sql.top_up_of_object(connection, psp_object=psp_object)
    return None if row is None else TopUpRecord.from_row(row)


async def list_waiting_top_ups(
    connection: Connection, *, checked_before: datetime, limit: int
) -> list[TopUpRecord]:
    """Top-ups that have not ended, and that the PSP was not asked about since."""
    rows = _sql.list_waiting_top_ups(connection, checked_before=checked_before, row_limit=limit)
    return [TopUpRecord.from_row(row) async for row in rows]


async def list_top_ups(
    connection: Connection, *, state: str | None, before: UUID | None, limit: int
) -> Sequence[TopUpRecord]:
    """A page of top-ups, newest first, those older than `before`."""
    rows = _sql.list_top_ups(connection, state=state, before=before, row_limit=limit)
    return [TopUpRecord.from_row(row) async for row in rows]


async def open_account(connection: Connection, *, party_id: str, currency: str) -> None:
    """Open a funded account without money, where there is none."""
    await _sql.open_account(connection, party_id=party_id, currency=currency)


async def take_funding_back(
    connection: Connection, *, party_id: str, reference: str, now: datetime
) -> int | None:
    """Take a partner's funding off its account; by how much its credit limit had to be raised for that."""
    raised = await _sql.take_funding_back(connection, party_id=party_id, reference=reference, now=now)
    return None if raised is None else int(raised)


async def set_credit_limit(
    connection: Connection, *, party_id: str, currency: str, credit_limit_minor: int
) -> None:
    """Set how far below zero a funded account may go."""
    await _sql.set_credit_limit(
        connection, party_id=party_id, currency=currency, credit_limit_minor=credit_limit_minor
    )


async def load_account(connection: Connection, *, party_id: str, currency: str) -> AccountRecord | None:
    """A funded account."""
    row = await _sql.load_account(connection, party_id=party_id, currency=currency)
    return None if row is None else AccountRecord.from_row(row)
