"""The apps and the stations: who asks the gateway to authorize, to release, to complete.

Owns: the requests of the super app (funded account), of the parking app (cards by token) and of stations that
ask for vehicles (Plug & Charge). Must not know how an authorization is decided.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from gateway.sandbox.market.client import Answer, MarketError
from gateway.sandbox.market.operators import priced_record
from gateway.sandbox.market.plan import PlannedSession, Rail
from gateway.sandbox.market.stage import Stage
from gateway.sandbox.market.vehicles import authorize_request

_DECLINED: Final = 402
_ROOM_PERCENT: Final = 130  # an app estimates above what its drivers usually take
_FIXED_HOLD_MINOR: Final = 8_000  # where parking or a reservation may cost more than charging
_UNPREDICTABLE: Final = frozenset({"energy-and-parking", "idle-fee", "reservation"})
_ASK_AGAIN_S: Final = 1.0
_QUESTIONS: Final = 120


async def authorize(stage: Stage, session: PlannedSession) -> dict[str, Any]:
    """Secure a session's payment; {"state", "authorization", "session", "decline_code"}."""
    if session.rail is Rail.PLUG_AND_CHARGE:
        return await _plug(stage, session)
    partner = stage.party(session.partner_id)
    answer = await partner.post(
        "/v1/authorizations", order(session), key=f"authorize-{session.ref}", accept=(_DECLINED,)
    )
    found = _outcome(answer)
    if found["state"] == "outcome_unknown":
        found = await _until_known(stage, session, found["authorization"])
    return found


async def release(stage: Stage, session: PlannedSession) -> dict[str, Any]:
    """Give the hold back: the driver never plugged in."""
    authorization = stage.authorization(session.number)["authorization"]
    path = f"/v1/authorizations/{authorization}/release"
    answer = await stage.party(session.partner_id).post(path, {}, key=f"release-{session.ref}")
    return {"state": answer.body["state"]}


async def hand_in(stage: Stage, session: PlannedSession) -> dict[str, Any]:
    """Complete a session by the capture API, with the CDR the operator gave the app; returns its bill."""
    record, billed = priced_record(stage, session)
    ours = stage.authorization(session.number)["session"]
    await stage.party(session.partner_id).post(
        f"/v1/sessions/{ours}/complete", {"cdr": record}, key=f"complete-{session.ref}"
    )
    return billed


def order(session: PlannedSession) -> dict[str, Any]:
    """The body of POST /v1/authorizations."""
    body: dict[str, Any] = {
        "evse_id": session.evse_id,
        "rail": session.rail.value,
        "payment": _payment(session),
        "session_ref": session.ref,
        "metadata": {"booking": session.ref},
    }
    if session.site.tariff_id in _UNPREDICTABLE:
        return body | {"amount": _FIXED_HOLD_MINOR}
    stay_s = int((session.leaves_at - session.starts_at).total_seconds())
    return body | {
        "estimate": {
            "energy_wh": max(5_000, session.energy_wh * _ROOM_PERCENT // 100),
            "duration_s": max(3_600, stay_s * _ROOM_PERCENT // 100),
        }
    }


def _payment(session: PlannedSession) -> dict[str, Any]:
    if session.rail is Rail.APP:
        return {"type": "partner_account"}
    return {"type": "psp_payment_method", "payment_method": session.payment_method}


def _outcome(answer: Answer) -> dict[str, Any]:
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


async def _until_known(stage: Stage, session: PlannedSession, authorization: str) -> dict[str, Any]:
    partner = stage.party(session.partner_id)
    for _ in range(_QUESTIONS):
        answer = await partner.call("GET", f"/v1/authorizations/{authorization}")
        found = _outcome(answer)
        if found["state"] != "outcome_unknown":
            return found
        await asyncio.sleep(_ASK_AGAIN_S)
    raise MarketError(f"{session.ref}: the outcome of {authorization} stays unknown")


async def _plug(stage: Stage, session: PlannedSession) -> dict[str, Any]:
    """The station asks until there is a decision: while the PSP has not answered, there is none."""
    if stage.garage is None or session.vehicle is None:
        raise MarketError(f"{session.ref}: no vehicle was made for it")
    body = {
        "ocpp_version": "2.0.1",
        "station": {"evse_id": session.evse_id},
        "session_ref": session.ref,
        "authorize_request": authorize_request(stage.garage.vehicles[session.vehicle]),
    }
    station = stage.party(session.site.cpo_id)
    for _ in range(_QUESTIONS):
        answer = await station.post("/v1/plug-and-charge/authorizations", body, key=f"plug-{session.ref}")
        found = _verdict(answer.body)
        if found["state"] != "undecided":
            return found
        await asyncio.sleep(_ASK_AGAIN_S)
    raise MarketError(f"{session.ref}: the hook comes to no decision")


def _verdict(body: Mapping[str, Any]) -> dict[str, Any]:
    accepted = body["authorize_response"]["idTokenInfo"]["status"] == "Accepted"
    finding = body["decision"]["finding"]
    refused = "failed" if finding is not None else "undecided"
    return {
        "state": "authorized" if accepted else refused,
        "authorization": body["authorization_id"],
        "session": body["session_id"],
        "decline_code": None if accepted else finding,
    }
