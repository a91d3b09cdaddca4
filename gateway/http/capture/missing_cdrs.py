"""What becomes of sessions whose CDR never comes: a CPO's policy, or the platform's for all without one.

Owns: the paths. Must not know how a session is released or captured.
"""

from typing import Final, Literal

from pydantic import Field

from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.problems import ProblemError
from gateway.payments.holds import MissingCdrAction
from gateway.payments.missing import MissingCdrPolicy
from gateway.store import parties

_TAKES_ONE: Final = frozenset({"cpo", "platform"})


class MissingCdrPolicyIn(WireModel):
    """`release` gives the hold back; `last_known_cost` captures the last update, priced, within the hold."""

    action: Literal["release", "last_known_cost"]
    after_days: int = Field(
        ge=1,
        le=365,
        description="from the authorization; a hold that would be lost before is captured before",
    )


class MissingCdrPolicyOut(objects.PublicObject):
    """A party's policy."""

    object: Literal["missing_cdr_policy"] = "missing_cdr_policy"
    party: str
    action: Literal["release", "last_known_cost"]
    after_days: int


async def put(call: Call) -> Answer:
    """Set the policy; it counts for sessions that are under way as well."""
    party_id = call.path["id"]
    async with call.services.pool.acquire() as connection:
        party = await parties.find_party(connection, party_id)
    if party is None or party.kind not in _TAKES_ONE:
        raise ProblemError(problems.NOT_FOUND, f"There is no CPO {party_id}.")
    policy = MissingCdrPolicy(action=MissingCdrAction(call.body.action), after_days=call.body.after_days)
    await call.services.payments.missing.set_policy(policy, party_id=party_id)
    return Answer(body=_shown(party_id, policy))


async def get(call: Call) -> Answer:
    """The policy of a party: its own, or any for the platform."""
    party_id = call.path["id"]
    policy = None
    if call.caller.admin or party_id == call.caller.party_id:
        policy = await call.services.payments.missing.policy(party_id=party_id)
    if policy is None:
        raise ProblemError(problems.NOT_FOUND, f"{party_id} has no policy of its own for missing CDRs.")
    return Answer(body=_shown(party_id, policy))


def _shown(party_id: str, policy: MissingCdrPolicy) -> MissingCdrPolicyOut:
    return MissingCdrPolicyOut(party=party_id, action=policy.action.value, after_days=policy.after_days)


ENDPOINTS: Final = (
    Endpoint(
        method="PUT",
        path="/v1/parties/{id}/missing-cdr-policy",
        operation="setMissingCdrPolicy",
        summary="Set what becomes of sessions without a CDR",
        description="For a CPO, or with the platform's id for every CPO that has none. Where neither is set, "
        "the hold is released after 30 days.",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=put,
        body=MissingCdrPolicyIn,
        answers={200: MissingCdrPolicyOut},
        problems=(problems.NOT_FOUND,),
    ),
    Endpoint(
        method="GET",
        path="/v1/parties/{id}/missing-cdr-policy",
        operation="getMissingCdrPolicy",
        summary="Get what becomes of sessions without a CDR",
        tag="Parties",
        scope=Scope.CAPTURE,
        handler=get,
        answers={200: MissingCdrPolicyOut},
        problems=(problems.NOT_FOUND,),
    ),
)
