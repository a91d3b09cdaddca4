"""Disbursements and the payables they settle, in PostgreSQL.

Owns: rows to values and back. Must not know: the rail, when to pay.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.disbursement import Disbursement, DisbursementState, DueSum, end_to_end_id

_sql = named_queries("disbursement")


async def hold_planning(connection: Connection) -> None:
    """One planner at a time, until the transaction ends."""
    await _sql.hold_planning(connection)


async def due_sums(connection: Connection, *, now: datetime) -> list[DueSum]:
    """What is due on each party's local day, where no payment of that day lives."""
    return [DueSum(**dict(row.items())) for row in await rows(_sql.due_sums(connection, now=now))]


async def attempts_of_period(connection: Connection, due: DueSum) -> int:
    """How many payments of that party, currency and day there were."""
    count: int = await _sql.attempts_of_period(
        connection, party_id=due.party_id, currency=due.currency, period=due.period
    )
    return count


async def schedule(connection: Connection, due: DueSum, *, disbursement_id: UUID) -> tuple[int, int]:
    """Tie what is due to a payment; returns the signed sum and the count of what was tied."""
    row = await _sql.schedule(
        connection, id=disbursement_id, party_id=due.party_id, currency=due.currency, period=due.period
    )
    return row["amount_minor"], row["count"]


async def unschedule(connection: Connection, disbursement_id: UUID) -> None:
    """Open the payables of a payment again."""
    await _sql.unschedule(connection, id=disbursement_id)


async def insert(
    connection: Connection,
    due: DueSum,
    *,
    disbursement_id: UUID,
    amount_minor: int,
    destination: str,
    now: datetime,
) -> Disbursement:
    """Write a planned payment."""
    row = await _sql.insert_disbursement(
        connection,
        id=disbursement_id,
        party_id=due.party_id,
        currency=due.currency,
        period=due.period,
        amount_minor=amount_minor,
        destination=destination,
        end_to_end_id=end_to_end_id(disbursement_id),
        now=now,
    )
    return _disbursement(row)


async def to_execute(connection: Connection, *, now: datetime, limit: int) -> list[Disbursement]:
    """Payments that wait for their call, or for the next question about it."""
    return [_disbursement(row) for row in await rows(_sql.to_execute(connection, now=now, limit=limit))]


async def begin(
    connection: Connection, disbursement_id: UUID, *, now: datetime, lease_until: datetime
) -> Disbursement | None:
    """Record the intent; None if it is not this caller's turn."""
    row = await _sql.begin(connection, id=disbursement_id, now=now, lease_until=lease_until)
    return None if row is None else _disbursement(row)


async def finish(
    connection: Connection,
    disbursement_id: UUID,
    *,
    state: DisbursementState,
    rail_reference: str | None = None,
    failure: str | None = None,
    next_attempt_at: datetime | None = None,
    finished_at: datetime | None = None,
) -> Disbursement | None:
    """Record the rail's answer; None if the payment no longer waits for one."""
    row = await _sql.finish(
        connection,
        id=disbursement_id,
        state=state,
        rail_reference=rail_reference,
        failure=failure,
        next_attempt_at=next_attempt_at,
        finished_at=finished_at,
    )
    return None if row is None else _disbursement(row)


async def get(connection: Connection, disbursement_id: UUID) -> Disbursement | None:
    """One payment."""
    row = await _sql.get(connection, id=disbursement_id)
    return None if row is None else _disbursement(row)


async def of_party(connection: Connection, party_id: str, *, limit: int) -> list[Disbursement]:
    """A party's payments, the latest first."""
    return [
        _disbursement(row) for row in await rows(_sql.of_party(connection, party_id=party_id, limit=limit))
    ]


async def mark_paid(connection: Connection, disbursement_id: UUID) -> None:
    """Settle the payables of a payment."""
    await _sql.mark_paid(connection, id=disbursement_id)


async def forecast(connection: Connection, *, until: date, party_id: str | None) -> Sequence[Any]:
    """Unpaid payables by party, currency, due date and state, up to a day."""
    return await rows(_sql.forecast(connection, until=until, party_id=party_id))


def _disbursement(row: Any) -> Disbursement:
    fields = dict(row.items())
    return Disbursement(**{**fields, "state": DisbursementState(fields["state"])})
