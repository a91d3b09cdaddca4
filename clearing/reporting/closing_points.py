"""What the books leave open at the end of a period: positions, suspense, statements, documents.

Owns: these lists, who looks after each and how it is ended. Must not know: the exceptions queue, who closes.
It only reads.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from clearing.calendar import Calendars
from clearing.connection import Connection, named_queries, rows
from clearing.parties.bank_details import masked
from clearing.reference_data import bundled_data

_QUERIES: Final[Any] = named_queries("closing_points")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingPoint:
    """One open point: what it is about, how much, since when, who ends it and how."""

    kind: str
    subject: str
    owner: str
    next_step: str
    detail: str = ""
    amount_minor: int | None = None
    currency: str | None = None
    since: datetime | None = None


async def list_closing_points(
    connection: Connection, *, last_day: date, until: datetime
) -> list[ClosingPoint]:
    """Every point of a period that ends with `last_day` (local), before the instant `until`."""
    return [
        *await _accounts(connection, until),
        *await _statements(connection, last_day, until),
        *await _documents(connection, last_day, until),
    ]


async def _accounts(connection: Connection, until: datetime) -> list[ClosingPoint]:
    found = []
    for row in await rows(_QUERIES.open_accounts(connection, until=until)):
        position = row["account"] != "suspense"
        found.append(
            ClosingPoint(
                kind="unbooked_exchange" if position else "suspense",
                subject=row["account"],
                owner="treasury" if position else "finance",
                next_step="Execute the exchange and record it: networkcore fx execute."
                if position
                else "Find the purpose of the money and clear it: networkcore reconcile suspense.",
                amount_minor=row["minor"],
                currency=row["currency"],
                since=row["since"],
            )
        )
    return found


async def _statements(connection: Connection, last_day: date, until: datetime) -> list[ClosingPoint]:
    """A statement of the last bank day of the period, or of a later day, is there for every account."""
    known = await rows(_QUERIES.last_statements(connection))
    step = "Import the bank's statement of that day: networkcore reconcile import-statement."
    if not known and await _QUERIES.bank_moved(connection, until=until):
        return [
            ClosingPoint(
                kind="missing_statement", subject="bank:settlement", owner="treasury", next_step=step
            )
        ]
    calendars = bundled_data.calendars()
    return [
        ClosingPoint(
            kind="missing_statement",
            subject=f"{masked(row['iban'])} {row['currency']}",
            owner="treasury",
            next_step=step,
            detail=f"the last one is of {row['on_day']}",
            currency=row["currency"],
        )
        for row in known
        if row["on_day"] < _last_bank_day(last_day, row["iban"][:2], row["currency"], calendars)
    ]


def _last_bank_day(day: date, country: str, currency: str, calendars: Calendars) -> date:
    cursor = day
    while not calendars.is_clearing_day(cursor, currency=currency, country=country):
        cursor -= timedelta(days=1)
    return cursor


async def _documents(connection: Connection, last_day: date, until: datetime) -> list[ClosingPoint]:
    return [
        ClosingPoint(
            kind="undocumented_period",
            subject=row["id"],
            owner="finance",
            next_step="Issue the period's documents: networkcore clearing invoices.",
            detail="no document yet"
            if row["documented_to"] is None
            else f"documented up to {row['documented_to']}",
        )
        for row in await rows(_QUERIES.undocumented(connection, last_day=last_day, until=until))
    ]
