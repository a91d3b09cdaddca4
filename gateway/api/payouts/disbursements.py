"""Settlement as a party sees it: disbursements, the payables that they net, and the forecast.

Owns: the wire form and whose figures are whose. Must not know how anything is netted or paid.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import Field

from clearing.reporting.disbursements import PayableRecord
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, page, whole
from gateway.api.field_types import EmptyBody, ListQuery, Slug, before, foreign_cursor
from gateway.api.idempotency import KeyRule
from gateway.api.problems import FieldError, ProblemError
from gateway.errors import MalformedIdError
from gateway.ids import format_id, parse_id
from gateway.schemas import api_schemas
from gateway.webhooks.payout_events import disbursement_object

_ALL: Final = 10_000
DisbursementState = Literal[
    "planned", "cancelled", "requested", "outcome_unknown", "paid", "failed", "returned"
]


class DisbursementsQuery(ListQuery):
    """A page of disbursements; only the platform may name a party."""

    state: DisbursementState | None = None
    party: Slug | None = None


class ForecastQuery(QueryModel):
    """How far ahead, and for the platform: of whom."""

    days: int = Field(14, ge=1, le=366)
    party: Slug | None = None


class PayablesQuery(ListQuery):
    """Of one session, of one disbursement, or all that are open, by due date."""

    session: Annotated[str, Field(max_length=64)] | None = None
    disbursement: Annotated[str, Field(max_length=64)] | None = None
    party: Slug | None = None


class PayableSchema(api_schemas.PublicSchema):
    """The amount that one session owes one party; negative if the party owes it."""

    object: Literal["payable"] = "payable"
    session: str
    party: str
    kind: str
    amount: api_schemas.Minor
    currency: api_schemas.Currency
    due_date: date
    state: Literal["open", "scheduled", "paid"]
    disbursement: str | None


class ForecastLineSchema(api_schemas.PublicSchema):
    """What a party is to receive on a day; `hold` gives the reason why it waits."""

    object: Literal["forecast_line"] = "forecast_line"
    party: str
    due_date: date
    currency: api_schemas.Currency
    amount: api_schemas.Minor
    sessions: int
    state: str
    hold: str | None


class ForecastDayQuery(QueryModel):
    """How many days back, today included, and for the platform: of whom."""

    days: int = Field(30, ge=1, le=60)
    party: Slug | None = None


class ForecastDaySchema(api_schemas.PublicSchema):
    """A day's last forecast beside what was paid on it."""

    object: Literal["forecast_day"] = "forecast_day"
    party: str
    day: date
    currency: api_schemas.Currency
    forecast: api_schemas.Minor | None = Field(
        description="as forecast before that day; null where no forecast had it"
    )
    actual: api_schemas.Minor = Field(description="what was paid")
    difference: api_schemas.Minor = Field(description="actual less forecast")


class DisbursementRunSchema(api_schemas.PublicSchema):
    """The result of a run."""

    object: Literal["disbursement_run"] = "disbursement_run"
    disbursements: int


async def list_disbursements(call: ApiRequest) -> ApiResponse:
    """Disbursements to the caller, newest first; the platform sees all."""
    found = await call.services.disbursement_administration.list(
        party_id=_whose(call, call.query.party),
        state=call.query.state,
        before=before(call.query, "dis"),
        limit=call.query.limit + 1,
    )
    return ApiResponse(body=page([disbursement_object(row) for row in found], limit=call.query.limit))


async def get_disbursement(call: ApiRequest) -> ApiResponse:
    """One disbursement."""
    found = await call.services.disbursement_administration.get(
        call.path_id("id", "dis"), party_id=_whose(call, None)
    )
    return ApiResponse(body=disbursement_object(found))


async def list_payables(call: ApiRequest) -> ApiResponse:
    """What a session owes, what a disbursement nets, or what is open."""
    query: PayablesQuery = call.query
    if query.session is not None and query.disbursement is not None:
        raise _one_of()
    party_id = _whose(call, query.party)
    service = call.services.disbursement_administration
    if query.session is not None:
        found = await service.list_payables_of_session(_id(query.session, "ses"), party_id=party_id)
        return ApiResponse(body=page([_payable(row) for row in found], limit=_ALL))
    if query.disbursement is None:
        found = await service.list_open_payables(
            party_id=party_id, after=_place(query), limit=query.limit + 1
        )
        return ApiResponse(
            body=_payables(found, query.limit, cursor=lambda item: f"{item.due_date}.{item.session}")
        )
    found = await service.list_payables_of_disbursement(
        _id(query.disbursement, "dis"),
        party_id=party_id,
        after=before(query, "ses"),
        limit=query.limit + 1,
    )
    return ApiResponse(body=_payables(found, query.limit, cursor=lambda item: item.session))


