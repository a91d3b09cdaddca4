"""Charging preferences of a running session.

Owns: the wire form. Must not know how they reach the CPO.
"""

from typing import Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import InstantIn
from gateway.api.problems import ProblemError
from gateway.ocpi.charging_preferences import ChargingPreferences, PreferencesAnswer, ProfileType
from gateway.schemas import api_schemas

_MOST_WH: Final = 1_000_000


class ChargingPreferencesBody(WireModel):
    """What the driver wants of the session."""

    profile: Literal["cheap", "fast", "green", "regular"] = Field(
        description="how to charge: `fast` as quickly as possible, `regular` without a preference"
    )
    departure_at: InstantIn | None = Field(None, description="when the driver expects to leave")
    energy_need_wh: int | None = Field(
        None, ge=1, le=_MOST_WH, description="energy that the vehicle should have by then, in watt-hours"
    )
    discharge_allowed: bool = Field(default=False, description="the vehicle may be discharged meanwhile")


class ChargingPreferencesSchema(api_schemas.PublicSchema):
    """What the CPO answered to the driver's preferences."""

    object: Literal["charging_preferences"] = "charging_preferences"
    session: str = Field(examples=["ses_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    profile: str = Field(description="as sent", examples=["cheap"])
    response: PreferencesAnswer = Field(
        description="the CPO's answer (OCPI ChargingPreferencesResponse); `accepted` is no guarantee, "
        "`unanswered`: the CPO did not answer, `other`: its answer was none that OCPI has"
    )


async def put(call: ApiRequest) -> ApiResponse:
    """Send the driver's preferences to the CPO."""
    service = call.services.charging_preferences
    if service is None:
        raise ProblemError(problems.UNAVAILABLE, "This process sends nothing to CPOs.")
    body: ChargingPreferencesBody = call.body
    answer = await service.send(
        ChargingPreferences(
            profile=ProfileType(body.profile.upper()),
            departure_at=body.departure_at,
            energy_need_wh=body.energy_need_wh,
            discharge_allowed=body.discharge_allowed,
        ),
        party_id=call.caller.party_id,
        session_id=call.path_id("id", "ses"),
        admin=call.caller.admin,
    )
    return ApiResponse(
        body=ChargingPreferencesSchema(session=call.path["id"], profile=body.profile, response=answer)
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="PUT",
        path="/v1/sessions/{id}/charging-preferences",
        operation="setChargingPreferences",
        summary="Set the driver's charging preferences",
        description="Sends OCPI ChargingPreferences for a session that the operator has reported, at a "
        "charge point that takes them. The price stays that of the tariff frozen at authorization; ask for a "
        "profile's tariff with `profile` there.",
        tag="Sessions",
        handler=put,
        body=ChargingPreferencesBody,
        answers={200: ChargingPreferencesSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
