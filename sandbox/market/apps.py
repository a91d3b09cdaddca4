"""The apps and the stations: they authorize, release and complete at the gateway.

Owns: the requests of the super app (funded account), of the parking app (cards by token) and of stations for
vehicles (Plug & Charge). Must not know how an authorization is decided.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from sandbox.market.client import HttpResponse, MarketError
from sandbox.market.context import SimulationContext
from sandbox.market.operators import priced_record
from sandbox.market.plan import DriverMethod, PlannedSession
from sandbox.market.vehicles import authorize_request

_DECLINED: Final = 402
_ESTIMATE_PERCENT: Final = 130  # an app estimates above what its drivers usually charge
_FIXED_HOLD_MINOR: Final = 8_000  # where parking or a reservation may cost more than charging
_UNPREDICTABLE: Final = frozenset({"energy-and-parking", "idle-fee", "reservation"})
_RETRY_INTERVAL_S: Final = 1.0
_MAX_ATTEMPTS: Final = 120


async def authorize(context: SimulationContext, session: PlannedSession) -> dict[str, Any]:
    """Secure a session's payment; {"state", "authorization", "session", "decline_code"}."""
    if session.method is DriverMethod.PLUG_AND_CHARGE:
        return await _authorize_vehicle(context, session)
    partner = context.party(session.partner_id)
    answer = await partner.post(
        "/v1/authorizations", authorization_body(session), key=f"authorize-{session.ref}", accept=(_DECLINED,)
    )
    outcome = _outcome(answer)
    if outcome["state"] == "outcome_unknown":
        outcome = await _until_known(context, session, outcome["authorization"])
    return outcome


async def release(context: SimulationContext, session: PlannedSession) -> dict[str, Any]:
    """Release the hold: the driver never plugged in."""
    authorization = context.authorization(session.number)["authorization"]
    path = f"/v1/authorizations/{authorization}/release"
    answer = await context.party(session.partner_id).post(path, {}, key=f"release-{session.ref}")
    return {"state": answer.body["state"]}


async def state_usage(context: SimulationContext, session: PlannedSession) -> None:
    """State a session's usage by the capture API as the app saw it; the operator's CDR decides."""
    record, _ = priced_record(context, session)
    session_id = context.authorization(session.number)["session"]
    await context.party(session.partner_id).post(
        f"/v1/sessions/{session_id}/complete", {"cdr": record}, key=f"complete-{session.ref}"
    )


def authorization_body(session: PlannedSession) -> dict[str, Any]:
    """The body of POST /v1/authorizations."""
    body: dict[str, Any] = {
        "evse_id": session.evse_id,
        "method": session.method.value,
        "payment": _payment(session),
        "session_ref": session.ref,
        "metadata": {"booking": session.ref},
    }
    if session.site.tariff_id in _UNPREDICTABLE:
        return body | {"amount": _FIXED_HOLD_MINOR}
    stay_s = int((session.leaves_at - session.starts_at).total_seconds())
    return body | {
        "estimate": {
            "energy_wh": max(5_000, session.energy_wh * _ESTIMATE_PERCENT // 100),
            "duration_s": max(3_600, stay_s * _ESTIMATE_PERCENT // 100),
        }
    }


def _payment(session: PlannedSession) -> dict[str, Any]:
    if session.method is DriverMethod.APP:
        return {"type": "partner_account"}
    return {"type": "psp_payment_method", "payment_method": session.payment_method}


def _outcome(answer: HttpResponse) -> dict[str, Any]:
    body = answer.body
    if answer.status == _DECLINED:
        return {
            "state": "failed",
            "authorization": body.get("authorization"),
            "session": body.get("session"),
            "decline_code": body.get("decline_code") or str(body.get("type", "")).rpartition("/")[2],
        }
    return {
        "state": body["state"],
        "authorization": body["id"],
        "session": body["session"],
        "decline_code": body.get("decline_code"),
    }


async def _until_known(
    context: SimulationContext, session: PlannedSession, authorization: str
) -> dict[str, Any]:
    partner = context.party(session.partner_id)
    for _ in range(_MAX_ATTEMPTS):
        answer = await partner.call("GET", f"/v1/authorizations/{authorization}")
        outcome = _outcome(answer)
        if outcome["state"] != "outcome_unknown":
            return outcome
        await asyncio.sleep(_RETRY_INTERVAL_S)
    raise MarketError(f"{session.ref}: the outcome of {authorization} stays unknown")


async def _authorize_vehicle(context: SimulationContext, session: PlannedSession) -> dict[str, Any]:
    """Repeat the request until there is a decision: while the PSP has not answered, there is none."""
    if context.fleet is None or session.vehicle is None:
        raise MarketError(f"{session.ref}: it has no vehicle")
    body = {
        "ocpp_version": "2.0.1",
        "station": {"evse_id": session.evse_id},
        "session_ref": session.ref,
        "authorize_request": authorize_request(context.fleet.vehicles[session.vehicle]),
    }
    station = context.party(session.site.cpo_id)
    for _ in range(_MAX_ATTEMPTS):
        answer = await station.post("/v1/plug-and-charge/authorizations", body, key=f"plug-{session.ref}")
        outcome = _vehicle_outcome(answer.body)
        if outcome["state"] != "undecided":
            return outcome
        await asyncio.sleep(_RETRY_INTERVAL_S)
    raise MarketError(f"{session.ref}: the authorization comes to no decision")


def _vehicle_outcome(body: Mapping[str, Any]) -> dict[str, Any]:
    accepted = body["authorize_response"]["idTokenInfo"]["status"] == "Accepted"
    rejection_reason = body["decision"]["rejection_reason"]
    rejected = "failed" if rejection_reason is not None else "undecided"
    return {
        "state": "authorized" if accepted else rejected,
        "authorization": body["authorization_id"],
        "session": body["session_id"],
        "decline_code": None if accepted else rejection_reason,
    }
