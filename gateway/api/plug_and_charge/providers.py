"""Providers of eMAIDs: which party each belongs to, and which are in use and belong to nobody yet.

Owns: the wire form. Must not know what follows for contracts: that is pnc.provider_administration.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiRequest, ApiResponse, WireModel, whole
from gateway.api.idempotency import KeyRule
from gateway.api.plug_and_charge.contracts import Environment, contracts_of, endpoint
from gateway.api.plug_and_charge.trust import TrustQuery, environment_of
from gateway.schemas import api_schemas

_PATH: Final = "providers/{provider}"


class ProviderBody(WireModel):
    """The party to which a provider belongs."""

    party: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[ -~]+$")]
    environment: Environment | None = None


class ProviderSchema(api_schemas.PublicSchema):
    """A provider: the first five characters of eMAIDs."""

    object: Literal["provider"] = "provider"
    id: str = Field(examples=["DE8AA"])
    party: str | None = Field(description="the party that it is registered for; null: nobody yet")
    registered_at: api_schemas.Instant | None
    parties: list[str] = Field(description="who has stored contracts under it that are not cancelled")
    contracts: int = Field(description="how many contracts that are")
    disputed: bool = Field(description="whether contracts of others than its party are among them")


async def register(call: ApiRequest) -> ApiResponse:
    """Register a provider for a party."""
    body: ProviderBody = call.body
    environment = environment_of(call, body.environment)
    provider = await contracts_of(call).register_provider(
        call.path["provider"], environment=environment, party=body.party
    )
    return ApiResponse(body=next(one for one in await _listed(call, environment) if one.id == provider))


async def remove(call: ApiRequest) -> ApiResponse:
    """Remove the registration of a provider."""
    await contracts_of(call).remove_provider(
        call.path["provider"], environment=environment_of(call, call.query.environment)
    )
    return ApiResponse(body=None, status=204)


async def list_providers(call: ApiRequest) -> ApiResponse:
    """Every provider that is registered or in use."""
    return ApiResponse(body=whole(await _listed(call, environment_of(call, call.query.environment))))


async def _listed(call: ApiRequest, environment: str) -> list[ProviderSchema]:
    return [ProviderSchema(**row) for row in await contracts_of(call).list_providers(environment=environment)]


ENDPOINTS: Final = (
    endpoint(
        "PUT",
        _PATH,
        "registerProvider",
        "Register a provider of eMAIDs for a party",
        handler=register,
        body=ProviderBody,
        answers={200: ProviderSchema},
        problems=(problems.NOT_FOUND,),
    ),
    endpoint(
        "DELETE",
        _PATH,
        "removeProvider",
        "Remove the registration of a provider",
        handler=remove,
        query=TrustQuery,
        answers={204: None},
        problems=(problems.NOT_FOUND,),
        key_rule=KeyRule.OPTIONAL,
    ),
    endpoint(
        "GET",
        "providers",
        "listProviders",
        "List providers that are registered or in use",
        handler=list_providers,
        query=TrustQuery,
        answers={200: ProviderSchema},
        listed=True,
    ),
)
