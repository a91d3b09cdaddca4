"""Remote start and stop of a session, as OCPI commands to its CPO.

Owns: the paths. Must not know how a command travels.
"""

from typing import Final

from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse
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
)
