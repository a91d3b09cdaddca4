"""How a Plug & Charge session was settled, for the operator of its station.

Owns: the path and OCPP's NotifySettlementRequest in the answer. Must not know certificates or how money is
taken. Whoever paid, and with what, is nobody's business here.
"""

from typing import Any, Final

from pydantic import Field

from clearing.money import to_major
from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint
from gateway.http.plug_and_charge.ocpp_numbers import exact
from gateway.http.problems import ProblemError
from gateway.payments.pnc_settlement import session_is_over, settlement_object
from pnc.messages import SettlementStatus, notify_settlement

RAIL: Final = "plug_and_charge"


class SettlementOut(objects.PlugAndChargeSettlement):
    """The settlement with the message that tells the station of it."""

    notify_settlement: dict[str, Any] = Field(description="the NotifySettlementRequest of OCPP 2.1 to send")


async def get(call: Call) -> Answer:
    """The settlement of a session at one of the caller's stations, once it is known."""
    view = await call.services.payments.get_session(
        party_id=call.caller.party_id, session_id=call.path_id("id", "ses"), admin=call.caller.admin
    )
    ours = call.caller.admin or view.session.cpo_id == call.caller.party_id
    if not ours or view.authorization is None or view.authorization.rail != RAIL:
        raise ProblemError(problems.NOT_FOUND, "There is no Plug & Charge session of this name.")
    known = settlement_object(view, now=call.services.now()) if session_is_over(view) else None
    if known is None:
        raise ProblemError(
            problems.STATE_CONFLICT,
            "The session is not settled yet; wait for the event plug_and_charge.settled.",
        )
    message = notify_settlement(
        transaction_id=known.session_ref,
        psp_ref=known.id,
        status=SettlementStatus(known.status),
        amount=to_major(known.amount, known.currency),
        settled_at=known.settled_at,
        receipt_id=known.receipt,
    )
    return Answer(body={**known.as_json(), "notify_settlement": exact(message)})


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/plug-and-charge/sessions/{id}/settlement",
        operation="getPlugAndChargeSettlement",
        summary="Get the settlement of a session, and OCPP's message about it",
        tag="Plug & Charge",
        scope=Scope.PLUG_AND_CHARGE,
        handler=get,
        answers={200: SettlementOut},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
