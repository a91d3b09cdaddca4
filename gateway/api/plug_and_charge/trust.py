"""Trust, as administrators change it: roots, their policies, cross certificates, and the history of all.

Owns: the wire form. Must not know certificates: what may be trusted is decided by pnc, and every change is
recorded with who made it and why. A change applies from the next decision on, in every process.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiRequest, ApiResponse, QueryModel, WireModel, whole
from gateway.api.field_types import MAX_PAGE
from gateway.api.idempotency import KeyRule
from gateway.api.plug_and_charge.contracts import Environment, Pem, Reason, endpoint
from gateway.plug_and_charge.trust_service import RevocationOrigin
from gateway.schemas import api_schemas
from pnc import contract_authority_administration, trust_administration
from pnc.trust import AnchorPurpose, RevocationPolicy, TrustChange

_CREATED: Final = 201
SourceKind = Literal["ocsp", "crl"]
SourceUrl = Annotated[str, Field(min_length=8, max_length=2048)]


class SourceBody(WireModel):
    """Where the status of certificates below the root may be requested."""

    kind: SourceKind
    url: SourceUrl


class TrustAnchorBody(WireModel):
    """A root that contract certificates may chain to."""

    environment: Environment
    kind: AnchorPurpose
    pem: Pem
    policy: RevocationPolicy = Field(
        description="without an available status, `require` rejects the contract and `soft` accepts it"
    )
    policy_reason: Reason = ""
    revocation_sources: list[SourceBody] = Field(default_factory=list, max_length=32)
    reason: Reason = "added by the platform"


class ReasonBody(WireModel):
    """Why, and in which environment; by default this installation's own."""

    reason: Reason = ""
    environment: Environment | None = None


class PolicyBody(ReasonBody):
    """What an unreachable source of revocation means under a root."""

    policy: RevocationPolicy
    policy_reason: Reason = ""


class CrossCertificateBody(ReasonBody):
    """A certificate that one root issues for another root."""

    pem: Pem


class TrustQuery(QueryModel):
    """What is trusted now, or also what was trusted earlier."""

    environment: Environment | None = None
    retired: bool = Field(default=False, description="true lists retired ones as well")


class TrustHistoryQuery(QueryModel):
    """Changes after a version."""

    environment: Environment | None = None
    cursor: int = Field(0, ge=0, le=2**62, description="`next_cursor` of the previous page")
    limit: int = Field(50, ge=1, le=MAX_PAGE)


class TrustAnchorSchema(api_schemas.PublicSchema):
    """A trusted root."""

    object: Literal["trust_anchor"] = "trust_anchor"
    sha256: str
    environment: str
    kind: str
    policy: str
    policy_reason: str = ""
    subject: str | None = None
    not_after: api_schemas.Instant | None = None
    added_at: api_schemas.Instant | None = None
    retired_at: api_schemas.Instant | None = None
    warning: str = Field("", description="what an administrator should do about it")


class CrossCertificateSchema(api_schemas.PublicSchema):
    """A cross certificate."""

    object: Literal["cross_certificate"] = "cross_certificate"
    sha256: str
    environment: str
    subject: str | None = None
    issuer: str | None = None
    added_at: api_schemas.Instant | None = None
    retired_at: api_schemas.Instant | None = None


class TrustChangeSchema(api_schemas.PublicSchema):
    """One change of trust."""

    object: Literal["trust_change"] = "trust_change"
    version: int
    kind: str
    sha256: str
    detail: str
    actor: str
    reason: str
    at: api_schemas.Instant


async def add_anchor(call: ApiRequest) -> ApiResponse:
    """Trust a root, and allow the sources of its certificates' status."""
    body: TrustAnchorBody = call.body
    change = change_of(call, body.reason)
    sha256 = await call.services.trust.add_anchor(
        environment=body.environment,
        certificate=body.pem,
        purpose=body.kind,
        policy=body.policy,
        policy_reason=body.policy_reason,
        sources=[RevocationOrigin(kind=one.kind, url=one.url) for one in body.revocation_sources],
        change=change,
    )
    shown = TrustAnchorSchema(
        sha256=sha256,
        environment=body.environment,
        kind=body.kind.value,
        policy=body.policy.value,
        policy_reason=body.policy_reason,
        added_at=change.now,
    )
    return ApiResponse(body=shown, status=_CREATED)


async def list_anchors(call: ApiRequest) -> ApiResponse:
    """The roots of an environment, oldest first."""
    environment = environment_of(call, call.query.environment)
    found = await trust_administration.list_anchors(
        call.services.pool, environment=environment, with_retired=call.query.retired
    )
    names = ("sha256", "policy", "policy_reason", "subject", "not_after", "added_at", "retired_at")
    named = await contract_authority_administration.list_contract_authorities(
        call.services.pool, environment=environment
    )
    with_authorities = {row["anchor"] for row in named}
    return ApiResponse(
        body=whole(
            TrustAnchorSchema(
                environment=environment,
                kind=row["purpose"],
                warning=_warning(row, named=row["sha256"] in with_authorities),
                **_of(row, names),
            )
            for row in found
        )
    )


def _warning(row: dict[str, Any], *, named: bool) -> str:
    """What is not decided about a root: below a V2G root, who may issue contracts."""
    if named or row["purpose"] != AnchorPurpose.V2G_ROOT or row["retired_at"] is not None:
        return ""
    return "name the authorities that may issue contracts below this V2G root"


