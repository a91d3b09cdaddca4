"""Funded accounts and top-ups in PostgreSQL.

Owns: the translation between values and rows. Must not know: the PSP, what a booking is.
"""

from typing import Any

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


async def record_top_up(connection: Connection, *, subject: str, psp_object: str) -> None:
    """The PSP has made the top-up."""
    await _sql.record_top_up(connection, subject=subject, psp_object=psp_object)


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