def _payables(found: Sequence[PayableRecord], limit: int, *, cursor: Callable[[Any], str]) -> dict[str, Any]:
    """A page that parts no session: where there is more, the last one found begins the next page.

    A session with more payables than a page holds is a page of its own.
    """
    rows = [_payable(row) for row in found]
    more = len(rows) > limit
    shown = [row for row in rows if not more or cursor(row) != cursor(rows[-1])] or rows
    return {**whole(shown, more=more), "next_cursor": cursor(shown[-1]) if more else None}


def _place(query: PayablesQuery) -> tuple[date, UUID] | None:
    """The day and the session after which a page of open payables begins. Raises ProblemError."""
    if query.cursor is None:
        return None
    day, _, session = query.cursor.partition(".")
    try:
        return date.fromisoformat(day), parse_id("ses", session)
    except (ValueError, MalformedIdError):
        raise foreign_cursor() from None


async def get_forecast(call: ApiRequest) -> ApiResponse:
    """What is to be paid on which day, from what is overdue to so many days ahead."""
    days = await call.services.disbursement_administration.forecast(
        days=call.query.days, party_id=_whose(call, call.query.party)
    )
    shown = [
        ForecastLineSchema(
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
    return ApiResponse(body=whole(shown))


async def list_forecast_days(call: ApiRequest) -> ApiResponse:
    """Forecast beside actual, the latest day first."""
    found = await call.services.disbursement_administration.list_forecast_days(
        days=call.query.days, party_id=_whose(call, call.query.party)
    )
    shown = [
        ForecastDaySchema(
            party=one.party_id,
            day=one.day,
            currency=one.currency,
            forecast=one.forecast_minor,
            actual=one.actual_minor,
            difference=one.actual_minor - (one.forecast_minor or 0),
        )
        for one in found
    ]
    return ApiResponse(body=whole(shown))


async def run(call: ApiRequest) -> ApiResponse:
    """Plan and pay what is due now; the worker does so by itself as well."""
    if call.services.disbursements is None:
        raise ProblemError(problems.UNAVAILABLE, "This process pays no disbursements.")
    return ApiResponse(body=DisbursementRunSchema(disbursements=await call.services.disbursements.run()))


def _whose(call: ApiRequest, asked: str | None) -> str | None:
    """The party whose figures are shown; None: every party's. Another party's are not found."""
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
        "Name a session or a disbursement, not both.",
        errors=[FieldError(pointer="/session", expected="session or disbursement, or neither")],
    )


def _payable(row: PayableRecord) -> PayableSchema:
    return PayableSchema(
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
    ApiEndpoint(
        method="GET",
        path="/v1/disbursements",
        operation="listDisbursements",
        summary="List disbursements",
        tag="Settlement",
        handler=list_disbursements,
        query=DisbursementsQuery,
        answers={200: api_schemas.DisbursementSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/disbursements/{id}",
        operation="getDisbursement",
        summary="Get a disbursement",
        tag="Settlement",
        handler=get_disbursement,
        answers={200: api_schemas.DisbursementSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/payables",
        operation="listPayables",
        summary="List payables",
        description=(
            "The payables of one session or of one disbursement; without either, those that are open, by due "
            "date. A page holds all payables of its last session, so it may be longer than its limit."
        ),
        tag="Settlement",
        handler=list_payables,
        query=PayablesQuery,
        answers={200: PayableSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/forecast",
        operation="getForecast",
        summary="Forecast disbursements",
        tag="Settlement",
        handler=get_forecast,
        query=ForecastQuery,
        answers={200: ForecastLineSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/forecast/days",
        operation="listForecastDays",
        summary="List forecast and actual by day",
        description="A forecast is made once a day and kept for 60 days; the last one before a day counts.",
        tag="Settlement",
        handler=list_forecast_days,
        query=ForecastDayQuery,
        answers={200: ForecastDaySchema},
        listed=True,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/disbursement-runs",
        operation="runDisbursements",
        summary="Run disbursements",
        tag="Settlement",
        handler=run,
        body=EmptyBody,
        body_required=False,
        answers={200: DisbursementRunSchema},
        key_rule=KeyRule.OPTIONAL,
    ),
)
