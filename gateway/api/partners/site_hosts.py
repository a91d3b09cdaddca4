"""Site hosts: who owns the ground of a location and may earn a share of its sessions.

Owns: the paths. Must not know what a share is worth.
"""

from typing import Final

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import Line
from gateway.schemas import api_schemas


class SiteHostBody(WireModel):
    """The party that hosts a location."""

    party: Line


async def put(call: ApiRequest) -> ApiResponse:
    """Set the site host of a location; it counts for sessions cleared from now on."""
    cpo, location, party = call.path["cpo"], call.path["location"], call.body.party
    await call.services.parties.set_site_host(cpo_id=cpo, location_id=location, party_id=party)
    return ApiResponse(body=api_schemas.SiteHostSchema(cpo=cpo, location_id=location, party=party))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="PUT",
        path="/v1/locations/{cpo}/{location}/site-host",
        operation="setSiteHost",
        summary="Set a location's site host",
        description="The party that has the role `site_host` in agreements for sessions at this location.",
        tag="Parties",
        handler=put,
        body=SiteHostBody,
        answers={200: api_schemas.SiteHostSchema},
        problems=(problems.NOT_FOUND,),
    ),
)
