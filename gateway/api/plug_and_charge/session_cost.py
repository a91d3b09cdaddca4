"""What a Plug & Charge session costs while it runs, in the forms of OCPP.

Owns: the path, and which form says what. Must not know how a price comes about. The answer never reveals who
pays or how.
Source: OCPP 2.0.1 and 2.1 part 2, CostUpdatedRequest, TransactionEventResponse.totalCost: in 2.0.1 for the
final cost alone.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from clearing.money import to_major
from gateway.api import problems
from gateway.api.capture.usage import Usage, cdr_of_usage
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel
from gateway.api.field_types import InstantIn
from gateway.api.plug_and_charge.ocpp_numbers import exact
from gateway.api.plug_and_charge.settlement_notice import stations_of
from gateway.api.problems import FieldError, ProblemError
from gateway.ids import format_id
from gateway.payments.records import SessionRecord
from gateway.plug_and_charge.session_cost import SessionCost, find_station_session
from gateway.schemas import api_schemas
from pnc.messages import cost_updated, total_cost_response

_MAX_ENERGY_WH: Final = 10_000_000


class CostQuery(QueryModel):
    """What the station has metered so far; all three or none."""

    energy_wh: Annotated[int, Field(ge=0, le=_MAX_ENERGY_WH)] | None = Field(
        None, description="energy of the session so far, Wh"
    )
    started_at: InstantIn | None = Field(None, description="when the session began")
    until: InstantIn | None = Field(None, description="when energy_wh was read")


class RunningCostSchema(api_schemas.PublicSchema):
    """What a session has cost so far, VAT included."""

    object: Literal["plug_and_charge_cost"] = "plug_and_charge_cost"
    session: str
    session_ref: str | None = Field(description="the operator's own name for the session")
    authorization_id: str
    final: bool = Field(description="the session has its CDR: this is its price, or what was captured of it")
    amount: api_schemas.Minor
    currency: api_schemas.Currency
    energy_wh: int
    as_of: api_schemas.Instant = Field(description="when the usage was read that is priced here")
    cost_limit: api_schemas.Minor = Field(
        description="what is held: stop charging before the cost exceeds this"
    )
    transaction_id: str | None = Field(description="the station's own id, once you have named it")
    cost_updated: dict[str, Any] | None = Field(
        description="the CostUpdatedRequest to send to the station; null without a transaction id"
    )
    transaction_event_response: dict[str, Any] = Field(
        description="the TransactionEventResponse with this cost; to a station of OCPP 2.0.1 once it is final"
    )


async def get(call: ApiRequest) -> ApiResponse:
    """What a session at one of the caller's stations has cost so far."""
    stations, query = stations_of(call), call.query
    view = await find_station_session(
        call.services.payments,
        operator_id=call.caller.party_id,
        session_id=call.path_id("id", "ses"),
        admin=call.caller.admin,
    )
    cost = await stations.costs.get(view, stated_cdr=_stated(view.session, query))
    authorization_id = format_id("auth", cost.authorization_id)
    transaction_id = await stations.transactions.find_transaction_id(
        operator_id=view.session.cpo_id,
        session_ref=view.session.session_ref or "",
        authorization_id=authorization_id,
    )
    return ApiResponse(body=_shown(cost, authorization_id, transaction_id))


def _shown(cost: SessionCost, authorization_id: str, transaction_id: str | None) -> dict[str, Any]:
    session = cost.session
    total_cost = to_major(cost.amount_minor, session.currency)
    updated = None
    if transaction_id is not None:
        updated = cost_updated(transaction_id=transaction_id, total_cost=total_cost)
    shown = RunningCostSchema(
        session=format_id("ses", session.id),
        session_ref=session.session_ref,
        authorization_id=authorization_id,
        final=cost.final,
        amount=cost.amount_minor,
        currency=session.currency,
        energy_wh=cost.energy_wh,
        as_of=cost.as_of,
        cost_limit=cost.cost_limit_minor,
        transaction_id=transaction_id,
        cost_updated=None,
        transaction_event_response={},
    )
    return {
        **shown.as_json(),
        "cost_updated": exact(updated),
        "transaction_event_response": exact(total_cost_response(total_cost=total_cost)),
    }


def _stated(session: SessionRecord, query: CostQuery) -> bytes | None:
    """The station's reading as a CDR, None where there is none. Raises ProblemError."""
    given = {name: getattr(query, name) for name in ("energy_wh", "started_at", "until")}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return None
    if query.energy_wh is None or query.started_at is None or query.until is None:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"A reading needs {' and '.join(missing)} too.",
            errors=[FieldError(pointer=f"/{name}", expected="a value in the query") for name in missing],
        )
    if query.until < query.started_at:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            "/until: expected a time that is not before started_at.",
            errors=[FieldError(pointer="/until", expected="a time that is not before started_at")],
        )
    usage = Usage(started_at=query.started_at, ended_at=query.until, energy_wh=query.energy_wh, parking_s=0)
    return cdr_of_usage(session, usage)


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/plug-and-charge/sessions/{id}/cost",
        operation="getPlugAndChargeCost",
        summary="Get what a session has cost so far",
        description=(
            "The running session is priced by its frozen tariff from the station's reading in the query, or "
            "from the last OCPI session update; nothing is billed from it."
        ),
        tag="Plug & Charge",
        handler=get,
        query=CostQuery,
        answers={200: RunningCostSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT, problems.CDR_INVALID),
    ),
)
