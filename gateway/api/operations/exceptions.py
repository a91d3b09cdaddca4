"""The exceptions queue over HTTP: what waits for a person, why, and what to do next.

Owns: the wire form. Must not know any kind of exception. Only the platform sees the queue.
"""

from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import Line, ListQuery, Slug, before
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import principal
from gateway.database import transaction
from gateway.exceptions.repository import ExceptionFilter
from gateway.exceptions.rules import (
    KINDS,
    ExceptionEventKind,
    ExceptionKind,
    ExceptionRecord,
    ExceptionState,
)
from gateway.exceptions.service import PREFIX, ExceptionService, ExceptionView, next_step_of
from gateway.ids import format_id
from gateway.payments.stated_usage import UsageAction, UsageDecision

_MAX_NOTE: Final = 500
Note = Annotated[
    str,
    Field(
        min_length=1, max_length=_MAX_NOTE, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
    ),
]


class ExceptionsQuery(ListQuery):
    """Which exceptions to list, newest first."""

    state: ExceptionState | None = Field(None, description="open or resolved; both unless it is given")
    kind: ExceptionKind | None = Field(None, description="what stopped")
    owner: Line | None = Field(None, description="who looks after them")
    assignee: Line | None = Field(None, description="the person who took them on")
    party: Slug | None = Field(None, description="the party that they are about")
    older_than_hours: int | None = Field(
        None, ge=0, le=100_000, description="only those whose cause arose at least so long ago"
    )


class ResolveExceptionBody(WireModel):
    """Why it may be resolved, or what was mended."""

    note: Note = Field(
        description="kept in the history", examples=["the missing agreement was stored, ticket 1204"]
    )
    action: UsageAction | None = Field(
        None, description="what is done about usage that failed a check; only for the kind failed_cdr_check"
    )
    amount: int | None = Field(
        None, ge=0, description="with the action set_amount: minor units, VAT included, at most the price"
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.amount is not None) != (self.action is UsageAction.SET_AMOUNT):
            raise ValueError("amount goes with the action set_amount")
        return self

    @property
    def decision(self) -> UsageDecision | None:
        """The decision, if the body holds one."""
        if self.action is None:
            return None
        return UsageDecision(action=self.action, amount_minor=self.amount)


class AssignExceptionBody(WireModel):
    """Who looks after it from now on."""

    assignee: Line = Field(description="a person or team", examples=["ben"])
    note: Note | None = Field(None, description="kept in the history")


class ExceptionEventSchema(api_schemas.PublicSchema):
    """One line of an exception's history."""

    at: api_schemas.Instant
    kind: ExceptionEventKind = Field(description="what happened to the exception")
    actor: str = Field(description="who did it; system for this system itself")
    note: str = Field(description="the reason or remark")


class ExceptionNextStepSchema(api_schemas.PublicSchema):
    """What a person does about an exception."""

    text: str = Field(description="what to do, in words")
    command: str = Field(description="the command or request that does it")
    retry: str | None = Field(
        description="what resolving does; null where only the command, or a reason, ends it"
    )


class ExceptionSchema(api_schemas.PublicSchema):
    """Something that stopped and waits for a person. `history` is in the answer about one exception only."""

    id: str
    object: Literal["exception"] = "exception"
    kind: ExceptionKind = Field(description="what stopped")
    title: str = Field(description="the kind in words")
    subject: str = Field(description="id or name of what stopped, unique in its kind")
    state: ExceptionState = Field(description="open while its cause is there")
    owner: str = Field(description="who looks after this kind")
    assignee: str | None = Field(description="the person who took it on")
    party: str | None = Field(description="the party that it is about")
    amount: int | None = Field(description="the amount at stake in minor units of `currency`")
    currency: str | None = Field(description="ISO 4217 code of `amount`")
    reason: str = Field(description="why, as a code")
    detail: str = Field(description="why, in words")
    since: api_schemas.Instant = Field(description="when its cause arose")
    opened_at: api_schemas.Instant = Field(description="when it entered the queue")
    resolved_at: api_schemas.Instant | None = Field(description="when its cause was gone; null while open")
    next_step: ExceptionNextStepSchema = Field(description="what to do about it")
    history: list[ExceptionEventSchema] | None = Field(description="what happened to it; null in lists")