async def retire_anchor(call: ApiRequest) -> ApiResponse:
    """Retire a root: new authorizations stop, running sessions are settled."""
    body: ReasonBody = call.body or ReasonBody()
    await call.services.trust.retire_anchor(
        call.path["sha256"],
        environment=environment_of(call, body.environment),
        change=change_of(call, body.reason),
    )
    return ApiResponse(body=None, status=204)


async def set_policy(call: ApiRequest) -> ApiResponse:
    """Change a root's revocation policy."""
    body: PolicyBody = call.body
    await call.services.trust.set_policy(
        call.path["sha256"],
        environment=environment_of(call, body.environment),
        policy=body.policy,
        policy_reason=body.policy_reason,
        change=change_of(call, body.reason),
    )
    return ApiResponse(body=None, status=204)


async def add_cross_certificate(call: ApiRequest) -> ApiResponse:
    """Add a cross certificate; it helps chains to reach a trusted root and is no anchor itself."""
    body: CrossCertificateBody = call.body
    environment = environment_of(call, body.environment)
    change = change_of(call, body.reason)
    sha256 = await call.services.trust.add_cross_certificate(body.pem, environment=environment, change=change)
    shown = CrossCertificateSchema(sha256=sha256, environment=environment, added_at=change.now)
    return ApiResponse(body=shown, status=_CREATED)


async def list_cross_certificates(call: ApiRequest) -> ApiResponse:
    """The cross certificates of an environment, oldest first."""
    environment = environment_of(call, call.query.environment)
    found = await trust_administration.list_cross_certificates(
        call.services.pool, environment=environment, with_retired=call.query.retired
    )
    names = ("sha256", "subject", "issuer", "added_at", "retired_at")
    return ApiResponse(
        body=whole(CrossCertificateSchema(environment=environment, **_of(row, names)) for row in found)
    )


async def retire_cross_certificate(call: ApiRequest) -> ApiResponse:
    """Retire a cross certificate."""
    body: ReasonBody = call.body or ReasonBody()
    await call.services.trust.retire_cross_certificate(
        call.path["sha256"],
        environment=environment_of(call, body.environment),
        change=change_of(call, body.reason),
    )
    return ApiResponse(body=None, status=204)


async def list_history(call: ApiRequest) -> ApiResponse:
    """Every change of trust, oldest first: what, who, why, when."""
    query: TrustHistoryQuery = call.query
    found = await trust_administration.load_history(
        call.services.pool,
        environment=environment_of(call, query.environment),
        after=query.cursor,
        limit=query.limit + 1,
    )
    shown = [TrustChangeSchema(**row) for row in found[: query.limit]]
    more = len(found) > query.limit
    cursor = str(shown[-1].version) if shown else str(query.cursor)
    return ApiResponse(body={"object": "list", "data": shown, "has_more": more, "next_cursor": cursor})


def environment_of(call: ApiRequest, given: str | None) -> str:
    """The environment of a request: the given one, or this installation's own."""
    return given or call.services.options.environment


def change_of(call: ApiRequest, reason: str) -> TrustChange:
    """Who changes trust, why and when."""
    now: datetime = call.services.now()
    return TrustChange(actor=call.caller.party_id, reason=reason, now=now)


def _of(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names}


_SHA256: Final = "{sha256}"
_CHANGED: Final[dict[str, Any]] = {"key_rule": KeyRule.OPTIONAL}
_REJECTED: Final = (problems.NOT_FOUND, problems.STATE_CONFLICT)
ENDPOINTS: Final = (
    endpoint(
        "POST",
        "trust-anchors",
        "addTrustAnchor",
        "Add a trust anchor",
        handler=add_anchor,
        body=TrustAnchorBody,
        answers={201: TrustAnchorSchema},
        problems=(problems.STATE_CONFLICT,),
        **_CHANGED,
    ),
    endpoint(
        "GET",
        "trust-anchors",
        "listTrustAnchors",
        "List trust anchors",
        handler=list_anchors,
        query=TrustQuery,
        answers={200: TrustAnchorSchema},
        listed=True,
    ),
    endpoint(
        "POST",
        f"trust-anchors/{_SHA256}/retire",
        "retireTrustAnchor",
        "Retire a trust anchor",
        handler=retire_anchor,
        body=ReasonBody,
        body_required=False,
        answers={204: None},
        problems=_REJECTED,
        **_CHANGED,
    ),
    endpoint(
        "PUT",
        f"trust-anchors/{_SHA256}/policy",
        "setRevocationPolicy",
        "Set the revocation policy of a trust anchor",
        handler=set_policy,
        body=PolicyBody,
        answers={204: None},
        problems=_REJECTED,
    ),
    endpoint(
        "POST",
        "cross-certificates",
        "addCrossCertificate",
        "Add a cross certificate",
        handler=add_cross_certificate,
        body=CrossCertificateBody,
        answers={201: CrossCertificateSchema},
        problems=_REJECTED,
        **_CHANGED,
    ),
    endpoint(
        "GET",
        "cross-certificates",
        "listCrossCertificates",
        "List cross certificates",
        handler=list_cross_certificates,
        query=TrustQuery,
        answers={200: CrossCertificateSchema},
        listed=True,
    ),
    endpoint(
        "POST",
        f"cross-certificates/{_SHA256}/retire",
        "retireCrossCertificate",
        "Retire a cross certificate",
        handler=retire_cross_certificate,
        body=ReasonBody,
        body_required=False,
        answers={204: None},
        problems=_REJECTED,
        **_CHANGED,
    ),
    endpoint(
        "GET",
        "trust-history",
        "listTrustChanges",
        "List trust changes",
        handler=list_history,
        query=TrustHistoryQuery,
        answers={200: TrustChangeSchema},
        listed=True,
    ),
)
