"""OCPI registrations: the platform invites a CPO's or eMSP's platform to the handshake.

Owns: the path. Must not know OCPI. The token is in this answer only.
"""

from typing import Final, Literal

from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.models import Slug
from gateway.http.problems import ProblemError
from gateway.store import parties

_CREATED: Final = 201


class RegistrationIn(WireModel):
    """Whom to invite."""

    party_id: Slug


class RegistrationOut(objects.PublicObject):
    """What the other side needs to begin."""

    object: Literal["ocpi_registration"] = "ocpi_registration"
    party: str
    token_a: str | None
    versions_url: str


async def create(call: Call) -> Answer:
    """A fresh token A for a party; an earlier one that was not used ends."""
    party_id = call.body.party_id
    if call.services.ocpi is None:
        raise ProblemError(problems.UNAVAILABLE, "OCPI is not wired in this process.")
    async with call.services.pool.acquire() as connection:
        if await parties.find_party(connection, party_id) is None:
            raise ProblemError(problems.NOT_FOUND, f"There is no party {party_id}.")
    token = await call.services.ocpi.register(party_id=party_id)
    shown = RegistrationOut(
        party=party_id,
        token_a=token,
        versions_url=f"{call.services.options.base_url}/ocpi/versions",
    )
    return Answer(body=shown, status=_CREATED, secrets=("token_a",))


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/ocpi/registrations",
        operation="createOcpiRegistration",
        summary="Invite a party to the OCPI handshake",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=create,
        body=RegistrationIn,
        answers={201: RegistrationOut},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
)
