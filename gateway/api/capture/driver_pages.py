"""The driver page of a CPO's EVSEs: whose sessions are paid there, and what it is called.

Owns: the paths and the wire form. Must not know what the page shows.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import Line, Slug
from gateway.api.problems import ProblemError
from gateway.driver_page.repository import DriverPageRecord
from gateway.schemas import api_schemas

_PATH: Final = "/v1/parties/{id}/driver-page"
_NO_CONTENT: Final = 204


class DriverPageBody(WireModel):
    """Whose sessions are paid on the page, and what drivers see of it."""

    demand_partner: Slug = Field(description="the party whose sessions they are: it must bring drivers")
    brand: Annotated[Line, Field(max_length=60)] = Field(description="name at the top of the page")
    support: Annotated[Line, Field(max_length=100)] = Field(
        description="telephone number or e-mail address for drivers", examples=["+49 30 1234567"]
    )


class DriverPageSchema(api_schemas.PublicSchema):
    """The page on which drivers without an account pay at a CPO's EVSEs."""

    object: Literal["driver_page"] = "driver_page"
    party: str = Field(description="the CPO; platform: every CPO without a page of its own")
    demand_partner: str = Field(description="whose sessions they are")
    brand: str = Field(description="name at the top of the page")
    support: str = Field(description="telephone number or e-mail address for drivers")


async def put(call: ApiRequest) -> ApiResponse:
    """Set up a party's page."""
    body: DriverPageBody = call.body
    page = DriverPageRecord(
        party_id=call.path["id"],
        demand_partner_id=body.demand_partner,
        brand=body.brand,
        support=body.support,
    )
    return ApiResponse(body=_shown(await call.services.driver_pages.set(page)))


async def get(call: ApiRequest) -> ApiResponse:
    """A party's own page: the caller's, or any for the platform."""
    if not call.caller.admin and call.path["id"] != call.caller.party_id:
        raise ProblemError(problems.NOT_FOUND, f"There is no party {call.path['id']}.")
    return ApiResponse(body=_shown(await call.services.driver_pages.get(party_id=call.path["id"])))


async def delete(call: ApiRequest) -> ApiResponse:
    """Take a party's own page away."""
    await call.services.driver_pages.remove(party_id=call.path["id"])
    return ApiResponse(body=None, status=_NO_CONTENT)


def _shown(page: DriverPageRecord) -> DriverPageSchema:
    return DriverPageSchema(
        party=page.party_id, demand_partner=page.demand_partner_id, brand=page.brand, support=page.support
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="PUT",
        path=_PATH,
        operation="setDriverPage",
        summary="Set up a driver page",
        description="Drivers without an account pay at the CPO's EVSEs on the page `/c/{evse_id}`; with the "
        "id `platform`, at those of every CPO without a page of its own. The sessions are the demand "
        "partner's, by its agreement with the CPO.",
        tag="Parties",
        handler=put,
        body=DriverPageBody,
        answers={200: DriverPageSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="GET",
        path=_PATH,
        operation="getDriverPage",
        summary="Get a driver page",
        tag="Parties",
        handler=get,
        answers={200: DriverPageSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="DELETE",
        path=_PATH,
        operation="removeDriverPage",
        summary="Remove a driver page",
        description="Payments that were begun on it stay as they are.",
        tag="Parties",
        handler=delete,
        answers={204: None},
        problems=(problems.NOT_FOUND,),
    ),
)
