"""Paying parties: planning from what is due, the intent, the answer, and the calendar ahead.

Owns: the order of steps of a payment and its journal entry. Must not know: the rail, transactions' ends.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never
from uuid import UUID, uuid5

from clearing.connection import Connection
from clearing.errors import StateConflictError
from clearing.journal.ledger import (
    BANK_SETTLEMENT,
    PSP_RECEIVABLE,
    EntryKind,
    JournalEntry,
    Transfer,
    payable_account,
)
from clearing.parties.party import Party
from clearing.payouts.disbursement import (
    Disbursement,
    DisbursementEvent,
    DisbursementState,
    DueSum,
    OutcomeUnknown,
    Paid,
    RailOutcome,
    Rejected,
    advance,
    destination,
    end_to_end_id,
    hold_reason,
)
from clearing.payouts.forecast import CalendarDay, calendar_ahead
from clearing.payouts.reserve import hold_entry, plan_reserve, release_entry, withheld
from clearing.payouts.steps import remainder, remainder_entries
from clearing.session import lane_of
from clearing.store import payouts as store
from clearing.work.stopping import reason_to_stop

# Ids of payments are derived from what they pay, so that planning twice can't make two.
_NAMESPACE: Final = UUID("6f1d6c1e-5f0b-5c59-9f6f-0d5a3f8b7c21")
LEASE: Final = timedelta(minutes=2)
# An unknown outcome is asked for again after these, then daily.
ASK_AFTER: Final = (timedelta(seconds=5), timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1))
DAILY: Final = timedelta(days=1)
FOUR_EYES: Final = 2
_RESERVES: Final = 10_000  # released in one batch
_PAYABLES: Final = 100_000  # tied to payments in one statement, more only where one payment has more

Poster = Callable[[Sequence[JournalEntry]], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What answers of the rail did: payments `ended` by them or to be asked again, and told once more.

    `conflicts` says of a payment that did not wait for its answer how it stands: money may have moved.
    """

    ended: Sequence[Disbursement]
    repeated: Sequence[Disbursement]
    conflicts: Mapping[UUID, str]


async def plan(
    connection: Connection,
    names: Sequence[str],
    *,
    parties: Mapping[str, Party],
    post: Poster,
    now: datetime,
) -> list[Disbursement]:
    """One planned payment per currency of what is due to each of the parties `names`, debts netted.

    Reserves whose day has come are owed again first; then each payment's own reserve is withheld. `post`
    books entries in the caller's transaction.
    """
    await store.hold_planning(connection)
    await _release_reserves(connection, names, parties, post, now=now)
    dues = {
        uuid5(_NAMESPACE, f"{due.party_id}/{due.currency}/{due.period}/{due.attempts}"): due
        for due in await store.due_sums(connection, names, now=now)
        if hold_reason(_after_reserve(due, parties[due.party_id]), parties[due.party_id]) is None
    }
    if not dues:
        return []
    await _withhold(connection, dues, parties, post)
    await _keep_remainders(dues, parties, post)
    tied: dict[UUID, tuple[int, int]] = {}
    for some in _bounded(dues):
        tied |= await store.schedule(connection, some)
    planned = [
        disbursement
        for identifier, due in dues.items()
        if (disbursement := _planned(identifier, due, tied.get(identifier, (0, 0)), parties, now=now))
    ]
    # A batch that committed since the sums were read may have brought a debt.
    await store.unschedule(connection, sorted(dues.keys() - {one.id for one in planned}))
    await store.insert(connection, planned, now=now)
    return planned


def _bounded(dues: Mapping[UUID, DueSum]) -> Iterator[dict[UUID, DueSum]]:
    """Parts of about so many payables, so that no statement takes longer the more parties are due."""
    part: dict[UUID, DueSum] = {}
    payables = 0
    for identifier, due in dues.items():
        part[identifier] = due
        payables += due.count
        if payables >= _PAYABLES:
            yield part
            part, payables = {}, 0
    if part:
        yield part


