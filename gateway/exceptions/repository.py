"""The exceptions queue in PostgreSQL: its rows, its history, and the causes in the gateway's own tables.

Owns: translation between rows and values. Must not know which kind needs what.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, named_queries
from gateway.exception_kinds import ExceptionEventKind, ExceptionKind, ExceptionState
from gateway.exceptions.four_eyes import ResolutionProposal
from gateway.exceptions.rules import SYSTEM, ExceptionRecord, FoundException, QueueChanges
from gateway.ids import new_id, shard_of

_sql = named_queries("gateway", "exceptions.sql")
# A PSP that has not answered for a day, a list or endpoint that failed three times in a row: no longer a
# matter of waiting.
UNKNOWN_OUTCOME_AFTER: Final = timedelta(hours=24)
FAILURES_IN_A_ROW: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseRecord:
    """An open cause in the gateway's tables. Its subject has a UUID or a name; `since` is of either clock.

    `session_id` is the session that the subject is about.
    """

    kind: ExceptionKind
    subject_uuid: UUID | None
    subject_name: str | None
    session_id: UUID | None
    party_id: str | None
    amount_minor: int | None
    currency: str | None
    reason: str
    detail: str
    since: datetime
    on_wall_clock: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionHistoryRecord:
    """One line of an exception's history."""

    position: int
    at: datetime
    kind: ExceptionEventKind
    actor: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionFilter:
    """Which exceptions to list; None: any. `since_before`: those whose cause is at least that old.

    `overdue_at`: those that are past the age limit of their kind then.
    """

    state: ExceptionState | None = ExceptionState.OPEN
    kind: ExceptionKind | None = None
    owner: str | None = None
    assignee: str | None = None
    party_id: str | None = None
    since_before: datetime | None = None
    overdue_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeLimitRecord:
    """From how many hours on exceptions of a kind are overdue, as a person set it."""

    kind: ExceptionKind
    hours: int
    set_by: str
    set_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenExceptionCount:
    """How many exceptions of a kind are open, since when the oldest, how many are past their limit."""

    kind: ExceptionKind
    open: int
    oldest_since: datetime
    overdue: int


async def lock_queue(connection: Connection) -> None:
    """Wait until nobody else compares the queue with its causes; held to the end of the transaction."""
    await _sql.lock_queue(connection)


async def list_causes(connection: Connection, *, wall_now: datetime) -> list[CauseRecord]:
    """Every open cause in the gateway's tables."""
    found = _sql.found(
        connection,
        unknown_before=wall_now - UNKNOWN_OUTCOME_AFTER,
        failing_pulls=FAILURES_IN_A_ROW,
        failing_deliveries=FAILURES_IN_A_ROW,
    )
    return [_cause(row) async for row in found]


async def open_exceptions(connection: Connection) -> list[ExceptionRecord]:
    """Every open exception."""
    return [_record(row) async for row in _sql.open_exceptions(connection)]


async def list_acknowledged(connection: Connection) -> frozenset[tuple[str, str]]:
    """Kind and subject of what a person has ended although its cause is still there."""
    return frozenset([(row["kind"], row["subject_id"]) async for row in _sql.acknowledged(connection)])


async def apply(connection: Connection, changes: QueueChanges, *, now: datetime) -> list[UUID]:
    """Write what `compare` found; the ids of the opened exceptions."""
    opened = [new_id() for _ in changes.opened]
    if opened:
        await _open(connection, opened, changes.opened, now=now)
    if changes.changed:
        await _sql.change_exceptions(
            connection,
            ids=[one.id for one, _ in changes.changed],
            owners=[cause.owner for _, cause in changes.changed],
            amounts=[cause.amount_minor for _, cause in changes.changed],
            currencies=[cause.currency for _, cause in changes.changed],
            reasons=[cause.reason for _, cause in changes.changed],
            details=[cause.detail for _, cause in changes.changed],
            old_reasons=[one.reason for one, _ in changes.changed],
            now=now,
        )
    if changes.gone:
        await resolve(
            connection, [one.id for one in changes.gone], actor=SYSTEM, note="the cause is gone", now=now
        )
    if changes.acknowledged_gone:
        kinds, subjects = zip(*changes.acknowledged_gone, strict=True)
        await _sql.forget_acknowledged(connection, kinds=kinds, subjects=subjects)
    return opened


