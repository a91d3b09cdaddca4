"""Disbursements: planned from what is due, sent to a rail, ended by its answer; and the payout calendar.

Owns: the order of steps of a disbursement and its journal entry. Must not know: the rail, who commits.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never
from uuid import UUID, uuid5

from clearing.captured_session import shard_of
from clearing.connection import Connection
from clearing.errors import ClearingConflictError
from clearing.ledger.journal_entry import (
    BANK_SETTLEMENT,
    PSP_RECEIVABLE,
    EntryKind,
    JournalEntry,
    Transfer,
    payable_account,
)
from clearing.parties.party import Party
from clearing.payouts import repository
from clearing.payouts.cancellation import find_cancellation_reason
from clearing.payouts.disbursement import (
    Disbursement,
    DisbursementEvent,
    DisbursementState,
    Paid,
    RailOutcome,
    RailOutcomeUnknown,
    Rejected,
    advance,
    end_to_end_id,
)
from clearing.payouts.forecast import CalendarDay, payout_calendar
from clearing.payouts.minimum_increment import remainder_entries, unpayable_remainder_minor
from clearing.payouts.netting import DueSum, destination, hold_reason
from clearing.payouts.reserve import hold_entry, plan_reserve, release_entry, withheld

# The id of a disbursement is derived from what it pays, so that planning twice can't make two.
_NAMESPACE: Final = UUID("6f1d6c1e-5f0b-5c59-9f6f-0d5a3f8b7c21")
LEASE: Final = timedelta(minutes=2)
# The rail is asked about an unknown outcome after these, then daily.
RETRY_AFTER: Final = (timedelta(seconds=5), timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1))
DAILY: Final = timedelta(days=1)
FOUR_EYES: Final = 2
_RESERVES: Final = 10_000  # released in one batch
_PAYABLES: Final = 100_000  # scheduled in one statement, unless one disbursement has more

Poster = Callable[[Sequence[JournalEntry]], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The effect of the rail's answers: disbursements `ended` or to be retried, and `repeated` answers.

    `conflicts` gives the state of a disbursement that did not wait for its answer: money may have moved.
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
    """Plan one disbursement per currency of what is due to each of the parties `names`, receivables netted.

    Due reserves are released first; then the reserve of each disbursement is withheld. `post` posts
    entries in the caller's transaction.
    """
    await repository.lock_planning(connection)
    await _release_reserves(connection, names, parties, post, now=now)
    dues = {
        uuid5(_NAMESPACE, f"{due.party_id}/{due.currency}/{due.period}/{due.attempts}"): due
        for due in await repository.sum_due(connection, names, now=now)
        if hold_reason(_after_reserve(due, parties[due.party_id]), parties[due.party_id]) is None
    }
    if not dues:
        return []
    await _withhold(connection, dues, parties, post)
    await _carry_remainders(dues, parties, post)
    scheduled: dict[UUID, tuple[int, int]] = {}
    for part in _bounded(dues):
        scheduled |= await repository.schedule(connection, part)
    planned = [
        disbursement
        for identifier, due in dues.items()
        if (disbursement := _planned(identifier, due, scheduled.get(identifier, (0, 0)), parties, now=now))
    ]
    # A batch that committed since the sums were read may have added a receivable.
    await repository.unschedule(connection, sorted(dues.keys() - {one.id for one in planned}))
    await repository.insert(connection, planned, now=now)
    return planned


def _bounded(dues: Mapping[UUID, DueSum]) -> Iterator[dict[UUID, DueSum]]:
    """Parts of a bounded number of payables, so that no statement grows with the number of parties."""
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
    identifier: UUID,
    planned: DueSum,
    scheduled: tuple[int, int],
    parties: Mapping[str, Party],
    *,
    now: datetime,
) -> Disbursement | None:
    """The disbursement of the sum and count `scheduled` for it; None if that is not to be paid."""
    due = replace(planned, amount_minor=scheduled[0], count=scheduled[1])
    party = parties[due.party_id]
    paid_to = destination(party)
    if paid_to is None or hold_reason(due, party) is not None:
        return None
    if _remainder(due.amount_minor, party, due.currency):
        return None  # a batch that committed meanwhile added a remainder: the next plan carries it
    limit = party.payout_terms.approval_above_minor
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
    while released := await repository.list_reserves_due(connection, names, now=now, limit=_RESERVES):
        await post([release_entry(reserve, parties[reserve.party_id]) for reserve in released])
        await repository.mark_released(connection, released, now=now)


async def _withhold(
    connection: Connection, dues: Mapping[UUID, DueSum], parties: Mapping[str, Party], post: Poster
) -> None:
    reserves = [
        plan_reserve(
            parties[due.party_id],
            disbursement_id=identifier,
            currency=due.currency,
            period=due.period,
            amount_minor=minor,
        )
        for identifier, due in dues.items()
        if (minor := _to_withhold(due, parties[due.party_id]))
    ]
    if reserves:
        await post([hold_entry(reserve, parties[reserve.party_id]) for reserve in reserves])
        await repository.insert_reserves(connection, reserves)


async def _carry_remainders(dues: Mapping[UUID, DueSum], parties: Mapping[str, Party], post: Poster) -> None:
    """Carry the part of each disbursement that the rail can't pay forward to the next day."""
    entries: list[JournalEntry] = []
    for identifier, due in dues.items():
        party = parties[due.party_id]
        minor = _after_reserve(due, party).amount_minor
        remainder = _remainder(minor, party, due.currency)
        if remainder:
            entries += remainder_entries(
                party,
                disbursement_id=identifier,
                currency=due.currency,
                paid_on=due.period,
                due_minor=minor,
                minor=remainder,
            )
    if entries:
        await post(entries)


