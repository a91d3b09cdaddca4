"""API keys of a party: made, rotated with an overlap, revoked.

Owns: the paths. Must not know how a key is checked. A token is in one answer and nowhere else, not even
in the store of idempotent answers.
"""

from datetime import timedelta
from typing import Final, Literal

from pydantic import Field

from gateway import api_schemas
from gateway.api import problems
from gateway.api.auth import Scope
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, whole
from gateway.api.idempotency import KeyRule
from gateway.ids import format_id
from gateway.partners.api_key_service import CreatedKey
from gateway.partners.party_repository import ApiKeyRecord

_CREATED: Final = 201
_NO_CONTENT: Final = 204
_PREFIX: Final = "key"


class CreateApiKeyBody(WireModel):
    """The scopes of the new key."""

    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))


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
    principal: str = Field(description="whose it is for four-eyes approval: the key itself, or its creator")
    api_key: str | None = None


async def create(call: ApiRequest) -> ApiResponse:
    """A new key for a party."""
    created = await call.services.api_keys.create(
        key_id=call.resource_id,
        party_id=call.path["id"],
        scopes=sorted({scope.value for scope in call.body.scopes}),
        key=call.caller.key,
    )
    return _created(created)


async def rotate(call: ApiRequest) -> ApiResponse:
    """A new key with the old one's scopes; the old one ends after the overlap."""
    created = await call.services.api_keys.rotate(
        new_key_id=call.resource_id,
        party_id=call.path["id"],
        key_id=call.path_id("key_id", _PREFIX),
        overlap=timedelta(seconds=call.body.overlap_s),
        key=call.caller.key,
    )
    return _created(created)


async def revoke(call: ApiRequest) -> ApiResponse:
    """End a key now."""
    await call.services.api_keys.revoke(party_id=call.path["id"], key_id=call.path_id("key_id", _PREFIX))
    return ApiResponse(body=None, status=_NO_CONTENT)


async def list_all(call: ApiRequest) -> ApiResponse:
    """A party's keys without their tokens, oldest first."""
    found = await call.services.api_keys.list(party_id=call.path["id"])
    return ApiResponse(body=whole([_shown(key) for key in found]))


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
        principal=key.principal,
        api_key=token,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/api-keys",
        operation="createApiKey",
        summary="Create an API key",
        description=("Only this response contains the token; a replayed response has null in its place."),
        tag="Parties",
        scope=Scope.ADMIN,
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
        scope=Scope.ADMIN,
        handler=list_all,
        answers={200: ApiKeySchema},
        listed=True,
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/api-keys/{key_id}/rotate",
        operation="rotateApiKey",
        summary="Rotate an API key",
        description=("Returns a new key; the old key remains valid until the overlap ends."),
        tag="Parties",
        scope=Scope.ADMIN,
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
        scope=Scope.ADMIN,
        handler=revoke,
        answers={204: None},
        problems=(problems.NOT_FOUND,),
    ),
)
