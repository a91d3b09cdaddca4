"""Which payout data a caller may see and change, and the caller's principal for four-eyes approval.

Owns: these two answers. Must not know any resource. A principal is an API key's, never a name that a person
typed.
"""

from clearing.parties.party import Party
from gateway.api import problems
from gateway.api.endpoint import ApiRequest
from gateway.api.problems import ProblemError
from gateway.database import Connection


async def the_party(call: ApiRequest, connection: Connection) -> Party:
    """The party that the path names. Raises ProblemError `not_found` also where it isn't the caller's."""
    party_id = call.path["id"]
    own = call.caller.admin or call.caller.party_id == party_id
    found = await call.services.clearing.reference_data.find_party(connection, party_id) if own else None
    if found is None:
        raise ProblemError(problems.NOT_FOUND, f"There is no party {party_id}.")
    return found


async def principal(call: ApiRequest, connection: Connection) -> str:
    """The caller's principal, for the record and for four-eyes approval."""
    return await call.services.api_keys.find_principal(connection, call.caller.key)
