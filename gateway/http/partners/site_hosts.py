"""Site hosts: who owns the ground of a location and may take a share of its sessions.

Owns: the paths. Must not know what a share is worth.
"""

from typing import Final

from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.models import Line
from gateway.http.problems import ProblemError
from gateway.store import parties, site_hosts


class SiteHostIn(WireModel):
    """The party that hosts a location."""

    party: Line


async def put(call: Call) -> Answer:
    """Name the site host of a location; it counts for sessions cleared from now on."""
    cpo, location = call.path["cpo"], call.path["location"]
    async with call.services.pool.acquire() as connection:
        for party in (cpo, call.body.party):
            if await parties.find_party(connection, party) is None:
                raise ProblemError(problems.NOT_FOUND, f"There is no party {party}.")
        await site_hosts.name(connection, cpo_id=cpo, location_id=location, party_id=call.body.party)
    return Answer(body=objects.SiteHost(cpo=cpo, location_id=location, party=call.body.party))


ENDPOINTS: Final = (
    Endpoint(
        method="PUT",
        path="/v1/locations/{cpo}/{location}/site-host",
        operation="putSiteHost",
        summary="Name a location's site host",
        description="The party that plays the role `site_host` in agreements for sessions at this location.",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=put,
        body=SiteHostIn,
        answers={200: objects.SiteHost},
        problems=(problems.NOT_FOUND,),
    ),
)
