"""Remote control of a session, as OCPI commands to its CPO.

Owns: the paths. Must not know how a command travels.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import EmptyBody, InstantIn
from gateway.api.idempotency import KeyRule
from gateway.api.problems import ProblemError
from gateway.ocpi.remote import RemoteControlService
from gateway.schemas import api_schemas

_ACCEPTED: Final = 202


def _control(call: ApiRequest) -> RemoteControlService:
    if call.services.remote is None:
        raise ProblemError(problems.UNAVAILABLE, "This process sends no commands to CPOs.")
    return call.services.remote


async def _send(
    call: ApiRequest, command: Callable[..., Awaitable[api_schemas.CommandSchema]]
) -> ApiResponse:
    """Send a command for the session that the path names."""
    sent = await command(
        party_id=call.caller.party_id, session_id=call.path_id("id", "ses"), admin=call.caller.admin
    )
    return ApiResponse(body=sent, status=_ACCEPTED)


async def start(call: ApiRequest) -> ApiResponse:
    """Ask the CPO to start the session."""
    return await _send(call, _control(call).start)


async def stop(call: ApiRequest) -> ApiResponse:
    """Ask the CPO to stop the session."""
    return await _send(call, _control(call).stop)


class ReserveBody(WireModel):
    """Until when the charge point is kept free."""

    expires_at: InstantIn = Field(description="end of the reservation, within the next 24 hours")


async def reserve(call: ApiRequest) -> ApiResponse:
    """Ask the CPO to keep the charge point free."""
    return await _send(call, partial(_control(call).reserve, expires_at=call.body.expires_at))


async def cancel_reservation(call: ApiRequest) -> ApiResponse:
    """Ask the CPO to end the reservation."""
    return await _send(call, _control(call).cancel_reservation)


async def unlock(call: ApiRequest) -> ApiResponse:
    """Ask the CPO to unlock the connector."""
    return await _send(call, _control(call).unlock)


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
        handler=unlock,
        body=EmptyBody,
        body_required=False,
        answers={202: api_schemas.CommandSchema},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
