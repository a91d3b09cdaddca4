"""The bank's stated balances: stored, and compared with our books.

Owns: the order of these reads. Must not know: what explains a distance. Every function takes the connection;
none commits.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Final

from clearing.connection import Connection
from clearing.iso20022.bank_entry import BankBalance
from clearing.reconciliation import bank_position_repository as repository
from clearing.reconciliation.bank_position import balance_differences, bank_positions
from clearing.reconciliation.comparison import Difference
from clearing.reconciliation.report import BankPosition

# A statement follows its notifications by the next bank day; over holidays by some more.
_NOTICE_DAYS: Final = 5
_NOTICES: Final = 1_000


async def record_balances(connection: Connection, balances: Iterable[BankBalance], *, now: datetime) -> int:
    """Store what the bank states, each balance once. Returns how many were new."""
    stated = list(balances)
    return await repository.add_balances(connection, stated, now=now) if stated else 0


async def list_positions(connection: Connection) -> list[BankPosition]:
    """Each currency in which the bank has stated a closing balance."""
    return bank_positions(
        await repository.list_closing_balances(connection),
        await repository.sum_in_flight(connection),
        await repository.load_book_balances(connection),
    )


async def list_differences(connection: Connection, *, today: date) -> list[Difference]:
    """Unexplained balances, statements that do not follow from the one before, lone notifications."""
    return balance_differences(
        await list_positions(connection),
        await repository.find_statement_gaps(connection),
        await repository.list_lone_notices(
            connection, before=today - timedelta(days=_NOTICE_DAYS), limit=_NOTICES
        ),
    )
