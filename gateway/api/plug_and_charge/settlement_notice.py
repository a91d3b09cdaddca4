"""How a Plug & Charge session was settled, for the operator of its station, and the station's transaction.

Owns: the paths, and what a session cost in the forms of OCPP. Must not know certificates or how a payment is
captured. The answer never reveals who paid or how. NotifySettlement goes from a station to its operator, so
it is taken in (gateway.api.plug_and_charge.ocpp_messages) and never handed out.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from clearing.money import to_major
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import EvseId
from gateway.api.plug_and_charge.ocpp_numbers import exact
from gateway.api.problems import FieldError, ProblemError
from gateway.ids import format_id
from gateway.plug_and_charge.station_services import StationServices
from gateway.plug_and_charge.station_transactions import StationNames
from gateway.schemas import api_schemas
from gateway.schemas.plug_and_charge import SettlementNoticeSchema
from pnc.messages import MAX_TRANSACTION_ID, cost_updated, total_cost_response

TransactionId = Annotated[str, Field(min_length=1, max_length=MAX_TRANSACTION_ID, pattern=r"^[\x21-\x7e]+$")]


class SessionSettlementSchema(SettlementNoticeSchema):
    """The settlement with what the session cost in the forms of OCPP 2.0.1 and 2.1."""

    transaction_id: str | None = Field(description="the station's own id, once you have named it")
    cost_updated: dict[str, Any] | None = Field(
        description="the CostUpdatedRequest to send to the station; null without a transaction id"
    )
    transaction_event_response: dict[str, Any] = Field(
        description="the TransactionEventResponse that tells the station the final cost"
    )


class StationTransactionBody(WireModel):
    """What the station said after the authorization: at least one of these."""

    transaction_id: TransactionId | None = Field(
        None, description="transactionId of the station's TransactionEvent"
    )
    evse_id: EvseId | None = Field(
        None, description="the session's EVSE, where the request named several; its tariff is the session's"
    )
    connector_id: Annotated[str, Field(min_length=1, max_length=36, pattern=r"^[ -~]+$")] | None = Field(
        None, description="your own id (OCPI) of the EVSE's connector; its tariff is the session's"
    )
    station_id: Annotated[str, Field(min_length=1, max_length=48, pattern=r"^[!-~]+$")] | None = Field(
        None, description="the station's identity in OCPP"
    )


class StationTransactionSchema(api_schemas.PublicSchema):
    """An authorization with the station's own transaction."""

    object: Literal["station_transaction"] = "station_transaction"
    id: str = Field(description="decision.id of the authorization")
    session_ref: str
    transaction_id: str | None = Field(description="the station's own id")
    evse_id: str | None = Field(description="null while the station has not named it")
    connector_id: str | None = Field(description="null while the station has not named it")
    station_id: str | None = Field(description="null while the station has not named it")


async def get(call: ApiRequest) -> ApiResponse:
    """The settlement of a session at one of the caller's stations, once it is known."""
    stations = stations_of(call)
    notice = await stations.notices.get(
        operator_id=call.caller.party_id, session_id=call.path_id("id", "ses"), admin=call.caller.admin
    )
    transaction_id = await stations.transactions.find_transaction_id(
        operator_id=call.caller.party_id,
        session_ref=notice.session_ref or "",
        authorization_id=notice.id,
    )
    total_cost = to_major(notice.amount, notice.currency)
    updated = None
    if transaction_id is not None:
        updated = cost_updated(transaction_id=transaction_id, total_cost=total_cost)
    shown = {
        **notice.as_json(),
        "transaction_id": transaction_id,
        "cost_updated": exact(updated),
        "transaction_event_response": exact(total_cost_response(total_cost=total_cost)),
    }
    return ApiResponse(body=shown)


async def name_transaction(call: ApiRequest) -> ApiResponse:
    """Name transaction and EVSE of an authorization; the same names again change nothing."""
    body: StationTransactionBody = call.body
    names = StationNames(
        transaction_id=body.transaction_id,
        station_id=body.station_id,
        evse_id=body.evse_id,
        connector_id=body.connector_id,
    )
    if names == StationNames():
        expected = "transaction_id, evse_id, connector_id or station_id"
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            f"The body names nothing: expected {expected}.",
            errors=[FieldError(pointer="", expected=expected)],
        )
    decision = await stations_of(call).transactions.name(
        operator_id=call.caller.party_id,
        decision_id=call.path_id("id", "dec"),
        names=names,
    )
    return ApiResponse(
        body=StationTransactionSchema(
            id=format_id("dec", decision.id),
            session_ref=decision.session_ref,
            transaction_id=decision.transaction_id,
            evse_id=None if decision.evse_ids else decision.evse_id,
            connector_id=decision.connector_id,
            station_id=decision.station_id,
        )
    )


def stations_of(call: ApiRequest) -> StationServices:
    """The services for the operators of stations. Raises ProblemError `unavailable`."""
    if call.services.stations is None:
        raise ProblemError(problems.UNAVAILABLE, "Plug & Charge is not available in this process.")
    return call.services.stations


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/plug-and-charge/sessions/{id}/settlement",
        operation="getPlugAndChargeSettlement",
        summary="Get the settlement notice of a session",
        tag="Plug & Charge",
        handler=get,
        answers={200: SessionSettlementSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="PATCH",
        path="/v1/plug-and-charge/authorizations/{id}",
        operation="namePlugAndChargeTransaction",
        summary="Name the station's transaction and EVSE of an authorization",
        tag="Plug & Charge",
        handler=name_transaction,
        body=StationTransactionBody,
        answers={200: StationTransactionSchema},
        problems=(
            problems.NOT_FOUND,
            problems.STATE_CONFLICT,
            problems.EVSE_NOT_FOUND,
            problems.TARIFF_MISSING,
        ),
    ),
)
