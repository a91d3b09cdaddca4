"""The policy for sessions whose CDR never arrives: a CPO's, or the platform's for all without one.

Owns: the paths. Must not know how a session is released or captured.
"""

from typing import Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.problems import ProblemError
from gateway.payments.records import MissingCdrAction, MissingCdrPolicy
from gateway.schemas import api_schemas

_MAY_HAVE_ONE: Final = frozenset({"cpo", "platform"})


class MissingCdrPolicyBody(WireModel):
    """`release` releases the hold; `last_known_cost` captures the last update, priced, within the hold."""

    action: Literal["release", "last_known_cost"]
    after_days: int = Field(
        ge=1,
        le=365,
        description="counted from the authorization; if the hold ends earlier, it is captured before its end",
    )


class MissingCdrPolicySchema(api_schemas.PublicSchema):
    """A party's policy."""

    object: Literal["missing_cdr_policy"] = "missing_cdr_policy"
    party: str
    action: Literal["release", "last_known_cost"]
    after_days: int


async def put(call: ApiRequest) -> ApiResponse:
    """Set the policy; it counts for sessions that are under way as well."""
    party_id = call.path["id"]
    party = await call.services.parties.get(party_id)
    if party.kind not in _MAY_HAVE_ONE:
        raise ProblemError(problems.NOT_FOUND, f"There is no CPO {party_id}.")
    policy = MissingCdrPolicy(action=MissingCdrAction(call.body.action), after_days=call.body.after_days)
    await call.services.payments.missing_cdrs.set_policy(policy, party_id=party_id)
    return ApiResponse(body=_shown(party_id, policy))


async def get(call: ApiRequest) -> ApiResponse:
    """The policy of a party: its own, or any for the platform."""
    party_id = call.path["id"]
    policy = None
    if call.caller.admin or party_id == call.caller.party_id:
        policy = await call.services.payments.missing_cdrs.get_policy(party_id=party_id)
    if policy is None:
        raise ProblemError(problems.NOT_FOUND, f"{party_id} has no policy of its own for missing CDRs.")
    return ApiResponse(body=_shown(party_id, policy))


def _shown(party_id: str, policy: MissingCdrPolicy) -> MissingCdrPolicySchema:
    return MissingCdrPolicySchema(party=party_id, action=policy.action.value, after_days=policy.after_days)


ENDPOINTS: Final = (
    ApiEndpoint(
        method="PUT",
        path="/v1/parties/{id}/missing-cdr-policy",
        operation="setMissingCdrPolicy",
        summary="Set the missing-CDR policy",
        description="For a CPO, or with the platform's id for every CPO that has none. Where neither is set, "
        "the hold is released after 30 days.",
        tag="Parties",
        handler=put,
        body=MissingCdrPolicyBody,
        answers={200: MissingCdrPolicySchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/missing-cdr-policy",
        operation="getMissingCdrPolicy",
        summary="Get the missing-CDR policy",
        tag="Parties",
        handler=get,
        answers={200: MissingCdrPolicySchema},
        problems=(problems.NOT_FOUND,),
    ),
)
