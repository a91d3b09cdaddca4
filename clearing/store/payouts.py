"""Disbursements and the payables they settle, in PostgreSQL.

Owns: rows to values and back. Must not know: the rail, when to pay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.payouts.disbursement import Disbursement, DisbursementState, DueSum
from clearing.payouts.forecast import DueRow
from clearing.payouts.reserve import Reserve

_sql = named_queries("disbursement")
_statement_sql = named_queries("payment_statement")


async def hold_planning(connection: Connection) -> None:
    """One planner at a time, until the transaction ends."""
    await _sql.hold_planning(connection)


async def parties_due(connection: Connection, *, now: datetime) -> list[str]:
    """Parties with something due on their local day, or a reserve to be released."""
    return [row["id"] for row in await rows(_sql.parties_due(connection, now=now))]


async def due_sums(connection: Connection, parties: Sequence[str], *, now: datetime) -> list[DueSum]:
    """What is due to these parties on their local day, where no payment of that day lives."""
    found = await rows(_sql.due_sums(connection, parties=parties, now=now))
    return [DueSum(**dict(row.items())) for row in found]


async def schedule(connection: Connection, dues: Mapping[UUID, DueSum]) -> dict[UUID, tuple[int, int]]:
    """Tie what is due to its payments; the signed sum and the count of what was tied to each."""
    found = await rows(
        _sql.schedule(
            connection,
            ids=list(dues),
            parties=[due.party_id for due in dues.values()],
            currencies=[due.currency for due in dues.values()],
            periods=[due.period for due in dues.values()],
        )
    )
    return {row["id"]: (row["amount_minor"], row["count"]) for row in found}


async def unschedule(connection: Connection, disbursement_ids: Sequence[UUID]) -> None:
    """Open the payables of payments again."""
    if disbursement_ids:
        await _sql.unschedule(connection, ids=disbursement_ids)


async def insert(connection: Connection, planned: Sequence[Disbursement], *, now: datetime) -> None:
    """Write planned payments."""
    await _sql.insert_disbursements(
        connection,
        now=now,
        ids=[one.id for one in planned],
        parties=[one.party_id for one in planned],
        currencies=[one.currency for one in planned],
        periods=[one.period for one in planned],
        amounts=[one.amount_minor for one in planned],
        destinations=[one.destination for one in planned],
        end_to_end_ids=[one.end_to_end_id for one in planned],
        rails=[one.rail for one in planned],
        approvals=[one.approvals_needed for one in planned],
    )


async def reserves_due(
    connection: Connection, parties: Sequence[str], *, now: datetime, limit: int
) -> list[Reserve]:
    """Reserves of these parties to be released, held for this transaction."""
    found = await rows(_sql.reserves_due(connection, parties=parties, now=now, limit=limit))
    return [Reserve(**dict(row.items())) for row in found]


async def reserves_ahead(connection: Connection, *, until: date, party_id: str | None) -> list[Reserve]:
    """Reserves that will be released up to a day."""
    found = await rows(_sql.reserves_ahead(connection, until=until, party_id=party_id))
    return [Reserve(**dict(row.items())) for row in found]


async def insert_reserves(connection: Connection, reserves: Sequence[Reserve]) -> None:
    """Remember what was withheld."""
    await _sql.insert_reserves(
        connection,
        ids=[one.disbursement_id for one in reserves],
        parties=[one.party_id for one in reserves],
        currencies=[one.currency for one in reserves],
        amounts=[one.amount_minor for one in reserves],
        held=[one.held_on for one in reserves],
        releases=[one.release_on for one in reserves],
    )


async def mark_released(connection: Connection, reserves: Sequence[Reserve], *, now: datetime) -> None:
    """These reserves are owed again."""
    await _sql.mark_released(connection, ids=[one.disbursement_id for one in reserves], now=now)


async def approve(connection: Connection, disbursement_id: UUID, *, approver: str, now: datetime) -> int:
    """Record one person's release; how many people have released the payment by now."""
    await _sql.approve(connection, id=disbursement_id, approver=approver, now=now)
    count: int = await _sql.approvals(connection, id=disbursement_id)
    return count