def _remainder(minor: int, party: Party, currency: str) -> int:
    paid_to = destination(party)
    return 0 if paid_to is None else unpayable_remainder_minor(minor, rail=paid_to[0], currency=currency)


def _to_withhold(due: DueSum, party: Party) -> int:
    return withheld(
        sales_minor=due.sales_minor, held_minor=due.held_minor, reserve_bps=party.payout_terms.reserve_bps
    )


def _after_reserve(due: DueSum, party: Party) -> DueSum:
    return replace(due, amount_minor=due.amount_minor - _to_withhold(due, party))


async def begin(
    connection: Connection, disbursement_id: UUID, *, parties: Mapping[str, Party], now: datetime
) -> Disbursement | None:
    """Record the intent, to be committed before the rail is called.

    None if another worker has it, if it has ended, or if there is a reason to cancel it.

    A disbursement that is `requested` with more than one attempt, or `outcome_unknown`, may have been
    paid: ask the rail for it, or call it again under the same key.
    """
    known = await repository.get(connection, disbursement_id)
    if (
        known is not None
        and known.state is DisbursementState.PLANNED
        and find_cancellation_reason(known, parties[known.party_id], now=now) is not None
    ):
        return None
    return await repository.begin(connection, disbursement_id, now=now, lease_until=now + LEASE)


async def begin_due(
    connection: Connection, *, parties: Mapping[str, Party], now: datetime, limit: int
) -> list[Disbursement]:
    """Record the intents of up to `limit` disbursements over the PSP, as `begin` does for one.

    One that may no longer be sent is skipped: cancel those first, or they fill the limit.
    """
    due = await repository.lock_due(connection, now=now, limit=limit)
    ids = [
        one.id
        for one in due
        if one.state is not DisbursementState.PLANNED
        or find_cancellation_reason(one, parties[one.party_id], now=now) is None
    ]
    return await repository.request(connection, ids, now=now, lease_until=now + LEASE)


