"""The exceptions queue: kept in step with its causes, listed, assigned, resolved.

Owns: when the queue is compared with its causes, and what resolving means. Must not know SQL, HTTP, or how a
cause
is mended. A cause is a row of the part that it belongs to, written in that part's own transaction. The queue
is
derived from those rows every minute and before every read, so that nothing can stop without being seen, and
nothing is called resolved while its cause is still there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from clearing.approvals import service as approvals
from clearing.parties.party import PLATFORM_ID
from clearing.reporting import open_items
from clearing.reporting.open_items import OpenCause, OpenCauseKind
from clearing.services import ClearingServices
from gateway.database import Connection
from gateway.exception_kinds import ExceptionEventKind, ExceptionKind, ExceptionState
from gateway.exceptions import four_eyes, repository
from gateway.exceptions.actions import ACTIONS, ActionRequest
from gateway.exceptions.age_limits import limits_of
from gateway.exceptions.decisions import Decision, action_of, misfit
from gateway.exceptions.errors import ExceptionConflictError, ExceptionNotFoundError
from gateway.exceptions.presenter import PREFIX, exception_object, next_step_of
from gateway.exceptions.repository import (
    CauseRecord,
    ExceptionFilter,
    ExceptionHistoryRecord,
    OpenExceptionCount,
)
from gateway.exceptions.rules import (
    KINDS,
    ExceptionRecord,
    FoundException,
    NextStep,
    compare,
    may_be_acknowledged,
)
from gateway.ids import format_id, shard_of
from gateway.webhooks import events
from gateway.webhooks.events import EventType, NewEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionView:
    """An exception with its next step and history."""

    record: ExceptionRecord
    next_step: NextStep
    history: Sequence[ExceptionHistoryRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshedQueue:
    """How many exceptions a comparison opened and resolved."""

    opened: int
    resolved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionService:
    """The queue. Every method takes the caller's connection, in a transaction."""

    clearing: ClearingServices

    async def refresh(self, connection: Connection, *, now: datetime, wall_now: datetime) -> RefreshedQueue:
        """Bring the queue in step with its causes at business time `now`."""
        await repository.lock_queue(connection)
        found = await self._found(connection, now=now, wall_now=wall_now)
        changes = compare(
            await repository.open_exceptions(connection),
            found,
            acknowledged=await repository.list_acknowledged(connection),
        )
        opened = await repository.apply(connection, changes, now=now)
        await self._publish(connection, EventType.EXCEPTION_OPENED, opened, now=now)
        gone = [one.id for one in changes.gone]
        await self._publish(connection, EventType.EXCEPTION_RESOLVED, gone, now=now)
        return RefreshedQueue(opened=len(changes.opened), resolved=len(changes.gone))

    async def list_exceptions(
        self, connection: Connection, wanted: ExceptionFilter, *, before: UUID | None = None, limit: int
    ) -> Sequence[ExceptionRecord]:
        """Exceptions as of the last refresh, newest first, those older than `before`."""
        limits = limits_of(await repository.list_age_limits(connection))
        return await repository.list_exceptions(connection, wanted, limits=limits, before=before, limit=limit)

    async def count_open(self, connection: Connection, *, now: datetime) -> Sequence[OpenExceptionCount]:
        """The open exceptions by kind, as of the last refresh.

        Empty means that nothing waits for a person.
        """
        limits = limits_of(await repository.list_age_limits(connection))
        return await repository.open_counts(connection, limits=limits, now=now)

    async def get(self, connection: Connection, exception_id: UUID) -> ExceptionView:
        """One exception with its history. Raises ExceptionNotFoundError."""
        record = await repository.load(connection, exception_id)
        if record is None:
            raise ExceptionNotFoundError(f"there is no exception {format_id(PREFIX, exception_id)}")
        return ExceptionView(
            record=record,
            next_step=next_step_of(record),
            history=await repository.load_history(connection, exception_id),
        )

    async def assign(
        self, connection: Connection, exception_id: UUID, *, assignee: str, by: str, note: str, now: datetime
    ) -> ExceptionView:
        """Name the person who looks after an open exception.

        Raises ExceptionNotFoundError, ExceptionConflictError.
        """
        await repository.lock_queue(connection)
        self._check_open((await self.get(connection, exception_id)).record)
        await repository.assign(connection, exception_id, assignee=assignee)
        text = f"to {assignee}" if not note else f"to {assignee}: {note}"
        await repository.add_event(
            connection, exception_id, ExceptionEventKind.ASSIGNED, actor=by, note=text, now=now
        )
        return await self.get(connection, exception_id)

    async def resolve(
        self,
        connection: Connection,
        exception_id: UUID,
        *,
        by: str,
        note: str,
        now: datetime,
        wall_now: datetime,
        decision: Decision | None = None,
    ) -> ExceptionView:
        """Try the cause again, or accept the person's reason where nothing can mend it.

        The exception is resolved if its cause is gone thereafter; else it stays open with a line of history,
        and is resolved when the cause is gone.

        Raises:
            ExceptionNotFoundError: there is none of that id.
            ExceptionConflictError: it is resolved already, or only its own command ends it; the text names
            that; or `decision` is missing or out of place. PaymentConflictError: the decision does not fit.
            ClearingConflictError: a hold that only a second person may lift.

        Above the approval limit the first call proposes, and the same call by a second person carries it out.
        """
        await self.refresh(connection, now=now, wall_now=wall_now)
        record = (await self.get(connection, exception_id)).record
        self._check_open(record)
        why_not = misfit(record.kind, decision)
        if why_not is not None:
            raise ExceptionConflictError(why_not)
        if await self._only_proposes(connection, record, decision, by=by, note=note, now=now):
            return await self.get(connection, exception_id)
        if may_be_acknowledged(record):
            await self._resolve(connection, exception_id, by=by, note=note, now=now, acknowledged=True)
            return await self.get(connection, exception_id)
        asked = ActionRequest(
            exception=record, clearing=self.clearing, by=by, now=now, wall_now=wall_now, decision=decision
        )
        await self._retry(connection, record, asked, note=note)
        found = await self._found(connection, now=now, wall_now=wall_now)
        if (record.kind, record.subject_id) not in {(one.kind, one.subject_id) for one in found}:
            await self._resolve(connection, exception_id, by=by, note=note, now=now)
        return await self.get(connection, exception_id)

    async def _only_proposes(
        self,
        connection: Connection,
        record: ExceptionRecord,
        decision: Decision | None,
        *,
        by: str,
        note: str,
        now: datetime,
    ) -> bool:
        """Whether a second person still has to confirm; what is asked for is then kept as a proposal."""
        known = await repository.load_proposal(connection, record.id)
        proposer = by if known is None else known.proposed_by
        limits = await approvals.load_limits(connection, by=proposer)
        if not four_eyes.needs_two(record, decision, limits=limits):
            return False
        asked = four_eyes.proposal_of(decision, note=note, by=by, now=now)
        if known is not None and four_eyes.confirms(known, asked):
            if four_eyes.is_own(known, by=by):
                raise ExceptionConflictError(
                    "above the approval limit: a second person confirms it. "
                    f"Proposed: {four_eyes.described(known)}"
                )
            await repository.delete_proposal(connection, record.id)
            return False
        await repository.put_proposal(connection, record.id, asked)
        await repository.add_event(
            connection,
            record.id,
            ExceptionEventKind.PROPOSED,
            actor=by,
            note=four_eyes.described(asked),
            now=now,
        )
        return True

    async def _resolve(
        self,
        connection: Connection,
        exception_id: UUID,
        *,
        by: str,
        note: str,
        now: datetime,
        acknowledged: bool = False,
    ) -> None:
        await repository.resolve(
            connection, [exception_id], actor=by, note=note, now=now, acknowledged=acknowledged
        )
        await self._publish(connection, EventType.EXCEPTION_RESOLVED, [exception_id], now=now)

    async def _publish(
        self, connection: Connection, kind: EventType, exception_ids: Sequence[UUID], *, now: datetime
    ) -> None:
        """Record an event to the platform for each of these, as it is now."""
        if not exception_ids:
            return
        new = [
            NewEvent(
                type=kind,
                party_id=PLATFORM_ID,
                object_id=format_id(PREFIX, one.id),
                data=exception_object(one).as_json(),
                shard=shard_of(one.id),
            )
            for one in await repository.load_many(connection, exception_ids)
        ]
        await events.record(connection, new, now=now)

    async def _retry(
        self,
        connection: Connection,
        record: ExceptionRecord,
        asked: ActionRequest,
        *,
        note: str,
    ) -> None:
        action, step = ACTIONS.get(record.kind), next_step_of(record)
        if action is None:
            raise ExceptionConflictError(f"its cause is still there. {step.text} Use: {step.command}")
        if not await action(connection, asked):
            raise ExceptionConflictError(
                f"can't {KINDS[record.kind].retry}: {record.subject_id} is not ready for it. {step.text}"
            )
        done = action_of(asked.decision).value if asked.decision is not None else KINDS[record.kind].retry
        await repository.add_event(
            connection,
            record.id,
            ExceptionEventKind.RETRIED,
            actor=asked.by,
            note=f"{done}: {note}",
            now=asked.now,
        )

    def _check_open(self, record: ExceptionRecord) -> None:
        if record.state is not ExceptionState.OPEN:
            raise ExceptionConflictError(f"{format_id(PREFIX, record.id)} is resolved already")

    async def _found(
        self, connection: Connection, *, now: datetime, wall_now: datetime
    ) -> list[FoundException]:
        """Every open cause. What clearing says of a session completes what the gateway says of it."""
        own = [
            _own(cause, now=now, wall_now=wall_now)
            for cause in await repository.list_causes(connection, wall_now=wall_now)
        ]
        sessions: dict[str, OpenCause] = {}
        found: list[FoundException] = []
        for cause in await open_items.open_causes(connection, now=now):
            if cause.kind is OpenCauseKind.SESSION:
                sessions[_subject(ExceptionKind.UNCLEARED_SESSION, cause.id, cause.name)] = cause
            else:
                found.append(_of_clearing(cause))
        return [*(_with_reason(one, sessions.get(one.subject_id)) for one in own), *found]