async def awaiting_release(connection: Connection, *, limit: int) -> list[Disbursement]:
    """Planned payments that lack a person's release."""
    return [_disbursement(row) for row in await rows(_sql.awaiting_release(connection, limit=limit))]


async def mark_returned(
    connection: Connection, disbursement_id: UUID, *, failure: str, now: datetime
) -> Disbursement | None:
    """A paid payment came back: its payables are open again; None if it was not paid.

    What it had netted is kept for its statement.
    """
    row = await _sql.mark_returned(connection, id=disbursement_id, failure=failure, now=now)
    if row is None:
        return None
    await _statement_sql.keep_returned(connection, id=disbursement_id)
    await unschedule(connection, [disbursement_id])
    return _disbursement(row)


async def debts(connection: Connection) -> Sequence[Any]:
    """Parties whose open payables sum to less than zero, the oldest first."""
    return await rows(_sql.debts(connection))


async def to_execute(connection: Connection, *, now: datetime, limit: int) -> list[Disbursement]:
    """Payments that wait for their call, or for the next question about it."""
    return [_disbursement(row) for row in await rows(_sql.to_execute(connection, now=now, limit=limit))]


async def begin(
    connection: Connection, disbursement_id: UUID, *, now: datetime, lease_until: datetime
) -> Disbursement | None:
    """Record the intent; None if it is not this caller's turn."""
    row = await _sql.begin(connection, id=disbursement_id, now=now, lease_until=lease_until)
    return None if row is None else _disbursement(row)


async def hold_due(connection: Connection, *, now: datetime, limit: int) -> list[Disbursement]:
    """Up to `limit` payments over the PSP whose turn it is, nobody else's until the transaction ends."""
    return [_disbursement(row) for row in await rows(_sql.hold_due(connection, now=now, limit=limit))]


async def request(
    connection: Connection, disbursement_ids: Sequence[UUID], *, now: datetime, lease_until: datetime
) -> list[Disbursement]:
    """Record the intents of payments that this transaction holds."""
    found = await rows(_sql.request(connection, ids=disbursement_ids, now=now, lease_until=lease_until))
    return [_disbursement(row) for row in found]


async def hold(connection: Connection, disbursement_ids: Sequence[UUID]) -> list[Disbursement]:
    """Payments as they stand, nobody else's until the transaction ends; locked in the order of their ids."""
    return [_disbursement(row) for row in await rows(_sql.hold(connection, ids=disbursement_ids))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """What a rail's answer makes of one payment."""

    id: UUID
    state: DisbursementState
    rail_reference: str | None = None
    failure: str | None = None
    next_attempt_at: datetime | None = None
    finished_at: datetime | None = None


async def finish(connection: Connection, answers: Sequence[Finish]) -> list[Disbursement]:
    """Record the rail's answers, in one statement; payments that no longer wait for one are left out."""
    if not answers:
        return []
    found = await rows(
        _sql.finish(
            connection,
            ids=[one.id for one in answers],
            states=[one.state for one in answers],
            rail_references=[one.rail_reference for one in answers],
            failures=[one.failure for one in answers],
            next_attempts=[one.next_attempt_at for one in answers],
            finished=[one.finished_at for one in answers],
        )
    )
    return [_disbursement(row) for row in found]


async def get(connection: Connection, disbursement_id: UUID) -> Disbursement | None:
    """One payment."""
    row = await _sql.get(connection, id=disbursement_id)
    return None if row is None else _disbursement(row)


async def of_party(connection: Connection, party_id: str, *, limit: int) -> list[Disbursement]:
    """A party's payments, the latest first."""
    return [
        _disbursement(row) for row in await rows(_sql.of_party(connection, party_id=party_id, limit=limit))
    ]


async def forecast(connection: Connection, *, until: date, party_id: str | None) -> list[DueRow]:
    """Unpaid payables by party, currency, due date and state, up to a day."""
    found = await rows(_sql.forecast(connection, until=until, party_id=party_id))
    return [DueRow(**dict(row.items())) for row in found]


def _disbursement(row: Any) -> Disbursement:
    fields = dict(row.items())
    return Disbursement(**{**fields, "state": DisbursementState(fields["state"])})
