"""Disbursements and the payables that they settle, in PostgreSQL.

Owns: rows to values and back. Must not know: the rail, when to pay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.payouts.disbursement import Disbursement, DisbursementState
from clearing.payouts.forecast import DuePayable
from clearing.payouts.netting import DueSum
from clearing.payouts.reschedule import OpenDueDate
from clearing.payouts.reserve import Reserve

_sql = named_queries("payouts")
_NIL: Final = UUID(int=0)
_PAYABLE_KEY: Final = ("shard", "subject_id", "kind", "reference", "party_id")


async def lock_planning(connection: Connection) -> None:
    """One planner at a time, until the transaction ends."""
    await _sql.lock_planning(connection)


async def list_parties_due(connection: Connection, *, now: datetime) -> list[str]:
    """Parties with something due on their local day, or a reserve to be released."""
    return [row["id"] for row in await rows(_sql.parties_due(connection, now=now))]


async def sum_due(connection: Connection, parties: Sequence[str], *, now: datetime) -> list[DueSum]:
    """What is due to these parties on their local day, unless that day has an active disbursement."""
    found = await rows(_sql.due_sums(connection, parties=parties, now=now))
    return [DueSum(**dict(row.items())) for row in found]


async def schedule(connection: Connection, dues: Mapping[UUID, DueSum]) -> dict[UUID, tuple[int, int]]:
    """Schedule what is due for its disbursements; the signed sum and the count of payables of each."""
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
    """Open the payables of disbursements again."""
    if disbursement_ids:
        await _sql.unschedule(connection, ids=disbursement_ids)


async def insert(connection: Connection, planned: Sequence[Disbursement], *, now: datetime) -> None:
    """Write planned disbursements."""
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


async def list_reserves_due(
    connection: Connection, parties: Sequence[str], *, now: datetime, limit: int
) -> list[Reserve]:
    """Reserves of these parties to be released, locked until the transaction ends."""
    found = await rows(_sql.reserves_due(connection, parties=parties, now=now, limit=limit))
    return [Reserve(**dict(row.items())) for row in found]


async def list_reserves_ahead(connection: Connection, *, until: date, party_id: str | None) -> list[Reserve]:
    """Reserves that will be released up to a day."""
    found = await rows(_sql.reserves_ahead(connection, until=until, party_id=party_id))
    return [Reserve(**dict(row.items())) for row in found]


async def insert_reserves(connection: Connection, reserves: Sequence[Reserve]) -> None:
    """Record what was withheld."""
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
    """Record one person's approval; how many people have approved the disbursement by now."""
    await _sql.approve(connection, id=disbursement_id, approver=approver, now=now)
    count: int = await _sql.approvals(connection, id=disbursement_id)
    return count


async def list_awaiting_approval(connection: Connection, *, limit: int) -> list[Disbursement]:
    """Planned disbursements that lack an approval."""
    return [_disbursement(row) for row in await rows(_sql.awaiting_approval(connection, limit=limit))]


async def mark_returned(
    connection: Connection, disbursement_id: UUID, *, failure: str, now: datetime
) -> Disbursement | None:
    """Record a returned disbursement: its payables are open again; None if it was not paid.

    Its payables are recorded for its settlement statement.
    """
    row = await _sql.mark_returned(connection, id=disbursement_id, failure=failure, now=now)
    if row is None:
        return None
    await _sql.insert_returned_payables(connection, id=disbursement_id)
    await unschedule(connection, [disbursement_id])
    return _disbursement(row)


async def begin(
    connection: Connection, disbursement_id: UUID, *, now: datetime, lease_until: datetime
) -> Disbursement | None:
    """Record the intent; None if another worker has the disbursement, or it has ended."""
    row = await _sql.begin(connection, id=disbursement_id, now=now, lease_until=lease_until)
    return None if row is None else _disbursement(row)


async def lock_due(connection: Connection, *, now: datetime, limit: int) -> list[Disbursement]:
    """Up to `limit` due disbursements over the PSP, locked until the transaction ends."""
    return [_disbursement(row) for row in await rows(_sql.lock_due(connection, now=now, limit=limit))]


async def request(
    connection: Connection, disbursement_ids: Sequence[UUID], *, now: datetime, lease_until: datetime
) -> list[Disbursement]:
    """Record the intents of disbursements that this transaction has locked."""
    found = await rows(_sql.request(connection, ids=disbursement_ids, now=now, lease_until=lease_until))
    return [_disbursement(row) for row in found]


async def lock_disbursements(connection: Connection, disbursement_ids: Sequence[UUID]) -> list[Disbursement]:
    """Disbursements as they are, locked in the order of their ids until the transaction ends."""
    return [
        _disbursement(row) for row in await rows(_sql.lock_disbursements(connection, ids=disbursement_ids))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisbursementOutcome:
    """The new state of one disbursement after the rail's answer."""

    id: UUID
    state: DisbursementState
    rail_reference: str | None = None
    failure: str | None = None
    next_attempt_at: datetime | None = None
    finished_at: datetime | None = None


async def finish(connection: Connection, outcomes: Sequence[DisbursementOutcome]) -> list[Disbursement]:
    """Record the rail's answers in one statement; disbursements that don't wait for one are left out."""
    if not outcomes:
        return []
    found = await rows(
        _sql.finish(
            connection,
            ids=[one.id for one in outcomes],
            states=[one.state for one in outcomes],
            rail_references=[one.rail_reference for one in outcomes],
            failures=[one.failure for one in outcomes],
            next_attempts=[one.next_attempt_at for one in outcomes],
            finished=[one.finished_at for one in outcomes],
        )
    )
    return [_disbursement(row) for row in found]


async def get(connection: Connection, disbursement_id: UUID) -> Disbursement | None:
    """One disbursement."""
    row = await _sql.get(connection, id=disbursement_id)
    return None if row is None else _disbursement(row)


async def list_due_payables(connection: Connection, *, until: date, party_id: str | None) -> list[DuePayable]:
    """Unpaid payables by party, currency, due date and state, up to a day."""
    found = await rows(_sql.forecast(connection, until=until, party_id=party_id))
    return [DuePayable(**dict(row.items())) for row in found]


async def open_due_dates(
    connection: Connection, *, since: date, after: OpenDueDate | None, limit: int
) -> list[OpenDueDate]:
    """A page of open payables due from `since` on, in the order of their key, those after `after`."""
    key: dict[str, object] = (
        {"shard": -1, "subject_id": _NIL, "kind": "", "reference": "", "party_id": ""}
        if after is None
        else {name: getattr(after, name) for name in _PAYABLE_KEY}
    )
    page = await rows(_sql.open_due_dates(connection, since=since, limit=limit, **key))
    return [OpenDueDate(**dict(row.items())) for row in page]


async def move_due_dates(
    connection: Connection,
    changes: Sequence[tuple[OpenDueDate, date]],
    *,
    reason: str,
    now: datetime,
) -> None:
    """Give payables that are still open their new due dates, recording the reason."""
    await _sql.move_due_dates(
        connection,
        now=now,
        reason=reason,
        shards=[payable.shard for payable, _ in changes],
        subjects=[payable.subject_id for payable, _ in changes],
        kinds=[payable.kind for payable, _ in changes],
        refs=[payable.reference for payable, _ in changes],
        parties=[payable.party_id for payable, _ in changes],
        olds=[payable.due_date for payable, _ in changes],
        news=[day for _, day in changes],
    )


def _disbursement(row: Any) -> Disbursement:
    fields = dict(row.items())
    return Disbursement(**{**fields, "state": DisbursementState(fields["state"])})
