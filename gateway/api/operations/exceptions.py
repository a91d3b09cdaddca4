"""The exceptions queue over HTTP: what waits for a person, why, and what to do next.

Owns: the wire form. Must not know any kind of exception. Only the platform sees the queue.
"""

from datetime import timedelta
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import Line, ListQuery, Slug, before
from gateway.api.idempotency import KeyRule
from gateway.exception_kinds import ExceptionKind, ExceptionState
from gateway.exceptions.decisions import Decision, decision_of
from gateway.exceptions.due import MAX_HOURS, MIN_HOURS
from gateway.exceptions.presenter import PREFIX, age_limits_object, exception_object
from gateway.exceptions.repository import ExceptionFilter
from gateway.exceptions.service import ExceptionView
from gateway.payments.stated_usage import UsageAction
from gateway.payments.unbooked_charges import ChargeAction
from gateway.schemas import exceptions

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
    owner: Line | None = Field(None, description="the owner")
    assignee: Line | None = Field(None, description="the person assigned to them")
    party: Slug | None = Field(None, description="the party concerned")
    overdue: bool = Field(default=False, description="only exceptions past their `due_at`")
    older_than_hours: int | None = Field(
        None, ge=0, le=100_000, description="only exceptions whose cause arose at least this many hours ago"
    )


class ResolveExceptionBody(WireModel):
    """What was corrected, or why the exception may end."""

    note: Note = Field(
        description="stored in the history", examples=["the missing agreement was stored, ticket 1204"]
    )
    action: UsageAction | ChargeAction | None = Field(
        None,
        description="what is done about usage that failed a check (kind failed_cdr_check: take_as_is,"
        " take_lower, set_amount, reject, release), or about money at the PSP that is in no book (kind"
        " unbooked_charge: adopt, refund, leave); no other kind takes one",
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
    def decision(self) -> Decision | None:
        """The decision, if the body holds one."""
        return None if self.action is None else decision_of(self.action, amount_minor=self.amount)


class AssignExceptionBody(WireModel):
    """The person who takes on the exception."""

    assignee: Line = Field(description="a person or team", examples=["ben"])
    note: Note | None = Field(None, description="stored in the history")


class ExceptionAgeLimitsBody(WireModel):
    """Age limits to set, in hours by kind; null: the default again. Other kinds keep theirs."""

    hours: dict[ExceptionKind, Annotated[int, Field(ge=MIN_HOURS, le=MAX_HOURS)] | None] = Field(
        min_length=1, examples=[{"failed_task": 12}]
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
        overdue_at=now if query.overdue else None,
    )
    found = await call.services.exceptions.list(wanted, before=before(query, PREFIX), limit=query.limit + 1)
    return ApiResponse(body=page([exception_object(one) for one in found], limit=query.limit))


async def get(call: ApiRequest) -> ApiResponse:
    """One exception with its history."""
    return _answer(await call.services.exceptions.get(call.path_id("id", PREFIX)))


async def resolve(call: ApiRequest) -> ApiResponse:
    """Try again what stopped; resolved if that ended its cause."""
    body: ResolveExceptionBody = call.body
    return _answer(
        await call.services.exceptions.resolve(
            call.path_id("id", PREFIX), note=body.note, decision=body.decision, key=call.caller.key
        )
    )


async def assign(call: ApiRequest) -> ApiResponse:
    """Name who looks after it."""
    body: AssignExceptionBody = call.body
    return _answer(
        await call.services.exceptions.assign(
            call.path_id("id", PREFIX), assignee=body.assignee, note=body.note or "", key=call.caller.key
        )
    )


async def get_age_limits(call: ApiRequest) -> ApiResponse:
    """From which age exceptions of each kind are overdue."""
    return ApiResponse(body=age_limits_object(await call.services.exceptions.age_limits()))


async def set_age_limits(call: ApiRequest) -> ApiResponse:
    """Set some of them, or let them have their defaults."""
    body: ExceptionAgeLimitsBody = call.body
    found = await call.services.exceptions.set_age_limits(body.hours, key=call.caller.key)
    return ApiResponse(body=age_limits_object(found))


def _answer(view: ExceptionView) -> ApiResponse:
    return ApiResponse(body=exception_object(view.record, history=view.history))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/exceptions",
        operation="listExceptions",
        summary="List exceptions",
        description=(
            "Everything that stopped and waits for a person, with start, owner, amount, reason and next step."
        ),
        tag="Operations",
        handler=list_all,
        query=ExceptionsQuery,
        answers={200: exceptions.ExceptionSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/exceptions/{id}",
        operation="getException",
        summary="Get an exception",
        description=("Returns the exception with its history."),
        tag="Operations",
        handler=get,
        answers={200: exceptions.ExceptionSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/exceptions/{id}/resolve",
        operation="resolveException",
        summary="Resolve an exception",
        description=(
            "Tries again what stopped, as `next_step.retry` says, or carries out the `action` that the kind"
            " needs (usage that failed a check, money at the PSP that is in no book). The exception is"
            " resolved once its cause no longer exists. If nothing can be tried again, the response is a"
            " conflict that names the command that ends the cause. An action or an end by reason above the"
            " approval limit is proposed by the first call, which leaves it open, and carried out by the same"
            " call of a second person."
        ),
        tag="Operations",
        handler=resolve,
        body=ResolveExceptionBody,
        answers={200: exceptions.ExceptionSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/exceptions/{id}/assign",
        operation="assignException",
        summary="Assign an exception",
        tag="Operations",
        handler=assign,
        body=AssignExceptionBody,
        answers={200: exceptions.ExceptionSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/exception-age-limits",
        operation="getExceptionAgeLimits",
        summary="Get the age limits of exceptions",
        description="From how many hours on an exception of each kind is overdue: as set, else the default.",
        tag="Operations",
        handler=get_age_limits,
        answers={200: exceptions.ExceptionAgeLimitsSchema},
    ),
    ApiEndpoint(
        method="PUT",
        path="/v1/exception-age-limits",
        operation="setExceptionAgeLimits",
        summary="Set age limits of exceptions",
        description=(
            "Sets the limits of the kinds in the body and leaves the others. They hold for open exceptions"
            " too: their `due_at` and the metrics of what is overdue follow at once."
        ),
        tag="Operations",
        handler=set_age_limits,
        body=ExceptionAgeLimitsBody,
        answers={200: exceptions.ExceptionAgeLimitsSchema},
        key_rule=KeyRule.OPTIONAL,
    ),
)
