"""How a Plug & Charge session was settled, for the operator of its station.

Owns: the path and OCPP's NotifySettlementRequest in the answer. Must not know certificates or how a payment
is captured. The answer never reveals who paid or how.
"""

from typing import Any, Final

from pydantic import Field

from clearing.money import to_major
from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse
from gateway.api.plug_and_charge.ocpp_numbers import exact
from gateway.api.problems import ProblemError
from pnc.messages import SettlementStatus, notify_settlement


class SettlementMessageSchema(api_schemas.SettlementNoticeSchema):
    """The settlement with the OCPP message that notifies the station of it."""

    notify_settlement: dict[str, Any] = Field(description="the NotifySettlementRequest of OCPP 2.1 to send")


async def get(call: ApiRequest) -> ApiResponse:
    """The settlement of a session at one of the caller's stations, once it is known."""
    service = call.services.settlement_notices
    if service is None:
        raise ProblemError(problems.UNAVAILABLE, "Plug & Charge is not available in this process.")
    notice = await service.get(
        operator_id=call.caller.party_id, session_id=call.path_id("id", "ses"), admin=call.caller.admin
    )
    message = notify_settlement(
        transaction_id=notice.session_ref,
        psp_ref=notice.id,
        status=SettlementStatus(notice.status),
        amount=to_major(notice.amount, notice.currency),
        settled_at=notice.settled_at,
        receipt_id=notice.receipt,
    )
    return ApiResponse(body={**notice.as_json(), "notify_settlement": exact(message)})


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/plug-and-charge/sessions/{id}/settlement",
        operation="getPlugAndChargeSettlement",
        summary="Get the settlement notice of a session",
        tag="Plug & Charge",
        scope=Scope.PLUG_AND_CHARGE,
        handler=get,
        answers={200: SettlementMessageSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