def _subject(kind: ExceptionKind, identifier: UUID | None, name: str | None) -> str:
    prefix = KINDS[kind].prefix
    return name or "" if identifier is None or prefix is None else format_id(prefix, identifier)


def _own(cause: CauseRecord, *, now: datetime, wall_now: datetime) -> FoundException:
    """A cause of the gateway's. Its age counts on the clock that dated it; `since` is in business time."""
    return FoundException(
        kind=cause.kind,
        subject_id=_subject(cause.kind, cause.subject_uuid, cause.subject_name),
        owner=KINDS[cause.kind].owner,
        party_id=cause.party_id,
        amount_minor=cause.amount_minor if cause.currency is not None else None,
        currency=cause.currency if cause.amount_minor is not None else None,
        reason=cause.reason,
        detail=_about_session(cause),
        since=now - (wall_now - cause.since) if cause.on_wall_clock else cause.since,
    )


def _about_session(cause: CauseRecord) -> str:
    if cause.session_id is None:
        return cause.detail
    return f"{format_id('ses', cause.session_id)}: {cause.detail}"


def _of_clearing(cause: OpenCause) -> FoundException:
    kind = ExceptionKind(cause.kind.value)
    return FoundException(
        kind=kind,
        subject_id=_subject(kind, cause.id, cause.name),
        owner=cause.owner or KINDS[kind].owner,
        party_id=cause.party_id,
        amount_minor=cause.amount_minor,
        currency=cause.currency,
        reason=cause.reason,
        detail=cause.detail,
        since=cause.since,
    )


def _with_reason(found: FoundException, cause: OpenCause | None) -> FoundException:
    if cause is None or found.kind is not ExceptionKind.UNCLEARED_SESSION:
        return found
    return replace(found, reason=cause.reason, detail=cause.detail, since=cause.since)
