"""Whose payout data a caller may see and change, and who it is when two have to agree.

Owns: these two answers. Must not know any resource. A principal is an API key's, never a name that somebody
typed.
"""

from clearing.parties.party import Party
from gateway.database import Connection
from gateway.http import problems
from gateway.http.endpoint import Call
from gateway.http.problems import ProblemError
from gateway.store import principals


async def the_party(call: Call, connection: Connection) -> Party:
    """The party that the path names. Raises ProblemError `not_found` also where it isn't the caller's."""
    party_id = call.path["id"]
    own = call.caller.admin or call.caller.party_id == party_id
    found = await call.services.clearing.party(connection, party_id) if own else None
    if found is None:
        raise ProblemError(problems.NOT_FOUND, f"There is no party {party_id}.")
    return found


async def principal(call: Call, connection: Connection) -> str:
    """Who asks, for the record and for four eyes."""
    return await principals.principal_of(connection, call.caller.key)
