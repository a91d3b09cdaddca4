"""Settlement as a party sees it: payments, what they net, and what is still to come.

Owns: the wire form and whose figures are whose. Must not know how anything is netted or paid.
"""

from datetime import date
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, QueryModel, WireModel, page
from gateway.http.idempotency import KeyRule
from gateway.http.models import ListQuery, Slug, before
from gateway.http.problems import FieldError, ProblemError
from gateway.ids import format_id, lane_of
from gateway.store import settlement
from gateway.store.settlement import DisbursementRow, PayableRow

_ALL: Final = 10_000
DisbursementState = Literal[
    "planned", "withdrawn", "requested", "outcome_unknown", "paid", "failed", "returned"
]


class DisbursementsQuery(ListQuery):
    """A page of payments; only the platform may name a party."""

    state: DisbursementState | None = None
    party: Slug | None = None


class ForecastQuery(QueryModel):
    """How far ahead, and for the platform: of whom."""

    days: int = Field(14, ge=1, le=366)
    party: Slug | None = None


class PayablesQuery(ListQuery):
    """Of one session, or of one payment."""

    session: Annotated[str, Field(max_length=64)] | None = None
    disbursement: Annotated[str, Field(max_length=64)] | None = None
    party: Slug | None = None


class RunIn(WireModel):
    """Nothing to say."""


class PayableOut(objects.PublicObject):
    """What one session owes one party; negative where the party owes."""

    object: Literal["payable"] = "payable"
    session: str
    party: str
    kind: str
    amount: objects.Minor
    currency: objects.Currency
    due_date: date
    state: Literal["open", "scheduled", "paid"]
    disbursement: str | None


class ForecastLine(objects.PublicObject):
    """What a party is to get on a day; `hold` says why it waits."""

    object: Literal["forecast_line"] = "forecast_line"
    party: str
    due_date: date
    currency: objects.Currency
    amount: objects.Minor
    sessions: int
    state: str
    hold: str | None


class RunOut(objects.PublicObject):
    """What a run did."""

    object: Literal["disbursement_run"] = "disbursement_run"
    payments: int


async def list_disbursements(call: Call) -> Answer:
    """Payments to the caller, newest first; the platform sees all."""
    async with call.services.pool.acquire() as connection:
        found = await settlement.list_disbursements(
            connection,
            party_id=_whose(call, call.query.party),
            state=call.query.state,
            before=before(call.query, "dis"),
            limit=call.query.limit + 1,
        )
    return Answer(body=page([_disbursement(row) for row in found], limit=call.query.limit))


async def get_disbursement(call: Call) -> Answer:
    """One payment."""
    async with call.services.pool.acquire() as connection:
        found = await settlement.find_disbursement(
            connection, disbursement_id=call.path_id("id", "dis"), party_id=_whose(call, None)
        )
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such disbursement.")
    return Answer(body=_disbursement(found))


async def list_payables(call: Call) -> Answer:
    """What a session owes, or what a payment nets."""
    query: PayablesQuery = call.query
    if (query.session is None) == (query.disbursement is None):
        raise _one_of()
    party_id = _whose(call, query.party)
    async with call.services.pool.acquire() as connection:
        if query.session is not None:
            session_id = _id(query.session, "ses")
            found = await settlement.payables_of_session(
                connection, lane=lane_of(session_id), session_id=session_id, party_id=party_id
            )
            return Answer(body=page([_payable(row) for row in found], limit=_ALL))
        found = await settlement.payables_of_disbursement(
            connection,
            disbursement_id=_id(query.disbursement or "", "dis"),
            party_id=party_id,
            after=before(query, "ses"),
            limit=query.limit + 1,
        )
    shown = [_payable(row) for row in found]
    return Answer(body=page(shown, limit=query.limit, cursor=lambda item: item.session))


async def forecast(call: Call) -> Answer:
    """What is to be paid when, from what is overdue to so many days ahead."""
    async with call.services.pool.acquire() as connection:
        days = await call.services.clearing.forecast(
            connection,
            now=call.services.now(),
            days=call.query.days,
            party_id=_whose(call, call.query.party),
        )
    shown = [
        ForecastLine(
            party=day.party_id,
            due_date=day.due_date,
            currency=day.currency,
            amount=day.amount_minor,
            sessions=day.sessions,
            state=day.state,
            hold=day.hold.value if day.hold else None,
        )
        for day in days
    ]
    return Answer(body={"object": "list", "data": shown, "has_more": False, "next_cursor": None})


async def run(call: Call) -> Answer:
    """Plan and pay what is due now; the worker does so on its own as well."""
    if call.services.disbursements is None:
        raise ProblemError(problems.UNAVAILABLE, "Disbursement is not wired in this process.")
    return Answer(body=RunOut(payments=await call.services.disbursements.run()))


def _whose(call: Call, asked: str | None) -> str | None:
    """The party whose figures are shown; None: everybody's. Another party's look like none."""
    return asked if call.caller.admin else call.caller.party_id


def _id(text: str, prefix: str) -> UUID:
    found = before(_Cursor(cursor=text), prefix)
    if found is None:
        raise _one_of()
    return found


class _Cursor(QueryModel):
    cursor: str


def _one_of() -> ProblemError:
    return ProblemError(
        problems.INVALID_PARAMETERS,
        "Name exactly one of session and disbursement.",
        errors=[FieldError(pointer="/session", expected="exactly one of session and disbursement")],
    )


def _disbursement(row: DisbursementRow) -> objects.Disbursement:
    return objects.Disbursement(
        id=format_id("dis", row.id),
        party=row.party_id,
        state=row.state,
        amount=row.amount_minor,
        currency=row.currency,
        due_date=row.period,
        end_to_end_id=row.end_to_end_id,
        payables=row.payables,
        created=row.planned_at,
        paid_at=row.finished_at if row.state == "paid" else None,
        failure_reason=row.failure,
    )


def _payable(row: PayableRow) -> PayableOut:
    return PayableOut(
        session=format_id("ses", row.subject_id),
        party=row.party_id,
        kind=row.kind,
        amount=row.amount_minor,
        currency=row.currency,
        due_date=row.due_date,
        state=row.state,
        disbursement=None if row.disbursement_id is None else format_id("dis", row.disbursement_id),
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/disbursements",
        operation="listDisbursements",
        summary="List disbursements",
        tag="Settlement",
        scope=Scope.SETTLEMENT_READ,
        handler=list_disbursements,
        query=DisbursementsQuery,
        answers={200: objects.Disbursement},
        listed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/disbursements/{id}",
        operation="getDisbursement",
        summary="Get a disbursement",
        tag="Settlement",
        scope=Scope.SETTLEMENT_READ,
        handler=get_disbursement,
        answers={200: objects.Disbursement},
        problems=(problems.NOT_FOUND,),
    ),
    Endpoint(
        method="GET",
        path="/v1/payables",
        operation="listPayables",
        summary="List payables",
        description="What one session owes, or what one disbursement nets: name exactly one of them.",
        tag="Settlement",
        scope=Scope.SETTLEMENT_READ,
        handler=list_payables,
        query=PayablesQuery,
        answers={200: PayableOut},
        listed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/forecast",
        operation="getForecast",
        summary="Forecast disbursements",
        tag="Settlement",
        scope=Scope.SETTLEMENT_READ,
        handler=forecast,
        query=ForecastQuery,
        answers={200: ForecastLine},
        listed=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/disbursement-runs",
        operation="runDisbursements",
        summary="Pay what is due",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=run,
        body=RunIn,
        body_required=False,
        answers={200: RunOut},
        key_rule=KeyRule.OPTIONAL,
    ),
)
