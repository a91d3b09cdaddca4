"""Closing a period, and the statements of an account.

Owns: the order of steps inside the caller's transaction. Must not know: the statement's format, SQL.
"""

from collections.abc import AsyncIterator
from datetime import datetime

from clearing.connection import Connection
from clearing.errors import StateConflictError
from clearing.journal import statement
from clearing.store import statements


async def close(connection: Connection, *, until: datetime, by: str, now: datetime) -> None:
    """Shut the books up to `until`.

    Raises StateConflictError for an instant to come or before the last closing.
    """
    if until > now:
        raise StateConflictError(f"{until.isoformat()} is still to come; close a period when it has ended")
    previous = await statements.close(connection, until=until, by=by, now=now)
    if previous is not None and previous > until:
        raise StateConflictError(f"the books are closed up to {previous.isoformat()} already")


async def statement_lines(
    connection: Connection, *, account: str, currency: str, since: datetime, until: datetime
) -> AsyncIterator[str]:
    """A statement line by line, in constant memory: header, a line a batch, footer."""
    balance = await statements.opening(connection, account=account, currency=currency, since=since)
    yield statement.header(
        account=account, currency=currency, since=since, until=until, opening_minor=balance
    )
    count = 0
    span = statements.batches(connection, account=account, currency=currency, since=since, until=until)
    async for batch in span:
        line, moved, shown = statement.batch_line(batch, account=account, currency=currency)
        balance += moved
        count += shown
        yield line
    yield statement.footer(closing_minor=balance, lines=count)
