"""Paying parties: planning from what is due, the intent, the answer, and the calendar ahead.

Owns: the order of steps of a payment and its journal entry. Must not know: the rail, transactions' ends.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, assert_never
from uuid import UUID, uuid5

from clearing.connection import Connection
from clearing.disbursement import (
    Disbursement,
    DisbursementEvent,
    DisbursementState,
    DueSum,
    HoldReason,
    OutcomeUnknown,
    Paid,
    RailOutcome,
    Rejected,
    advance,
    hold_reason,
)
from clearing.errors import StateConflictError
from clearing.ledger import PSP_RECEIVABLE, EntryKind, JournalEntry, Transfer, payable_account
from clearing.party import Party
from clearing.results import CalendarDay
from clearing.session import lane_of
from clearing.store import payouts as store

# Ids of payments are derived from what they pay, so that planning twice can't make two.
_NAMESPACE: Final = UUID("6f1d6c1e-5f0b-5c59-9f6f-0d5a3f8b7c21")
LEASE: Final = timedelta(minutes=2)
# An unknown outcome is asked for again after these, then daily.
ASK_AFTER: Final = (timedelta(seconds=5), timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1))
DAILY: Final = timedelta(days=1)


async def plan(connection: Connection, *, parties: Mapping[str, Party], now: datetime) -> list[Disbursement]:
    """One planned payment per party and currency of what is due on the party's local day, debts netted."""
    await store.hold_planning(connection)
    planned: list[Disbursement] = []
    for due in await store.due_sums(connection, now=now):
        party = parties[due.party_id]
        if hold_reason(due, party) is None:
            disbursement = await _plan_one(connection, due, party, now=now)
            if disbursement is not None:
                planned.append(disbursement)
    return planned


async def _plan_one(
    connection: Connection, due: DueSum, party: Party, *, now: datetime
) -> Disbursement | None:
    attempt = await store.attempts_of_period(connection, due)
    identifier = uuid5(_NAMESPACE, f"{due.party_id}/{due.currency}/{due.period}/{attempt}")
    minor, count = await store.schedule(connection, due, disbursement_id=identifier)
    tied = DueSum(
        party_id=due.party_id, currency=due.currency, period=due.period, amount_minor=minor, count=count
    )
    # A batch that committed since the sums were read may have brought a debt.
    if hold_reason(tied, party) is not None or party.connected_account is None:
        await store.unschedule(connection, identifier)
        return None
    return await store.insert(
        connection,
        due,
        disbursement_id=identifier,
        amount_minor=minor,
        destination=party.connected_account,
        now=now,
    )


async def begin(connection: Connection, disbursement_id: UUID, *, now: datetime) -> Disbursement | None:
    """The intent, to be committed before the rail is called.

    None if it is another worker's turn or it is over.

    A payment that comes back `requested` with more than one attempt, or `outcome_unknown`, may have been
    made: the rail is asked with `find`, or paid again under the same key.
    """
    return await store.begin(connection, disbursement_id, now=now, lease_until=now + LEASE)


async def answer(
    connection: Connection, disbursement_id: UUID, outcome: RailOutcome, *, now: datetime
) -> tuple[Disbursement, bool]:
    """Record the rail's answer; True when this call ended the payment as paid, and the journal is to follow.

    Raises StateConflictError when the payment was not requested, or ended otherwise before.
    """
    known = await store.get(connection, disbursement_id)
    if known is None:
        raise StateConflictError(f"there is no disbursement {disbursement_id}")
    if (
        isinstance(outcome, Paid)
        and known.state is DisbursementState.PAID
        and known.rail_reference == outcome.rail_reference
    ):
        return known, False
    ended = await _finish(connection, known, outcome, now=now)
    if ended is None:
        raise StateConflictError(f"disbursement {disbursement_id} was ended by another worker")
    return ended, isinstance(outcome, Paid)


async def _finish(
    connection: Connection, known: Disbursement, outcome: RailOutcome, *, now: datetime
) -> Disbursement | None:
    match outcome:
        case Paid(rail_reference=rail_reference):
            state = advance(known.state, DisbursementEvent.CONFIRM)
            await store.mark_paid(connection, known.id)
            return await store.finish(
                connection, known.id, state=state, rail_reference=rail_reference, finished_at=now
            )
        case Rejected(code=code, detail=detail):
            state = advance(known.state, DisbursementEvent.REJECT)
            await store.unschedule(connection, known.id)
            return await store.finish(
                connection, known.id, state=state, failure=f"{code}: {detail}", finished_at=now
            )
        case OutcomeUnknown():
            state = advance(known.state, DisbursementEvent.LOSE_TRACK)
            again = now + ask_again_after(known.attempts)
            return await store.finish(connection, known.id, state=state, next_attempt_at=again)
        case _ as unreachable:
            assert_never(unreachable)


def ask_again_after(attempts: int) -> timedelta:
    """How long to wait after the `attempts`-th unknown answer."""
    return ASK_AFTER[attempts - 1] if 1 <= attempts <= len(ASK_AFTER) else DAILY


def payment_entry(disbursement: Disbursement, party: Party) -> JournalEntry:
    """The journal of a paid disbursement: out of the PSP's balance, off the party's account."""
    transfer = Transfer(
        payable_account(party), PSP_RECEIVABLE, disbursement.amount_minor, disbursement.currency
    )
    return JournalEntry(
        lane=lane_of(disbursement.id),
        subject_id=disbursement.id,
        kind=EntryKind.DISBURSEMENT,
        currency=disbursement.currency,
        gross_minor=disbursement.amount_minor,
        transfers=(transfer,),
    )


async def forecast(
    connection: Connection, *, parties: Mapping[str, Party], now: datetime, days: int, party_id: str | None
) -> Sequence[CalendarDay]:
    """Amounts by party and due date from overdue to `days` ahead, with the reason where a sum will wait."""
    rows = await store.forecast(connection, until=now.date() + timedelta(days=days), party_id=party_id)
    calendar: list[CalendarDay] = []
    running: dict[tuple[str, str], int] = {}
    for row in rows:
        scheduled = row["state"] == "scheduled"
        hold: HoldReason | None = None
        if not scheduled:
            key = (row["party_id"], row["currency"])
            running[key] = running.get(key, 0) + row["amount_minor"]
            due = DueSum(
                party_id=row["party_id"], currency=row["currency"], period=row["due_date"],
                amount_minor=running[key], count=row["sessions"],
            )  # fmt: skip
            hold = hold_reason(due, parties[row["party_id"]])
            if hold is None:
                running[key] = 0  # paid on that day; what waits is carried to the next
        calendar.append(
            CalendarDay(
                party_id=row["party_id"],
                due_date=row["due_date"],
                currency=row["currency"],
                amount_minor=row["amount_minor"],
                sessions=row["sessions"],
                state=row["state"],
                hold=hold,
            )
        )
    return calendar
