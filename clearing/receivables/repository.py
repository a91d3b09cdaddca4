"""Receivables and consents to set-off in PostgreSQL.

Owns: rows to values and back. Must not know: when a receivable is set off or written off.
"""

from datetime import date

from clearing.connection import Connection, named_queries, rows
from clearing.receivables.ageing import ReceivableLine

_sql = named_queries("receivables")


async def list_receivable_lines(connection: Connection) -> list[ReceivableLine]:
    """Open payables by due date of each party and currency with a negative balance."""
    return [ReceivableLine(**dict(row.items())) for row in await rows(_sql.receivable_lines(connection))]


async def open_balance(connection: Connection, party_id: str, currency: str) -> int:
    """A party's open payables in minor units; negative: the party owes."""
    minor: int = await _sql.open_sum(connection, party_id=party_id, currency=currency)
    return minor


async def has_consent(connection: Connection, party_id: str, *, day: date) -> bool:
    """Whether the party's consent to set-off is in force on a day."""
    return await _sql.consent_on(connection, party_id=party_id, day=day) is not None


async def insert_consent(
    connection: Connection, party_id: str, *, agreed_on: date, evidence: str, by: str
) -> None:
    """Record a consent; the same day again changes nothing."""
    await _sql.insert_consent(connection, party_id=party_id, agreed_on=agreed_on, evidence=evidence, by=by)


async def end_consents(connection: Connection, party_id: str, *, agreed_on: date, ended_on: date) -> int:
    """End the consents in force that were given up to `agreed_on`; how many they were."""
    count: int = await _sql.end_consents(
        connection, party_id=party_id, agreed_on=agreed_on, ended_on=ended_on
    )
    return count
