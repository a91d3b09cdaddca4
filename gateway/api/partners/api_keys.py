"""API keys of a party: made, given another version, rotated with an overlap, revoked.

Owns: the paths. Must not know how a key is checked. A token is in one answer and nowhere else, not even
in the store of idempotent answers.
"""

from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, whole
from gateway.api.field_types import InstantIn
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import own_party
from gateway.api.versioning import check_version
from gateway.api_versions import NEWEST
from gateway.ids import format_id
from gateway.partners.api_key_service import CreatedKey, KeyLimits, KeyMaker
from gateway.partners.party_repository import ApiKeyRecord
from gateway.schemas import api_schemas
from gateway.scopes import Scope, ScopeSet

_CREATED: Final = 201
_NO_CONTENT: Final = 204
_PREFIX: Final = "key"
_MAX_NETWORKS: Final = 50


def _network(text: str) -> str:
    """An address range as ip_network reads it: no bits beside the prefix."""
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError(f"expected an address or a range such as 203.0.113.0/24: {error}") from None


class CreateApiKeyBody(WireModel):
    """What the new key may do, until when, and from where."""

    scopes: list[Scope | ScopeSet] = Field(
        min_length=1,
        max_length=len(Scope) + len(ScopeSet),
        description="scopes; a name without `:` stands for several, as the guide lists",
        examples=[["capture:read", "capture:write"]],
    )
    expires: InstantIn | None = Field(None, description="when it ends by itself; null: never")
    allowed_networks: list[Annotated[str, Field(max_length=49), AfterValidator(_network)]] = Field(
        default_factory=list,
        max_length=_MAX_NETWORKS,
        description="addresses and ranges that it works from; empty: everywhere",
        examples=[["203.0.113.0/24"]],
    )
    api_version: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = Field(
        None, description="version of the key's requests and answers; null: the newest", examples=[NEWEST]
    )


class ChangeApiKeyBody(WireModel):
    """The version of the API that the key has from now on."""

    api_version: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", examples=[NEWEST])]


class RotateApiKeyBody(WireModel):
    """How long the old key remains valid."""

    overlap_s: int = Field(86_400, ge=0, le=2_592_000)


class ApiKeySchema(api_schemas.PublicSchema):
    """An API key; only the response that created it contains `api_key`."""

    id: str
    object: Literal["api_key"] = "api_key"
    party: str
    prefix: str
    scopes: list[str]
    created: api_schemas.Instant
    expires: api_schemas.Instant | None
    revoked: api_schemas.Instant | None
    allowed_networks: list[str] = Field(description="where it works from; empty: everywhere")
    api_version: str = Field(description="version of requests and answers that name none")
    last_used: api_schemas.Instant | None = Field(description="to about a minute; null: never used")
    principal: str = Field(description="whose it is for four-eyes approval: the key itself, or its creator")
    api_key: str | None = None


async def create(call: ApiRequest) -> ApiResponse:
    """A new key for a party."""
    versions = call.services.options.versions
    version = call.body.api_version or versions.newest
    check_version(versions, version, pointer="/api_version")
    created = await call.services.api_keys.create(
        key_id=call.resource_id,
        party_id=own_party(call),
        scopes=sorted({scope.value for scope in call.body.scopes}),
        maker=_maker(call),
        limits=KeyLimits(
            expires_at=call.body.expires, networks=[ip_network(one) for one in call.body.allowed_networks]
        ),
        api_version=version,
    )
    return _created(created)


async def change(call: ApiRequest) -> ApiResponse:
    """Another version for a key."""
    check_version(call.services.options.versions, call.body.api_version, pointer="/api_version")
    changed = await call.services.api_keys.pin(
        party_id=own_party(call),
        key_id=call.path_id("key_id", _PREFIX),
        api_version=call.body.api_version,
    )
    return ApiResponse(body=_shown(changed))


async def rotate(call: ApiRequest) -> ApiResponse:
    """A new key with the old one's scopes; the old one ends after the overlap."""
    created = await call.services.api_keys.rotate(
        new_key_id=call.resource_id,
        party_id=own_party(call),
        key_id=call.path_id("key_id", _PREFIX),
        overlap=timedelta(seconds=call.body.overlap_s),
        maker=_maker(call),
    )
    return _created(created)


async def revoke(call: ApiRequest) -> ApiResponse:
    """End a key now."""
    await call.services.api_keys.revoke(party_id=own_party(call), key_id=call.path_id("key_id", _PREFIX))
    return ApiResponse(body=None, status=_NO_CONTENT)


async def list_all(call: ApiRequest) -> ApiResponse:
    """A party's keys without their tokens, oldest first."""
    found = await call.services.api_keys.list(party_id=own_party(call))
    return ApiResponse(body=whole([_shown(key) for key in found]))


def _maker(call: ApiRequest) -> KeyMaker:
    return KeyMaker(key=call.caller.key, scopes=call.caller.scopes)


def _created(created: CreatedKey) -> ApiResponse:
    return ApiResponse(
        body=_shown(created.record, token=created.token), status=_CREATED, secrets=("api_key",)
    )


def _shown(key: ApiKeyRecord, *, token: str | None = None) -> ApiKeySchema:
    return ApiKeySchema(
        id=format_id(_PREFIX, key.id),
        party=key.party_id,
        prefix=key.prefix,
        scopes=list(key.scopes),
        created=key.created_at,
        expires=key.expires_at,
        revoked=key.revoked_at,
        allowed_networks=[str(one) for one in key.networks],
        api_version=key.api_version,
        last_used=key.last_used_at,
        principal=key.principal,
        api_key=token,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/api-keys",
        operation="createApiKey",
        summary="Create an API key",
        description=(
            "Only this response contains the token; a replayed response has null in its place. A key gives "
            "no scope that it lacks; a party's key makes keys of its own party."
        ),
        tag="Parties",
        handler=create,
        body=CreateApiKeyBody,
        answers={201: ApiKeySchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.ALREADY_EXISTS),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/parties/{id}/api-keys",
        operation="listApiKeys",
        summary="List API keys",
        tag="Parties",
        handler=list_all,
        answers={200: ApiKeySchema},
        listed=True,
    ),
    ApiEndpoint(
        method="PATCH",
        path="/v1/parties/{id}/api-keys/{key_id}",
        operation="changeApiKey",
        summary="Pin the version of an API key",
        description="Requests of the key that name no version have this one within seconds.",
        tag="Parties",
        handler=change,
        body=ChangeApiKeyBody,
        answers={200: ApiKeySchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/api-keys/{key_id}/rotate",
        operation="rotateApiKey",
        summary="Rotate an API key",
        description=("Returns a new key; the old key remains valid until the overlap ends."),
        tag="Parties",
        handler=rotate,
        body=RotateApiKeyBody,
        body_required=False,
        answers={201: ApiKeySchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="DELETE",
        path="/v1/parties/{id}/api-keys/{key_id}",
        operation="revokeApiKey",
        summary="Revoke an API key",
        tag="Parties",
        handler=revoke,
        answers={204: None},
        problems=(problems.NOT_FOUND,),
    ),
)
