"""Trust as administrators keep it: roots, their policies, cross certificates, and the history of all.

Owns: the wire form. Must not know certificates: what may be trusted is judged by pnc, and every change is on
its record with who made it and why. A change counts from the next decision on, in every process.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.endpoint import Answer, Call, QueryModel, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.models import MAX_PAGE
from gateway.http.plug_and_charge.contracts import Environment, Pem, Reason, endpoint
from pnc import trust_desk
from pnc.trust import AnchorPurpose, RevocationPolicy
from pnc.trust_desk import Change

_CREATED: Final = 201
SourceKind = Literal["ocsp", "crl"]
SourceUrl = Annotated[str, Field(min_length=8, max_length=2048)]


class SourceIn(WireModel):
    """Where the status of certificates below the root may be asked for."""

    kind: SourceKind
    url: SourceUrl


class TrustAnchorIn(WireModel):
    """A root that contract certificates may chain to."""

    environment: Environment
    kind: AnchorPurpose
    pem: Pem
    policy: RevocationPolicy = Field(description="require, or soft with a reason, when a status can't be had")
    policy_reason: Reason = ""
    revocation_sources: list[SourceIn] = Field(default_factory=list, max_length=32)
    reason: Reason = "added by the platform"


class ReasonIn(WireModel):
    """Why, and in which environment unless this installation's own."""

    reason: Reason = ""
    environment: Environment | None = None


class PolicyIn(ReasonIn):
    """What an unreachable source of revocation means under a root."""

    policy: RevocationPolicy
    policy_reason: Reason = ""


class CrossCertificateIn(ReasonIn):
    """A certificate by which one root vouches for another."""

    pem: Pem


class TrustQuery(QueryModel):
    """What is trusted now, or ever was."""

    environment: Environment | None = None
    retired: bool = Field(default=False, description="true shows what is retired as well")


class TrustHistoryQuery(QueryModel):
    """Changes after a version."""

    environment: Environment | None = None
    cursor: int = Field(0, ge=0, le=2**62, description="next_cursor of the page before")
    limit: int = Field(50, ge=1, le=MAX_PAGE)


class TrustAnchorOut(objects.PublicObject):
    """A root."""

    object: Literal["trust_anchor"] = "trust_anchor"
    sha256: str
    environment: str
    kind: str
    policy: str
    policy_reason: str = ""
    subject: str | None = None
    not_after: objects.Instant | None = None
    added_at: objects.Instant | None = None
    retired_at: objects.Instant | None = None


class CrossCertificateOut(objects.PublicObject):
    """A cross certificate."""

    object: Literal["cross_certificate"] = "cross_certificate"
    sha256: str
    environment: str
    subject: str | None = None
    issuer: str | None = None
    added_at: objects.Instant | None = None
    retired_at: objects.Instant | None = None


class TrustChangeOut(objects.PublicObject):
    """One change of trust."""

    object: Literal["trust_change"] = "trust_change"
    version: int
    kind: str
    sha256: str
    detail: str
    actor: str
    reason: str
    at: objects.Instant


async def add_anchor(call: Call) -> Answer:
    """Trust a root, and allow the sources of its certificates' status."""
    body: TrustAnchorIn = call.body
    change = change_of(call, body.reason)
    async with transaction(call.services.pool) as connection:
        for source in body.revocation_sources:
            await trust_desk.allow_endpoint(
                connection,
                environment=body.environment,
                authority=body.pem,
                kind=source.kind,
                url=source.url,
                change=change,
            )
        sha256 = await trust_desk.add_anchor(
            connection,
            environment=body.environment,
            certificate=body.pem,
            purpose=body.kind,
            policy=body.policy,
            policy_reason=body.policy_reason,
            change=change,
        )
    shown = TrustAnchorOut(
        sha256=sha256,
        environment=body.environment,
        kind=body.kind.value,
        policy=body.policy.value,
        policy_reason=body.policy_reason,
        added_at=change.now,
    )
    return Answer(body=shown, status=_CREATED)


async def list_anchors(call: Call) -> Answer:
    """The roots of an environment, oldest first."""
    environment = environment_of(call, call.query.environment)
    found = await trust_desk.anchors(
        call.services.pool, environment=environment, with_retired=call.query.retired
    )
    names = ("sha256", "policy", "policy_reason", "subject", "not_after", "added_at", "retired_at")
    return listed(
        TrustAnchorOut(environment=environment, kind=row["purpose"], **_of(row, names)) for row in found
    )


async def retire_anchor(call: Call) -> Answer:
    """Trust a root no longer: new authorizations stop, running sessions settle."""
    body: ReasonIn = call.body or ReasonIn()
    async with transaction(call.services.pool) as connection:
        await trust_desk.retire_anchor(
            connection,
            environment=environment_of(call, body.environment),
            sha256=call.path["sha256"],
            change=change_of(call, body.reason),
        )
    return Answer(body=None, status=204)


async def set_policy(call: Call) -> Answer:
    """Change a root's revocation policy."""
    body: PolicyIn = call.body
    async with transaction(call.services.pool) as connection:
        await trust_desk.set_policy(
            connection,
            environment=environment_of(call, body.environment),
            sha256=call.path["sha256"],
            policy=body.policy,
            policy_reason=body.policy_reason,
            change=change_of(call, body.reason),
        )
    return Answer(body=None, status=204)


