"""The bank's stated balances against our books: the closing balance, and whether a statement is missing.

Owns: what explains the distance between the two. Must not know: how a statement is read, who looks into it.

    our books + lines the bank has and we don't - movements we have and the bank doesn't = the bank's balance
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from clearing.connection import Connection, named_queries, rows
from clearing.iso20022.camt import BankBalance
from clearing.reconciliation.comparing import Difference, DifferenceType, balance_difference
from clearing.reconciliation.report import BankPosition

_sql = named_queries("reconciliation")


async def record_balances(connection: Connection, balances: Iterable[BankBalance], *, now: datetime) -> int:
    """Keep what the bank states; a balance told twice is kept once. Returns how many were new."""
    told = list(balances)
    if not told:
        return 0
    added: int = await _sql.put_balances(
        connection,
        now=now,
        ibans=[one.iban for one in told],
        currencies=[one.currency for one in told],
        days=[one.on for one in told],
        codes=[one.code for one in told],
        statements=[one.statement_id for one in told],
        sequences=[one.sequence for one in told],
        amounts=[one.amount_minor for one in told],
    )
    return added


async def positions(connection: Connection) -> list[BankPosition]:
    """Each currency in which the bank has stated a closing balance."""
    return _positions(
        await rows(_sql.closings(connection)),
        {row["currency"]: row for row in await rows(_sql.bank_in_flight(connection))},
        {row["currency"]: row["minor"] for row in await rows(_sql.bank_books(connection))},
    )


def _positions(
    closings: Sequence[Any], in_flight: dict[str, Any], books: dict[str, int]
) -> list[BankPosition]:
    found: list[BankPosition] = []
    for currency in sorted({row["currency"] for row in closings}):
        mine = [row for row in closings if row["currency"] == currency]
        bank = sum(row["amount_minor"] + row["after_minor"] for row in mine)
        flight = in_flight.get(currency)
        ours = flight["ours_minor"] if flight else 0
        theirs = flight["theirs_minor"] if flight else 0
        booked = books.get(currency, 0)
        found.append(
            BankPosition(
                currency=currency,
                books_minor=booked,
                bank_minor=bank,
                ours_in_flight_minor=ours,
                theirs_in_flight_minor=theirs,
                unexplained_minor=booked + theirs - ours - bank,
                as_of=max(row["on_day"] for row in mine),
            )
        )
    return found


async def differences(connection: Connection) -> list[Difference]:
    """A balance that nothing explains, and a statement that does not follow the one before it."""
    found = [
        balance_difference(
            reference=f"balance:{one.currency}",
            currency=one.currency,
            kind=DifferenceType.BALANCE,
            amount_minor=one.unexplained_minor,
            since=one.as_of,
            detail=(
                f"books {one.books_minor}, bank {one.bank_minor}, "
                f"ours on the way {one.ours_in_flight_minor}, theirs not booked {one.theirs_in_flight_minor}"
            ),
        )
        for one in await positions(connection)
        if one.unexplained_minor
    ]
    found += [
        balance_difference(
            reference=f"statement:{row['iban']}:{row['on_day']}",
            currency=row["currency"],
            kind=DifferenceType.STATEMENT_GAP,
            amount_minor=row["before_minor"] + row["between_minor"] - row["amount_minor"],
            since=row["before_on"],
            detail=(
                f"{row['before_minor']} on {row['before_on']}, lines of {row['between_minor']}, "
                f"{row['amount_minor']} on {row['on_day']}"
            ),
        )
        for row in await rows(_sql.statement_gaps(connection))
    ]
    return found
