"""API keys of a party: made, rotated with an overlap, revoked.

Owns: the paths. Must not know how a key is checked. A token is in one answer and nowhere else, not even
in the store of idempotent answers.
"""

from datetime import datetime, timedelta
from typing import Final, Literal

import asyncpg
from pydantic import Field

from gateway import objects
from gateway.database import Connection, transaction
from gateway.http import problems
from gateway.http.auth import FIRST_KEY, Scope, create_key
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel, page
from gateway.http.idempotency import KeyRule
from gateway.http.problems import ProblemError
from gateway.ids import format_id
from gateway.store import parties, principals
from gateway.store.parties import ApiKeyRow

_CREATED: Final = 201
_NO_CONTENT: Final = 204
_PREFIX: Final = "key"
_MANY: Final = 1000


class ApiKeyIn(WireModel):
    """What the new key may be used for."""

    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))


class RotateIn(WireModel):
    """How long the old key goes on working."""

    overlap_s: int = Field(86_400, ge=0, le=2_592_000)


class ApiKeyOut(objects.PublicObject):
    """An API key; `api_key` is there once, in the answer that made it."""

    id: str
    object: Literal["api_key"] = "api_key"
    party: str
    prefix: str
    scopes: list[str]
    created: objects.Instant
    expires: objects.Instant | None
    revoked: objects.Instant | None
    principal: str = Field(description="whose it is where two have to agree: the key itself, or its maker")
    api_key: str | None = None


async def create(call: Call) -> Answer:
    """A new key for a party."""
    scopes = sorted({scope.value for scope in call.body.scopes})
    async with transaction(call.services.pool) as connection:
        return await _create(call, connection, scopes=scopes, now=call.services.clock.wall_now(), of=None)


async def _create(
    call: Call, connection: Connection, *, scopes: list[str], now: datetime, of: str | None
) -> Answer:
    """Make the key; `of` is the prefix of the one that it takes the place of."""
    party_id = call.path["id"]
    try:
        minted = await create_key(
            connection,
            key_id=call.resource_id,
            party_id=party_id,
            scopes=scopes,
            now=now,
        )
    except asyncpg.ForeignKeyViolationError:
        raise ProblemError(problems.NOT_FOUND, f"There is no party {party_id}.") from None
    except asyncpg.UniqueViolationError:
        # The request came before and its answer, with the only copy of the token, is gone.
        raise ProblemError(
            problems.ALREADY_EXISTS, "This request made a key before; ask for another one with a new key."
        ) from None
    await _stand_for(call, connection, minted.prefix, of=of)
    shown = ApiKeyOut(
        id=format_id(_PREFIX, call.resource_id),
        party=party_id,
        prefix=minted.prefix,
        scopes=scopes,
        created=now,
        expires=None,
        revoked=None,
        principal=await principals.principal_of(connection, minted.prefix),
        api_key=minted.token,
    )
    return Answer(body=shown, status=_CREATED, secrets=("api_key",))


async def _stand_for(call: Call, connection: Connection, prefix: str, *, of: str | None) -> None:
    """Whose the key is where two have to agree: whoever made it has seen it, so it is theirs.

    The installation's first key gives keys to others: they stand for themselves, also after a rotation.
    """
    if call.caller.key != FIRST_KEY:
        maker = await principals.principal_of(connection, call.caller.key)
        await principals.stand_for(connection, prefix, principal=maker)
    elif of is not None:
        holder = await principals.principal_of(connection, of)
        await principals.stand_for(connection, prefix, principal=holder)


async def rotate(call: Call) -> Answer:
    """A new key with the old one's scopes; the old one ends after the overlap."""
    now = call.services.clock.wall_now()
    party_id, key_id = call.path["id"], call.path_id("key_id", _PREFIX)
    overlap_s = (call.body or RotateIn()).overlap_s
    async with transaction(call.services.pool) as connection:
        scopes = await parties.expire_api_key(
            connection,
            party_id=party_id,
            key_id=key_id,
            expires_at=now + timedelta(seconds=overlap_s),
        )
        if scopes is None:
            raise ProblemError(problems.NOT_FOUND, "The party has no such live key.")
        old = await parties.find_api_key(connection, party_id=party_id, key_id=key_id)
        of = None if old is None else old.prefix
        answer = await _create(call, connection, scopes=list(scopes), now=now, of=of)
    if old is not None:
        call.services.keys.forget(old.prefix)
    return answer


async def revoke(call: Call) -> Answer:
    """End a key now."""
    async with call.services.pool.acquire() as connection:
        prefix = await parties.revoke_api_key(
            connection,
            party_id=call.path["id"],
            key_id=call.path_id("key_id", _PREFIX),
            revoked_at=call.services.clock.wall_now(),
        )
    if prefix is None:
        raise ProblemError(problems.NOT_FOUND, "The party has no such key.")
    call.services.keys.forget(prefix)
    return Answer(body=None, status=_NO_CONTENT)


async def list_all(call: Call) -> Answer:
    """A party's keys without their tokens, oldest first."""
    async with call.services.pool.acquire() as connection:
        found = await parties.list_api_keys(connection, party_id=call.path["id"])
    return Answer(body=page([_shown(key) for key in found], limit=_MANY))


def _shown(key: ApiKeyRow) -> ApiKeyOut:
    return ApiKeyOut(
        id=format_id(_PREFIX, key.id),
        party=key.party_id,
        prefix=key.prefix,
        scopes=list(key.scopes),
        created=key.created_at,
        expires=key.expires_at,
        revoked=key.revoked_at,
        principal=key.principal,
    )


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/parties/{id}/api-keys",
        operation="createApiKey",
        summary="Make an API key",
        description="The token is shown once; a replayed answer shows null in its place.",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=create,
        body=ApiKeyIn,
        answers={201: ApiKeyOut},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.ALREADY_EXISTS),
    ),
    Endpoint(
        method="GET",
        path="/v1/parties/{id}/api-keys",
        operation="listApiKeys",
        summary="List API keys",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=list_all,
        answers={200: ApiKeyOut},
        listed=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/parties/{id}/api-keys/{key_id}/rotate",
        operation="rotateApiKey",
        summary="Rotate an API key",
        description="Answers a new key; the old one works until the overlap ends.",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=rotate,
        body=RotateIn,
        body_required=False,
        answers={201: ApiKeyOut},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
    Endpoint(
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
