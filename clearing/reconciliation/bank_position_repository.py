"""The bank's stated balances in PostgreSQL, with what explains their distance from our books.

Owns: rows to values and back. Must not know: which distance is a difference.
"""

from collections.abc import Sequence
from datetime import date, datetime

from clearing.connection import Connection, named_queries, rows
from clearing.iso20022.bank_entry import BankBalance
from clearing.reconciliation.bank_position import ClosingBalance, InFlight, LoneNotice, StatementGap

_sql = named_queries("bank_position")


async def add_balances(connection: Connection, balances: Sequence[BankBalance], *, now: datetime) -> int:
    """Store stated balances; one that is reported again is stored once. Returns how many were new."""
    added: int = await _sql.put_balances(
        connection,
        now=now,
        ibans=[one.iban for one in balances],
        currencies=[one.currency for one in balances],
        days=[one.on for one in balances],
        codes=[one.code for one in balances],
        statements=[one.statement_id for one in balances],
        sequences=[one.sequence for one in balances],
        amounts=[one.amount_minor for one in balances],
    )
    return added


async def list_closing_balances(connection: Connection) -> list[ClosingBalance]:
    """The last closing balance of each account and currency."""
    return [ClosingBalance(**dict(row.items())) for row in await rows(_sql.closings(connection))]


async def find_statement_gaps(connection: Connection) -> list[StatementGap]:
    """Every closing balance that does not follow from the one before it."""
    return [StatementGap(**dict(row.items())) for row in await rows(_sql.statement_gaps(connection))]


async def list_lone_notices(connection: Connection, *, before: date, limit: int) -> list[LoneNotice]:
    """Movements before that day that only a notification has, the oldest first."""
    found = await rows(_sql.lone_notices(connection, before=before, limit=limit))
    return [LoneNotice(**dict(row.items())) for row in found]


async def sum_in_flight(connection: Connection) -> dict[str, InFlight]:
    """Movements that only one side has so far, by currency."""
    found = await rows(_sql.bank_in_flight(connection))
    return {row["currency"]: InFlight(**dict(row.items())) for row in found}


async def load_book_balances(connection: Connection) -> dict[str, int]:
    """The balance of the bank's account in our journal, in minor units by currency."""
    return {row["currency"]: row["minor"] for row in await rows(_sql.bank_books(connection))}