async def add_cross_certificate(call: Call) -> Answer:
    """Keep a cross certificate; it helps chains to reach a trusted root and is no trust itself."""
    body: CrossCertificateIn = call.body
    environment = environment_of(call, body.environment)
    change = change_of(call, body.reason)
    async with transaction(call.services.pool) as connection:
        sha256 = await trust_desk.add_cross_certificate(
            connection, environment=environment, certificate=body.pem, change=change
        )
    shown = CrossCertificateOut(sha256=sha256, environment=environment, added_at=change.now)
    return Answer(body=shown, status=_CREATED)


async def list_cross_certificates(call: Call) -> Answer:
    """The cross certificates of an environment, oldest first."""
    environment = environment_of(call, call.query.environment)
    found = await trust_desk.cross_certificates(
        call.services.pool, environment=environment, with_retired=call.query.retired
    )
    names = ("sha256", "subject", "issuer", "added_at", "retired_at")
    return listed(CrossCertificateOut(environment=environment, **_of(row, names)) for row in found)


async def retire_cross_certificate(call: Call) -> Answer:
    """Use a cross certificate no longer."""
    body: ReasonIn = call.body or ReasonIn()
    async with transaction(call.services.pool) as connection:
        await trust_desk.retire_cross_certificate(
            connection,
            environment=environment_of(call, body.environment),
            sha256=call.path["sha256"],
            change=change_of(call, body.reason),
        )
    return Answer(body=None, status=204)


async def history(call: Call) -> Answer:
    """Every change of trust, oldest first: what, who, why, when."""
    query: TrustHistoryQuery = call.query
    found = await trust_desk.history(
        call.services.pool,
        environment=environment_of(call, query.environment),
        after=query.cursor,
        limit=query.limit + 1,
    )
    shown = [TrustChangeOut(**row) for row in found[: query.limit]]
    more = len(found) > query.limit
    cursor = str(shown[-1].version) if shown else str(query.cursor)
    return Answer(body={"object": "list", "data": shown, "has_more": more, "next_cursor": cursor})


def environment_of(call: Call, given: str | None) -> str:
    """The environment that a call means."""
    return given or call.services.options.environment


def change_of(call: Call, reason: str) -> Change:
    """Who changes trust, why and when."""
    now: datetime = call.services.now()
    return Change(actor=call.caller.party_id, reason=reason, now=now)


def _of(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def listed(shown: Iterable[objects.PublicObject]) -> Answer:
    """A list that has no second page."""
    return Answer(body={"object": "list", "data": list(shown), "has_more": False, "next_cursor": None})


_SHA256: Final = "{sha256}"
_CHANGED: Final[dict[str, Any]] = {"key_rule": KeyRule.OPTIONAL}
_REFUSED: Final = (problems.NOT_FOUND, problems.STATE_CONFLICT)
ENDPOINTS: Final = (
    endpoint(
        "POST",
        "trust-anchors",
        "addTrustAnchor",
        "Trust a root",
        handler=add_anchor,
        body=TrustAnchorIn,
        answers={201: TrustAnchorOut},
        problems=(problems.STATE_CONFLICT,),
        **_CHANGED,
    ),
    endpoint(
        "GET",
        "trust-anchors",
        "listTrustAnchors",
        "List roots",
        handler=list_anchors,
        query=TrustQuery,
        answers={200: TrustAnchorOut},
        listed=True,
    ),
    endpoint(
        "POST",
        f"trust-anchors/{_SHA256}/retire",
        "retireTrustAnchor",
        "Trust a root no longer",
        handler=retire_anchor,
        body=ReasonIn,
        body_required=False,
        answers={204: None},
        problems=_REFUSED,
        **_CHANGED,
    ),
    endpoint(
        "PUT",
        f"trust-anchors/{_SHA256}/policy",
        "setRevocationPolicy",
        "Change a root's revocation policy",
        handler=set_policy,
        body=PolicyIn,
        answers={204: None},
        problems=_REFUSED,
    ),
    endpoint(
        "POST",
        "cross-certificates",
        "addCrossCertificate",
        "Keep a cross certificate",
        handler=add_cross_certificate,
        body=CrossCertificateIn,
        answers={201: CrossCertificateOut},
        problems=_REFUSED,
        **_CHANGED,
    ),
    endpoint(
        "GET",
        "cross-certificates",
        "listCrossCertificates",
        "List cross certificates",
        handler=list_cross_certificates,
        query=TrustQuery,
        answers={200: CrossCertificateOut},
        listed=True,
    ),
    endpoint(
        "POST",
        f"cross-certificates/{_SHA256}/retire",
        "retireCrossCertificate",
        "Use a cross certificate no longer",
        handler=retire_cross_certificate,
        body=ReasonIn,
        body_required=False,
        answers={204: None},
        problems=_REFUSED,
        **_CHANGED,
    ),
    endpoint(
        "GET",
        "trust-history",
        "listTrustChanges",
        "List changes of trust",
        handler=history,
        query=TrustHistoryQuery,
        answers={200: TrustChangeOut},
        listed=True,
    ),
)