async def load_many(connection: Connection, exception_ids: Sequence[UUID]) -> list[ExceptionRecord]:
    """These exceptions, in the order of their ids."""
    return [_record(row) async for row in _sql.load_exceptions(connection, ids=list(exception_ids))]


async def _open(
    connection: Connection, ids: Sequence[UUID], found: Sequence[FoundException], *, now: datetime
) -> None:
    await _sql.add_exceptions(
        connection,
        ids=ids,
        kinds=[one.kind.value for one in found],
        subjects=[one.subject_id for one in found],
        owners=[one.owner for one in found],
        parties=[one.party_id for one in found],
        amounts=[one.amount_minor for one in found],
        currencies=[one.currency for one in found],
        reasons=[one.reason for one in found],
        details=[one.detail for one in found],
        sinces=[one.since for one in found],
        now=now,
    )


async def resolve(
    connection: Connection,
    ids: Sequence[UUID],
    *,
    actor: str,
    note: str,
    now: datetime,
    acknowledged: bool = False,
) -> None:
    """Mark open exceptions resolved, with a line of history each."""
    await _sql.resolve_exceptions(
        connection, ids=list(ids), actor=actor, note=note, now=now, acknowledged=acknowledged
    )


async def add_event(
    connection: Connection,
    exception_id: UUID,
    kind: ExceptionEventKind,
    *,
    actor: str,
    note: str,
    now: datetime,
) -> None:
    """Add a line of history."""
    await _sql.add_event(connection, id=exception_id, kind=kind.value, actor=actor, note=note, now=now)


async def assign(connection: Connection, exception_id: UUID, *, assignee: str) -> None:
    """Name the person who looks after it."""
    await _sql.assign(connection, id=exception_id, assignee=assignee)


async def load(connection: Connection, exception_id: UUID) -> ExceptionRecord | None:
    """One exception."""
    row = await _sql.load_exception(connection, id=exception_id)
    return None if row is None else _record(row)


async def load_history(connection: Connection, exception_id: UUID) -> list[ExceptionHistoryRecord]:
    """What happened to an exception, in order."""
    return [
        ExceptionHistoryRecord(
            position=row["position"],
            at=row["at"],
            kind=ExceptionEventKind(row["kind"]),
            actor=row["actor"],
            note=row["note"],
        )
        async for row in _sql.history(connection, id=exception_id)
    ]


async def list_exceptions(
    connection: Connection,
    wanted: ExceptionFilter,
    *,
    limits: Mapping[ExceptionKind, timedelta],
    before: UUID | None,
    limit: int,
) -> list[ExceptionRecord]:
    """Exceptions, newest first, those with an id below `before`; `limits` say what is overdue."""
    found = _sql.exceptions(
        connection,
        state=None if wanted.state is None else wanted.state.value,
        kind=None if wanted.kind is None else wanted.kind.value,
        owner=wanted.owner,
        assignee=wanted.assignee,
        party_id=wanted.party_id,
        since_before=wanted.since_before,
        overdue_at=wanted.overdue_at,
        kinds=[kind.value for kind in limits],
        seconds=[limit.total_seconds() for limit in limits.values()],
        before=before,
        row_limit=limit,
    )
    return [_record(row) async for row in found]


async def open_counts(
    connection: Connection, *, limits: Mapping[ExceptionKind, timedelta], now: datetime
) -> list[OpenExceptionCount]:
    """The open exceptions by kind; `limits` are the ages from which they are overdue."""
    rows = _sql.open_counts(
        connection,
        kinds=[kind.value for kind in limits],
        seconds=[limit.total_seconds() for limit in limits.values()],
        now=now,
    )
    return [
        OpenExceptionCount(
            kind=ExceptionKind(row["kind"]),
            open=row["open"],
            oldest_since=row["oldest_since"],
            overdue=row["overdue"],
        )
        async for row in rows
    ]


