"""The public exception: how a row of the queue is shown in answers and events.

Owns: that shape. Must not know who reads it.
"""

from collections.abc import Sequence
from typing import Final

from gateway.exception_kinds import ExceptionKind
from gateway.exceptions.age_limits import AgeLimits
from gateway.exceptions.due import due_at, hours_of
from gateway.exceptions.repository import ExceptionHistoryRecord
from gateway.exceptions.rules import KINDS, ExceptionRecord, NextStep, next_step
from gateway.ids import format_id
from gateway.schemas import exceptions

PREFIX: Final = "exc"


def next_step_of(record: ExceptionRecord) -> NextStep:
    """The next step that a person takes."""
    return next_step(record, public_id=format_id(PREFIX, record.id))


def exception_object(
    record: ExceptionRecord, *, history: Sequence[ExceptionHistoryRecord] | None = None
) -> exceptions.ExceptionSchema:
    """The public exception; with its history where that is given."""
    step = next_step_of(record)
    return exceptions.ExceptionSchema(
        id=format_id(PREFIX, record.id),
        kind=record.kind,
        title=KINDS[record.kind].title,
        subject=record.subject_id,
        state=record.state,
        owner=record.owner,
        assignee=record.assignee,
        party=record.party_id,
        amount=record.amount_minor,
        currency=record.currency,
        reason=record.reason,
        detail=record.detail,
        since=record.since,
        due_at=due_at(record),
        opened_at=record.opened_at,
        resolved_at=record.resolved_at,
        next_step=exceptions.ExceptionNextStepSchema(
            text=step.text, command=step.command, retry=KINDS[record.kind].retry
        ),
        history=None
        if history is None
        else [
            exceptions.ExceptionEventSchema(at=one.at, kind=one.kind, actor=one.actor, note=one.note)
            for one in history
        ],
    )


def age_limits_object(limits: AgeLimits) -> exceptions.ExceptionAgeLimitsSchema:
    """The public age limits."""
    return exceptions.ExceptionAgeLimitsSchema(
        hours={kind: hours_of(limits.values[kind]) for kind in ExceptionKind},
        own=[
            exceptions.ExceptionAgeLimitSchema(
                kind=one.kind, hours=one.hours, set_by=one.set_by, set_at=one.set_at
            )
            for one in limits.own
        ],
    )