def _planned(
    identifier: UUID, asked: DueSum, tied: tuple[int, int], parties: Mapping[str, Party], *, now: datetime
) -> Disbursement | None:
    """The payment of what was `tied` to it; None if that is not to be paid."""
    due = replace(asked, amount_minor=tied[0], count=tied[1])
    party = parties[due.party_id]
    paid_to = destination(party)
    if paid_to is None or hold_reason(due, party) is not None:
        return None
    if _remainder(due.amount_minor, party, due.currency):
        return None  # a batch that committed meanwhile brought a remainder of its own: the next plan keeps it
    limit = party.payout_terms.release_above_minor
    return Disbursement(
        id=identifier,
        party_id=due.party_id,
        currency=due.currency,
        period=due.period,
        amount_minor=due.amount_minor,
        destination=paid_to[1],
        end_to_end_id=end_to_end_id(identifier),
        state=DisbursementState.PLANNED,
        planned_at=now,
        rail=paid_to[0],
        approvals_needed=FOUR_EYES if limit is not None and due.amount_minor > limit else 0,
    )


async def _release_reserves(
    connection: Connection, names: Sequence[str], parties: Mapping[str, Party], post: Poster, *, now: datetime
) -> None:
    while released := await store.reserves_due(connection, names, now=now, limit=_RESERVES):
        await post([release_entry(reserve, parties[reserve.party_id]) for reserve in released])
        await store.mark_released(connection, released, now=now)


async def _withhold(
    connection: Connection, dues: Mapping[UUID, DueSum], parties: Mapping[str, Party], post: Poster
) -> None:
    reserves = [
        plan_reserve(
            parties[due.party_id], disbursement_id=identifier, currency=due.currency, period=due.period,
            amount_minor=minor,
        )
        for identifier, due in dues.items()
        if (minor := _to_withhold(due, parties[due.party_id]))
    ]  # fmt: skip
    if reserves:
        await post([hold_entry(reserve, parties[reserve.party_id]) for reserve in reserves])
        await store.insert_reserves(connection, reserves)


async def _keep_remainders(dues: Mapping[UUID, DueSum], parties: Mapping[str, Party], post: Poster) -> None:
    """What the rail can't move of each payment stays behind until the next day."""
    entries: list[JournalEntry] = []
    for identifier, due in dues.items():
        party = parties[due.party_id]
        minor = _after_reserve(due, party).amount_minor
        left = _remainder(minor, party, due.currency)
        if left:
            entries += remainder_entries(
                party,
                disbursement_id=identifier,
                currency=due.currency,
                paid_on=due.period,
                due_minor=minor,
                minor=left,
            )
    if entries:
        await post(entries)


def _remainder(minor: int, party: Party, currency: str) -> int:
    paid_to = destination(party)
    return 0 if paid_to is None else remainder(minor, rail=paid_to[0], currency=currency)


def _to_withhold(due: DueSum, party: Party) -> int:
    return withheld(
        sales_minor=due.sales_minor, held_minor=due.held_minor, reserve_bps=party.payout_terms.reserve_bps
    )


def _after_reserve(due: DueSum, party: Party) -> DueSum:
    return replace(due, amount_minor=due.amount_minor - _to_withhold(due, party))


async def begin(
    connection: Connection, disbursement_id: UUID, *, parties: Mapping[str, Party], now: datetime
) -> Disbursement | None:
    """The intent, to be committed before the rail is called.

    None if it is another worker's turn, or over, or a hold or other bank details came since it was planned.

    A payment that comes back `requested` with more than one attempt, or `outcome_unknown`, may have been
    made: the rail is asked with `find`, or paid again under the same key.
    """
    known = await store.get(connection, disbursement_id)
    if (
        known is not None
        and known.state is DisbursementState.PLANNED
        and reason_to_stop(known, parties[known.party_id], now=now) is not None
    ):
        return None
    return await store.begin(connection, disbursement_id, now=now, lease_until=now + LEASE)


async def begin_due(
    connection: Connection, *, parties: Mapping[str, Party], now: datetime, limit: int
) -> list[Disbursement]:
    """The intents of up to `limit` payments over the PSP, as `begin` writes one.

    One that may no longer be sent is left as it is: withdraw first, or they fill the limit.
    """
    due = await store.hold_due(connection, now=now, limit=limit)
    ids = [
        one.id
        for one in due
        if one.state is not DisbursementState.PLANNED
        or reason_to_stop(one, parties[one.party_id], now=now) is None
    ]
    return await store.request(connection, ids, now=now, lease_until=now + LEASE)