async def list_age_limits(connection: Connection) -> list[AgeLimitRecord]:
    """The age limits that were set. One of a kind that this release does not know is left out."""
    known = {kind.value for kind in ExceptionKind}
    return [
        AgeLimitRecord(
            kind=ExceptionKind(row["kind"]), hours=row["hours"], set_by=row["set_by"], set_at=row["set_at"]
        )
        async for row in _sql.age_limits(connection)
        if row["kind"] in known
    ]


async def put_age_limits(
    connection: Connection, hours: Mapping[ExceptionKind, int], *, by: str, now: datetime
) -> None:
    """Set the age limits of these kinds; one that has that value already keeps who set it."""
    kinds = [kind.value for kind in hours]
    await _sql.put_age_limits(connection, kinds=kinds, hours=list(hours.values()), by=by, now=now)


async def delete_age_limits(connection: Connection, kinds: Sequence[ExceptionKind]) -> None:
    """Let these kinds have their defaults."""
    await _sql.delete_age_limits(connection, kinds=[kind.value for kind in kinds])


async def load_proposal(connection: Connection, exception_id: UUID) -> ResolutionProposal | None:
    """What a first person has proposed about an exception."""
    row = await _sql.load_proposal(connection, id=exception_id)
    return None if row is None else ResolutionProposal(**dict(row))


async def put_proposal(connection: Connection, exception_id: UUID, proposal: ResolutionProposal) -> None:
    """Keep a proposal, in the place of an earlier one."""
    await _sql.put_proposal(
        connection,
        id=exception_id,
        action=proposal.action,
        amount_minor=proposal.amount_minor,
        note=proposal.note,
        by=proposal.proposed_by,
        now=proposal.proposed_at,
    )


async def delete_proposal(connection: Connection, exception_id: UUID) -> None:
    """Forget what was proposed."""
    await _sql.delete_proposal(connection, id=exception_id)


async def retry_task(connection: Connection, task_id: UUID, *, wall_now: datetime) -> bool:
    """Let a stopped task run again. A task's id does not name its shard, so that is read first."""
    shard = await _sql.stopped_task_shard(connection, id=task_id)
    if shard is None:
        return False
    return await _sql.retry_task(connection, shard=shard, id=task_id, wall_now=wall_now) is not None


async def retry_message(connection: Connection, message_id: UUID, *, wall_now: datetime) -> bool:
    """Let an OCPI message be sent again."""
    return await _sql.retry_message(connection, id=message_id, wall_now=wall_now) is not None


async def retry_psp_request(connection: Connection, request_id: UUID, *, wall_now: datetime) -> bool:
    """Have the PSP asked now what became of a request."""
    retried = await _sql.retry_psp_request(
        connection, shard=shard_of(request_id), id=request_id, wall_now=wall_now
    )
    return retried is not None


async def retry_pull(connection: Connection, party_id: str, module: str, *, wall_now: datetime) -> bool:
    """Have a list of a party's platform pulled now."""
    retried = await _sql.retry_pull(connection, party_id=party_id, module=module, wall_now=wall_now)
    return retried is not None


_RECORD_FIELDS: Final = tuple(one.name for one in fields(ExceptionRecord))
_CAUSE_FIELDS: Final = tuple(one.name for one in fields(CauseRecord))


def _record(row: Mapping[str, Any]) -> ExceptionRecord:
    values = {name: row[name] for name in _RECORD_FIELDS}
    return ExceptionRecord(
        **values | {"kind": ExceptionKind(row["kind"]), "state": ExceptionState(row["state"])}
    )


def _cause(row: Mapping[str, Any]) -> CauseRecord:
    return CauseRecord(**{name: row[name] for name in _CAUSE_FIELDS} | {"kind": ExceptionKind(row["kind"])})
