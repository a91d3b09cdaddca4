"""Contract authorities, as administrators name them: who may issue contracts below a root.

Owns: the wire form. Must not know certificates: pnc decides what an authority is, and records every change.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiRequest, ApiResponse, WireModel, whole
from gateway.api.idempotency import KeyRule
from gateway.api.plug_and_charge.contracts import Environment, Pem, Reason, endpoint
from gateway.api.plug_and_charge.trust import TrustQuery, change_of, environment_of
from gateway.api.problems import ProblemError
from gateway.schemas import api_schemas
from pnc import contract_authority_administration

_CREATED: Final = 201
KeyHash = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]


class ContractAuthorityBody(WireModel):
    """An authority, by its certificate or by the hash of its key."""

    pem: Pem | None = Field(None, description="the authority's certificate")
    key_sha256: KeyHash | None = Field(
        None, description="SHA-256 of its public key's bits: OCPP's issuerKeyHash"
    )
    reason: Reason = ""
    environment: Environment | None = None


class RemovedAuthorityBody(WireModel):
    """The authority to remove, by the hash of its key."""

    key_sha256: KeyHash = Field(description="SHA-256 of the authority's public key")
    reason: Reason = ""
    environment: Environment | None = None


class ContractAuthoritySchema(api_schemas.PublicSchema):
    """An authority that may issue contracts below a root."""

    object: Literal["contract_authority"] = "contract_authority"
    anchor: str = Field(description="the root's SHA-256")
    key_sha256: str = Field(description="SHA-256 of the authority's public key: OCPP's issuerKeyHash")
    subject: str = Field("", description="empty when only the hash was given")
    added_at: api_schemas.Instant | None = None


async def allow(call: ApiRequest) -> ApiResponse:
    """Name an authority that may issue contracts below the root."""
    body: ContractAuthorityBody = call.body
    given = [value for value in (body.pem, body.key_sha256) if value is not None]
    if len(given) != 1:
        raise ProblemError(problems.INVALID_PARAMETERS, "Give either `pem` or `key_sha256`.")
    environment, anchor = environment_of(call, body.environment), call.path["sha256"]
    key = await call.services.trust.allow_contract_authority(
        anchor, given[0], environment=environment, change=change_of(call, body.reason)
    )
    named = await _named(call, environment)
    return ApiResponse(
        body=next(item for item in named if (item.anchor, item.key_sha256) == (anchor.lower(), key)),
        status=_CREATED,
    )


async def list_authorities(call: ApiRequest) -> ApiResponse:
    """Every named authority, by root."""
    return ApiResponse(body=whole(await _named(call, environment_of(call, call.query.environment))))


async def remove(call: ApiRequest) -> ApiResponse:
    """Remove an authority's right; running sessions are settled."""
    body: RemovedAuthorityBody = call.body
    await call.services.trust.remove_contract_authority(
        call.path["sha256"],
        body.key_sha256,
        environment=environment_of(call, body.environment),
        change=change_of(call, body.reason),
    )
    return ApiResponse(body=None, status=204)


async def _named(call: ApiRequest, environment: str) -> list[ContractAuthoritySchema]:
    found = await contract_authority_administration.list_contract_authorities(
        call.services.pool, environment=environment
    )
    return [ContractAuthoritySchema(**row) for row in found]


_SHA256: Final = "{sha256}"
_CHANGED: Final[dict[str, Any]] = {"key_rule": KeyRule.OPTIONAL}
ENDPOINTS: Final = (
    endpoint(
        "POST",
        f"trust-anchors/{_SHA256}/contract-authorities",
        "allowContractAuthority",
        "Allow an authority to issue contracts below a root",
        handler=allow,
        body=ContractAuthorityBody,
        answers={201: ContractAuthoritySchema},
        problems=(problems.NOT_FOUND,),
        **_CHANGED,
    ),
    endpoint(
        "POST",
        f"trust-anchors/{_SHA256}/contract-authorities/remove",
        "removeContractAuthority",
        "Remove an authority's right to issue contracts",
        handler=remove,
        body=RemovedAuthorityBody,
        answers={204: None},
        problems=(problems.NOT_FOUND,),
        **_CHANGED,
    ),
    endpoint(
        "GET",
        "contract-authorities",
        "listContractAuthorities",
        "List the authorities that may issue contracts",
        handler=list_authorities,
        query=TrustQuery,
        answers={200: ContractAuthoritySchema},
        listed=True,
    ),
)
