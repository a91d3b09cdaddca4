"""Remote control of a session, as OCPI commands to its CPO.

Owns: the paths. Must not know how a command travels.
"""

from typing import Final

from pydantic import Field

from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import EmptyBody
from gateway.api.idempotency import KeyRule
from gateway.api.problems import ProblemError
from gateway.ocpi.remote import RemoteControlService

_ACCEPTED: Final = 202


def _control(call: ApiRequest) -> RemoteControlService:
    if call.services.remote is None:
        raise ProblemError(problems.UNAVAILABLE, "This process sends no commands to CPOs.")
    return call.services.remote


async def start(call: ApiRequest) -> ApiResponse:
    """Ask the CPO to start the session."""
    command = await _control(call).start(
        party_id=call.caller.party_id, session_id=call.path_id("id", "ses"), admin=call.caller.admin
    )
    return ApiResponse(body=command, status=_ACCEPTED)


async def stop(call: ApiRequest) -> ApiResponse:
    """Ask the CPO to stop the session."""
    command = await _control(call).stop(
        party_id=call.caller.party_id, session_id=call.path_id("id", "ses"), admin=call.caller.admin
    )
    return ApiResponse(body=command, status=_ACCEPTED)


class ReserveBody(WireModel):
    """Until when the charge point is kept free."""

    expires_at: api_schemas.Instant = Field(description="end of the reservation, within the next 24 hours")


async def reserve(call: ApiRequest) -> ApiResponse:
    """Ask the CPO to keep the charge point free."""
    command = await _control(call).reserve(
        party_id=call.caller.party_id,
        session_id=call.path_id("id", "ses"),
        expires_at=call.body.expires_at,
        admin=call.caller.admin,
    )
    return ApiResponse(body=command, status=_ACCEPTED)


async def cancel_reservation(call: ApiRequest) -> ApiResponse:
    """Ask the CPO to end the reservation."""
    command = await _control(call).cancel_reservation(
        party_id=call.caller.party_id, session_id=call.path_id("id", "ses"), admin=call.caller.admin
    )
    return ApiResponse(body=command, status=_ACCEPTED)


async def unlock(call: ApiRequest) -> ApiResponse:
    """Ask the CPO to unlock the connector."""
    command = await _control(call).unlock(
        party_id=call.caller.party_id, session_id=call.path_id("id", "ses"), admin=call.caller.admin
    )
    return ApiResponse(body=command, status=_ACCEPTED)


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/sessions/{id}/start",
        operation="startSession",
        summary="Start a session remotely",
        description=(
            "Sends OCPI START_SESSION to the charge point's operator for a session whose payment is secured. "
            "`state` shows the progress of the command."
        ),
        tag="Sessions",
        scope=Scope.CAPTURE,
        handler=start,
        body=EmptyBody,
        body_required=False,
        answers={202: api_schemas.CommandSchema},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/sessions/{id}/stop",
        operation="stopSession",
        summary="Stop a session remotely",
        description="Sends OCPI STOP_SESSION for a session that the operator has reported.",
        tag="Sessions",
        scope=Scope.CAPTURE,
        handler=stop,
        body=EmptyBody,
        body_required=False,
        answers={202: api_schemas.CommandSchema},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/sessions/{id}/reserve",
        operation="reserveSession",
        summary="Reserve the charge point",
        description="Sends OCPI RESERVE_NOW for a session whose payment is secured. A further request with "
        "another time moves the end.",
        tag="Sessions",
        scope=Scope.CAPTURE,
        handler=reserve,
        body=ReserveBody,
        answers={202: api_schemas.CommandSchema},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/sessions/{id}/cancel-reservation",
        operation="cancelReservation",
        summary="Cancel the reservation",
        description="Sends OCPI CANCEL_RESERVATION; in OCPI 2.1.1 a reservation ends at its expiry only.",
        tag="Sessions",
        scope=Scope.CAPTURE,
        handler=cancel_reservation,
        body=EmptyBody,
        body_required=False,
        answers={202: api_schemas.CommandSchema},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/sessions/{id}/unlock",
        operation="unlockConnector",
        summary="Unlock the connector",
        description="Sends OCPI UNLOCK_CONNECTOR for the session's connector, for a cable that is stuck.",
        tag="Sessions",
        scope=Scope.CAPTURE,
        handler=unlock,
        body=EmptyBody,
        body_required=False,
        answers={202: api_schemas.CommandSchema},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
