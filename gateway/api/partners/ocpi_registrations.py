"""OCPI registrations: the platform invites a CPO's or eMSP's platform to the handshake.

Owns: the path. Must not know OCPI. The token is in this answer only.
"""

from typing import Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel
from gateway.api.field_types import Slug
from gateway.api.idempotency import KeyRule
from gateway.api.problems import ProblemError
from gateway.schemas import api_schemas

_CREATED: Final = 201


class RegistrationBody(WireModel):
    """The party to invite."""

    party_id: Slug = Field(description="the party whose platform registers")
    also: tuple[Slug, ...] = Field(
        (), max_length=100, description="further parties that its platform operates for"
    )


class RegistrationSchema(api_schemas.PublicSchema):
    """The data with which the other party starts the handshake."""

    object: Literal["ocpi_registration"] = "ocpi_registration"
    party: str
    token_a: str | None
    versions_url: str


async def create(call: ApiRequest) -> ApiResponse:
    """A fresh token A for a party; an earlier one that was not used ends."""
    party_id = call.body.party_id
    if call.services.ocpi is None:
        raise ProblemError(problems.UNAVAILABLE, "This process has no OCPI.")
    await call.services.parties.get(party_id)
    for other in call.body.also:
        await call.services.parties.get(other)
    token = await call.services.ocpi.register(party_id=party_id, also=call.body.also)
    shown = RegistrationSchema(
        party=party_id,
        token_a=token,
        versions_url=f"{call.services.options.base_url}/ocpi/versions",
    )
    return ApiResponse(body=shown, status=_CREATED, secrets=("token_a",))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/ocpi/registrations",
        operation="createOcpiRegistration",
        summary="Invite a party to the OCPI handshake",
        tag="Parties",
        handler=create,
        body=RegistrationBody,
        answers={201: RegistrationSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
)
