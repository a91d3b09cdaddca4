"""Balances of accounts, from snapshots and deltas.

Owns: rows to values. Must not know: what they are read for.
"""

from datetime import datetime

from clearing.connection import Connection, named_queries, rows
from clearing.ledger.balances import AccountBalance
from clearing.ledger.journal_entry import position_account

_sql = named_queries("balance")


async def list_balances(
    connection: Connection, *, at: datetime | None = None, prefix: str = ""
) -> list[AccountBalance]:
    """Debits and credits of every account below `prefix`, up to and including `at`."""
    return [
        AccountBalance(**dict(row.items()))
        for row in await rows(_sql.balances(connection, at=at, prefix=prefix))
    ]


async def lock_position(connection: Connection, base: str, quote: str) -> None:
    """One execution of a pair at a time, until the transaction ends."""
    await _sql.lock_position(connection, pair=f"{base}-{quote}")


async def load_position(connection: Connection, base: str, quote: str) -> tuple[int, int]:
    """What a position holds: its balance in `base`, and what was credited for it in `quote`."""
    account = position_account(base, quote)
    found = {balance.currency: balance.minor for balance in await list_balances(connection, prefix=account)}
    return found.get(base, 0), -found.get(quote, 0)


async def sum_executed(connection: Connection) -> dict[tuple[str, str], int]:
    """What executed exchanges moved on each position (credits minus debits), by account and currency."""
    return {(row["account"], row["currency"]): row["minor"] for row in await rows(_sql.executed(connection))}


async def sum_psp_conversions(connection: Connection) -> dict[str, int]:
    """What the PSP's booked conversions brought into its balance less what they took out, by currency."""
    return {row["currency"]: row["minor"] for row in await rows(_sql.converted(connection))}