async def answer(
    connection: Connection,
    outcomes: Mapping[UUID, RailOutcome],
    *,
    parties: Mapping[str, Party],
    post: Poster,
    now: datetime,
) -> Answers:
    """Record the rail's answers; what was paid is booked with them, in one batch.

    A payment that does not wait for its answer is among the conflicts and holds up none of the others.
    """
    held = {one.id: one for one in await store.hold(connection, list(outcomes))}
    repeated: list[Disbursement] = []
    finishes: list[store.Finish] = []
    conflicts: dict[UUID, str] = {}
    for identifier, outcome in outcomes.items():
        known = held.get(identifier)
        if known is None:
            conflicts[identifier] = f"there is no disbursement {identifier}"
        elif _repeats(known, outcome):
            repeated.append(known)
        else:
            try:
                finishes.append(_finish(known, outcome, now=now))
            except StateConflictError as error:
                conflicts[identifier] = str(error)
    ended = await store.finish(connection, finishes)
    await store.unschedule(connection, [one.id for one in ended if one.state is DisbursementState.FAILED])
    paid = [one for one in ended if one.state is DisbursementState.PAID]
    if paid:
        await post([payment_entry(one, parties[one.party_id]) for one in paid])
    return Answers(ended=ended, repeated=repeated, conflicts=conflicts)


def _repeats(known: Disbursement, outcome: RailOutcome) -> bool:
    return (
        isinstance(outcome, Paid)
        and known.state is DisbursementState.PAID
        and known.rail_reference == outcome.rail_reference
    )


def _finish(known: Disbursement, outcome: RailOutcome, *, now: datetime) -> store.Finish:
    """What the answer makes of the payment. Raises StateConflictError when it does not wait for one."""
    match outcome:
        case Paid(rail_reference=rail_reference):
            state = advance(known.state, DisbursementEvent.CONFIRM)
            return store.Finish(id=known.id, state=state, rail_reference=rail_reference, finished_at=now)
        case Rejected(code=code, detail=detail):
            state = advance(known.state, DisbursementEvent.REJECT)
            return store.Finish(id=known.id, state=state, failure=f"{code}: {detail}", finished_at=now)
        case OutcomeUnknown():
            state = advance(known.state, DisbursementEvent.LOSE_TRACK)
            again = now + ask_again_after(known.attempts)
            return store.Finish(id=known.id, state=state, next_attempt_at=again)
        case _ as unreachable:
            assert_never(unreachable)


def ask_again_after(attempts: int) -> timedelta:
    """How long to wait after the `attempts`-th unknown answer."""
    return ASK_AFTER[attempts - 1] if 1 <= attempts <= len(ASK_AFTER) else DAILY


def payment_entry(disbursement: Disbursement, party: Party) -> JournalEntry:
    """The journal of a paid disbursement: out of the rail's balance, off the party's account."""
    transfer = Transfer(
        payable_account(party), _source(disbursement), disbursement.amount_minor, disbursement.currency
    )
    return _payment_entry(disbursement, EntryKind.DISBURSEMENT, transfer)


def return_entry(disbursement: Disbursement, party: Party) -> JournalEntry:
    """The journal of a payment that came back: the money is the rail's again, and owed to the party again."""
    transfer = Transfer(
        _source(disbursement), payable_account(party), disbursement.amount_minor, disbursement.currency
    )
    return _payment_entry(disbursement, EntryKind.DISBURSEMENT_RETURN, transfer)


def _source(disbursement: Disbursement) -> str:
    return BANK_SETTLEMENT if disbursement.rail == "bank" else PSP_RECEIVABLE


def _payment_entry(disbursement: Disbursement, kind: EntryKind, transfer: Transfer) -> JournalEntry:
    return JournalEntry(
        lane=lane_of(disbursement.id),
        subject_id=disbursement.id,
        kind=kind,
        currency=disbursement.currency,
        gross_minor=disbursement.amount_minor,
        transfers=(transfer,),
    )


async def forecast(
    connection: Connection, *, parties: Mapping[str, Party], now: datetime, days: int, party_id: str | None
) -> Sequence[CalendarDay]:
    """Amounts by party and due date from overdue to `days` ahead, with the reason where a sum will wait."""
    until = now.date() + timedelta(days=days)
    return calendar_ahead(
        await store.forecast(connection, until=until, party_id=party_id),
        await store.reserves_ahead(connection, until=until, party_id=party_id),
        parties=parties,
        today=now.date(),
        until=until,
    )
