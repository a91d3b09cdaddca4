"""Which party's payout data a caller may see and change.

Owns: this answer. Must not know any resource.
"""

from gateway.api import problems
from gateway.api.endpoint import ApiRequest
from gateway.api.problems import ProblemError


def own_party(call: ApiRequest) -> str:
    """The party that the path names. Raises ProblemError `not_found` where it isn't the caller's."""
    party_id: str = call.path["id"]
    if not call.caller.admin and call.caller.party_id != party_id:
        raise ProblemError(problems.NOT_FOUND, f"There is no party {party_id}.")
    return party_id
