"""The double-tap policy of a party.

Owns: the path and its shape. Must not know how a double tap is recognized.
"""

from typing import Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.problems import ProblemError
from gateway.schemas import api_schemas


class DoubleTapPolicyBody(WireModel):
    """For how long a second request is answered with the first one's authorization."""

    within_s: int = Field(ge=0, le=600, description="seconds; 0: each request holds", examples=[60])


class DoubleTapPolicySchema(api_schemas.PublicSchema):
    """A party's policy; 60 seconds unless it was set."""

    object: Literal["double_tap_policy"] = "double_tap_policy"
    party: str
    within_s: int = Field(description="seconds; 0: each request holds")


async def put(call: ApiRequest) -> ApiResponse:
    """Set the policy; it counts for the requests that follow."""
    party_id = await _party(call)
    await call.services.payments.set_double_tap_policy(party_id=party_id, within_s=call.body.within_s)
    return ApiResponse(body=DoubleTapPolicySchema(party=party_id, within_s=call.body.within_s))


async def get(call: ApiRequest) -> ApiResponse:
    """The policy of a party."""
    party_id = await _party(call)
    within_s = await call.services.payments.get_double_tap_policy(party_id=party_id)
    return ApiResponse(body=DoubleTapPolicySchema(party=party_id, within_s=within_s))


async def _party(call: ApiRequest) -> str:
    """The party of the path: the caller's own, or any for the platform. Raises ProblemError `not_found`."""
    party_id = call.path["id"]
    if not call.caller.admin and party_id != call.caller.party_id:
        raise ProblemError(problems.NOT_FOUND, f"There is no party {party_id}.")
    await call.services.parties.get(party_id)
    return party_id


ENDPOINTS: Final = (
    ApiEndpoint(
        method="PUT",
        path="/v1/parties/{id}/double-tap-policy",
        operation="setDoubleTapPolicy",
        summary="Set the double-tap policy",
        description="Authorizing the same payment method at the same EVSE again within this time, without a "
        "`session_ref`, is answered with the existing authorization (200) and holds nothing more. 60 seconds "
        "unless it is set.",
        tag="Parties",
        handler=put,
        body=DoubleTapPolicyBody,
        answers={200: DoubleTapPolicySchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/double-tap-policy",
        operation="getDoubleTapPolicy",
        summary="Get the double-tap policy",
        tag="Parties",
        handler=get,
        answers={200: DoubleTapPolicySchema},
        problems=(problems.NOT_FOUND,),
    ),
)