async def answer(
    connection: Connection,
    outcomes: Mapping[UUID, RailOutcome],
    *,
    parties: Mapping[str, Party],
    post: Poster,
    now: datetime,
) -> Answers:
    """Record the rail's answers; what was paid is posted with them, in one batch.

    A disbursement that does not wait for its answer is among the conflicts; the others are recorded.
    """
    locked = {one.id: one for one in await repository.lock_disbursements(connection, list(outcomes))}
    repeated: list[Disbursement] = []
    finishes: list[repository.DisbursementOutcome] = []
    conflicts: dict[UUID, str] = {}
    for identifier, outcome in outcomes.items():
        known = locked.get(identifier)
        if known is None:
            conflicts[identifier] = f"there is no disbursement {identifier}"
        elif _repeats(known, outcome):
            repeated.append(known)
        else:
            try:
                finishes.append(_finish(known, outcome, now=now))
            except ClearingConflictError as error:
                conflicts[identifier] = str(error)
    ended = await repository.finish(connection, finishes)
    await repository.unschedule(
        connection, [one.id for one in ended if one.state is DisbursementState.FAILED]
    )
    paid = [one for one in ended if one.state is DisbursementState.PAID]
    if paid:
        await post([disbursement_entry(one, parties[one.party_id]) for one in paid])
    return Answers(ended=ended, repeated=repeated, conflicts=conflicts)


def _repeats(known: Disbursement, outcome: RailOutcome) -> bool:
    return (
        isinstance(outcome, Paid)
        and known.state is DisbursementState.PAID
        and known.rail_reference == outcome.rail_reference
    )


def _finish(known: Disbursement, outcome: RailOutcome, *, now: datetime) -> repository.DisbursementOutcome:
    """The new state after the answer. Raises ClearingConflictError if the disbursement waits for none."""
    match outcome:
        case Paid(rail_reference=rail_reference):
            state = advance(known.state, DisbursementEvent.CONFIRM)
            return repository.DisbursementOutcome(
                id=known.id, state=state, rail_reference=rail_reference, finished_at=now
            )
        case Rejected(code=code, detail=detail):
            state = advance(known.state, DisbursementEvent.REJECT)
            return repository.DisbursementOutcome(
                id=known.id, state=state, failure=f"{code}: {detail}", finished_at=now
            )
        case RailOutcomeUnknown():
            state = advance(known.state, DisbursementEvent.LOSE_ANSWER)
            next_attempt_at = now + retry_after(known.attempts)
            return repository.DisbursementOutcome(id=known.id, state=state, next_attempt_at=next_attempt_at)
        case _ as unreachable:
            assert_never(unreachable)


def retry_after(attempts: int) -> timedelta:
    """The wait after the `attempts`-th unknown outcome."""
    return RETRY_AFTER[attempts - 1] if 1 <= attempts <= len(RETRY_AFTER) else DAILY


def disbursement_entry(disbursement: Disbursement, party: Party) -> JournalEntry:
    """The entry of a paid disbursement: from the party's account, out of the rail's balance."""
    transfer = Transfer(
        payable_account(party), _source(disbursement), disbursement.amount_minor, disbursement.currency
    )
    return _entry(disbursement, EntryKind.DISBURSEMENT, transfer)


def return_entry(disbursement: Disbursement, party: Party) -> JournalEntry:
    """The entry of a returned disbursement: back to the rail's balance, owed to the party again."""
    transfer = Transfer(
        _source(disbursement), payable_account(party), disbursement.amount_minor, disbursement.currency
    )
    return _entry(disbursement, EntryKind.DISBURSEMENT_RETURN, transfer)


def _source(disbursement: Disbursement) -> str:
    return BANK_SETTLEMENT if disbursement.rail == "bank" else PSP_RECEIVABLE


def _entry(disbursement: Disbursement, kind: EntryKind, transfer: Transfer) -> JournalEntry:
    return JournalEntry(
        shard=shard_of(disbursement.id),
        subject_id=disbursement.id,
        kind=kind,
        currency=disbursement.currency,
        gross_minor=disbursement.amount_minor,
        transfers=(transfer,),
    )


async def forecast(
    connection: Connection, *, parties: Mapping[str, Party], now: datetime, days: int, party_id: str | None
) -> Sequence[CalendarDay]:
    """The payout calendar from overdue to `days` ahead, with the reason of each hold."""
    until = now.date() + timedelta(days=days)
    return payout_calendar(
        await repository.list_due_payables(connection, until=until, party_id=party_id),
        await repository.list_reserves_ahead(connection, until=until, party_id=party_id),
        parties=parties,
        today=now.date(),
        until=until,
    )
