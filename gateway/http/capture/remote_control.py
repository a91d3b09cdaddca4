"""Remote start and stop of a session, as commands to its CPO.

Owns: the paths. Must not know how a command travels.
"""

from typing import Final

from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.problems import ProblemError
from gateway.http.services import RemoteControl

_ACCEPTED: Final = 202


class NothingIn(WireModel):
    """Nothing to say."""


def _control(call: Call) -> RemoteControl:
    if call.services.remote is None:
        raise ProblemError(problems.UNAVAILABLE, "Commands to CPOs are not wired in this process.")
    return call.services.remote


async def start(call: Call) -> Answer:
    """Ask the CPO to start the session."""
    command = await _control(call).start(
        party_id=call.caller.party_id, session_id=call.path_id("id", "ses"), admin=call.caller.admin
    )
    return Answer(body=command, status=_ACCEPTED)


async def stop(call: Call) -> Answer:
    """Ask the CPO to stop the session."""
    command = await _control(call).stop(
        party_id=call.caller.party_id, session_id=call.path_id("id", "ses"), admin=call.caller.admin
    )
    return Answer(body=command, status=_ACCEPTED)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/sessions/{id}/start",
        operation="startSession",
        summary="Start a session remotely",
        description="Sends OCPI START_SESSION to the charge point's operator for a session whose payment is "
        "secured. `state` says how far the command has come.",
        tag="Sessions",
        scope=Scope.CAPTURE,
        handler=start,
        body=NothingIn,
        body_required=False,
        answers={202: objects.Command},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    Endpoint(
        method="POST",
        path="/v1/sessions/{id}/stop",
        operation="stopSession",
        summary="Stop a session remotely",
        description="Sends OCPI STOP_SESSION for a session that the operator has told of.",
        tag="Sessions",
        scope=Scope.CAPTURE,
        handler=stop,
        body=NothingIn,
        body_required=False,
        answers={202: objects.Command},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