def exception_object(record: ExceptionRecord, *, view: ExceptionView | None = None) -> ExceptionSchema:
    """The public exception; with its history where `view` is given."""
    step = next_step_of(record)
    return ExceptionSchema(
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
        opened_at=record.opened_at,
        resolved_at=record.resolved_at,
        next_step=ExceptionNextStepSchema(
            text=step.text, command=step.command, retry=KINDS[record.kind].retry
        ),
        history=None
        if view is None
        else [
            ExceptionEventSchema(at=one.at, kind=one.kind, actor=one.actor, note=one.note)
            for one in view.history
        ],
    )


async def list_all(call: ApiRequest) -> ApiResponse:
    """The queue as it is now, newest first."""
    query: ExceptionsQuery = call.query
    now = call.services.now()
    wanted = ExceptionFilter(
        state=query.state,
        kind=query.kind,
        owner=query.owner,
        assignee=query.assignee,
        party_id=query.party,
        since_before=None
        if query.older_than_hours is None
        else now - timedelta(hours=query.older_than_hours),
    )
    service = _service(call)
    async with transaction(call.services.pool) as connection:
        await service.refresh(connection, now=now, wall_now=call.services.clock.wall_now())
        found = await service.list_exceptions(
            connection, wanted, before=before(query, PREFIX), limit=query.limit + 1
        )
    return ApiResponse(body=page([exception_object(one) for one in found], limit=query.limit))


async def get(call: ApiRequest) -> ApiResponse:
    """One exception with its history."""
    exception_id = call.path_id("id", PREFIX)
    service = _service(call)
    async with transaction(call.services.pool) as connection:
        await service.refresh(connection, now=call.services.now(), wall_now=call.services.clock.wall_now())
        return _answer(await service.get(connection, exception_id))


async def resolve(call: ApiRequest) -> ApiResponse:
    """Try again what stopped; resolved if that ended its cause."""
    body: ResolveExceptionBody = call.body
    exception_id = call.path_id("id", PREFIX)
    async with transaction(call.services.pool) as connection:
        return _answer(
            await _service(call).resolve(
                connection,
                exception_id,
                by=await principal(call, connection),
                note=body.note,
                decision=body.decision,
                now=call.services.now(),
                wall_now=call.services.clock.wall_now(),
            )
        )


async def assign(call: ApiRequest) -> ApiResponse:
    """Name who looks after it."""
    body: AssignExceptionBody = call.body
    exception_id = call.path_id("id", PREFIX)
    async with transaction(call.services.pool) as connection:
        return _answer(
            await _service(call).assign(
                connection,
                exception_id,
                assignee=body.assignee,
                by=await principal(call, connection),
                note=body.note or "",
                now=call.services.now(),
            )
        )


def _service(call: ApiRequest) -> ExceptionService:
    return ExceptionService(clearing=call.services.clearing)


def _answer(view: ExceptionView) -> ApiResponse:
    return ApiResponse(body=exception_object(view.record, view=view))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/exceptions",
        operation="listExceptions",
        summary="List exceptions",
        description="All that stopped and waits for a person: since when, who looks after it, how much is at "
        "stake, why, and what to do next.",
        tag="Operations",
        scope=Scope.ADMIN,
        handler=list_all,
        query=ExceptionsQuery,
        answers={200: ExceptionSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/exceptions/{id}",
        operation="getException",
        summary="Get an exception",
        description="With its history.",
        tag="Operations",
        scope=Scope.ADMIN,
        handler=get,
        answers={200: ExceptionSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/exceptions/{id}/resolve",
        operation="resolveException",
        summary="Resolve an exception",
        description="Tries again what stopped, as `next_step.retry` says, or decides about usage that "
        "failed a check (`action`). The exception is resolved as soon as its cause is gone, and stays open "
        "until then. Where nothing can be tried again the answer is a conflict that names the command which "
        "ends the cause.",
        tag="Operations",
        scope=Scope.ADMIN,
        handler=resolve,
        body=ResolveExceptionBody,
        answers={200: ExceptionSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/exceptions/{id}/assign",
        operation="assignException",
        summary="Assign an exception",
        tag="Operations",
        scope=Scope.ADMIN,
        handler=assign,
        body=AssignExceptionBody,
        answers={200: ExceptionSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
