"""Where revocation status is requested, and CRLs uploaded by an administrator.

Owns: the wire form of the allow-list and of CRL uploads. Must not know certificates: a list counts only once
pnc has verified that its authority signed it.
"""

import base64
import binascii
import re
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiRequest, ApiResponse, whole
from gateway.api.idempotency import KeyRule
from gateway.api.plug_and_charge.contracts import Pem, endpoint, service_of
from gateway.api.plug_and_charge.trust import (
    ReasonBody,
    SourceKind,
    SourceUrl,
    TrustQuery,
    change_of,
    environment_of,
)
from gateway.api.problems import FieldError, ProblemError
from gateway.plug_and_charge.trust_service import RevocationOrigin
from gateway.schemas import api_schemas
from pnc import trust_administration
from pnc.rejection_reasons import ContractRejection
from pnc.revocation_refresh import MOST_CHAINS, refresh_now

_CREATED: Final = 201
_ARMOR: Final = re.compile(r"\s*-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]*)-----END X509 CRL-----\s*")


class AuthoritySourceBody(ReasonBody):
    """An origin that serves the status of certificates of an authority, or of all below a root."""

    authority: Pem
    kind: SourceKind
    url: SourceUrl


class RevocationListBody(ReasonBody):
    """A CRL, in PEM or base64 of its DER, and the authority that issued it."""

    authority: Pem
    crl: Annotated[str, Field(min_length=64, max_length=1_000_000)]


class RevocationSourceSchema(api_schemas.PublicSchema):
    """An origin on the allow-list. `authority` is a hash of the authority's key and name."""

    object: Literal["revocation_source"] = "revocation_source"
    authority: str | None = None
    environment: str
    kind: str
    origin: str


class RevocationListSchema(api_schemas.PublicSchema):
    """A CRL that was verified and applies from now on."""

    object: Literal["revocation_list"] = "revocation_list"
    kept: bool = True


class RevocationRefreshSchema(api_schemas.PublicSchema):
    """What came of asking the sources of revocation status."""

    object: Literal["revocation_refresh"] = "revocation_refresh"
    environment: str
    chains: int = Field(description=f"how many certificates were checked, {MOST_CHAINS} at most")
    failed: int = Field(description="of how many no source answered for one of them")
    unproved: int = Field(description="valid certificates that still have no status that counts")


async def allow_source(call: ApiRequest) -> ApiResponse:
    """Put an origin on an authority's allow-list; allowing what is allowed changes nothing."""
    body: AuthoritySourceBody = call.body
    environment = environment_of(call, body.environment)
    origin = await call.services.trust.allow_source(
        body.authority,
        RevocationOrigin(kind=body.kind, url=body.url),
        environment=environment,
        change=change_of(call, body.reason),
    )
    shown = RevocationSourceSchema(environment=environment, kind=body.kind, origin=origin)
    return ApiResponse(body=shown, status=_CREATED)


async def remove_source(call: ApiRequest) -> ApiResponse:
    """Take an origin off an authority's allow-list."""
    body: AuthoritySourceBody = call.body
    await call.services.trust.remove_source(
        body.authority,
        RevocationOrigin(kind=body.kind, url=body.url),
        environment=environment_of(call, body.environment),
        change=change_of(call, body.reason),
    )
    return ApiResponse(body=None, status=204)


async def list_sources(call: ApiRequest) -> ApiResponse:
    """The allow-list of an environment."""
    environment = environment_of(call, call.query.environment)
    found = await trust_administration.list_endpoints(call.services.pool, environment=environment)
    return ApiResponse(body=whole(RevocationSourceSchema(environment=environment, **row) for row in found))


async def upload_list(call: ApiRequest) -> ApiResponse:
    """Store a CRL that its authority signed.

    Certificates on it are rejected from now on, in every process.
    """
    body: RevocationListBody = call.body
    issuer = trust_administration.read_one(body.authority)
    rejection = await call.services.trust.store_revocation_list(
        service_of(call).revocation_checker, crl_bytes(body.crl), issuer=issuer, now=call.services.now()
    )
    if isinstance(rejection, ContractRejection):
        raise _unfit("/crl", f"{rejection.rejection_reason.value}: {rejection.detail}")
    return ApiResponse(body=RevocationListSchema(), status=_CREATED)


async def refresh(call: ApiRequest) -> ApiResponse:
    """Ask now for the statuses that are missing, over or end soon; those that count longer stay."""
    environment = call.services.options.environment
    found = await refresh_now(
        service_of(call), call.services.pool, environment=environment, now=call.services.now()
    )
    return ApiResponse(
        body=RevocationRefreshSchema(
            environment=environment, chains=found.chains, failed=found.failed, unproved=found.unproved
        )
    )


def crl_bytes(text: str) -> bytes:
    """The DER of a CRL in PEM or base64. Raises ProblemError."""
    armored = _ARMOR.fullmatch(text)
    body = "".join((armored[1] if armored else text).split())
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise _unfit("/crl", "PEM of an X509 CRL, or base64 of its DER") from None


def _unfit(place: str, expected: str) -> ProblemError:
    return ProblemError(
        problems.INVALID_PARAMETERS,
        f"{place}: {expected}.",
        errors=[FieldError(pointer=place, expected=expected)],
    )


_CHANGED: Final[dict[str, Any]] = {"key_rule": KeyRule.OPTIONAL}
_REJECTED: Final = (problems.NOT_FOUND, problems.STATE_CONFLICT)
ENDPOINTS: Final = (
    endpoint(
        "POST",
        "revocation-sources",
        "allowRevocationSource",
        "Allow a revocation source",
        handler=allow_source,
        body=AuthoritySourceBody,
        answers={201: RevocationSourceSchema},
        **_CHANGED,
    ),
    endpoint(
        "GET",
        "revocation-sources",
        "listRevocationSources",
        "List revocation sources",
        handler=list_sources,
        query=TrustQuery,
        answers={200: RevocationSourceSchema},
        listed=True,
    ),
    endpoint(
        "POST",
        "revocation-sources/remove",
        "removeRevocationSource",
        "Remove a revocation source",
        handler=remove_source,
        body=AuthoritySourceBody,
        answers={204: None},
        problems=_REJECTED,
        **_CHANGED,
    ),
    endpoint(
        "POST",
        "revocation-lists",
        "uploadRevocationList",
        "Upload a CRL",
        handler=upload_list,
        body=RevocationListBody,
        large_body=True,
        answers={201: RevocationListSchema},
        **_CHANGED,
    ),
    endpoint(
        "POST",
        "revocation-refreshes",
        "refreshRevocationStatus",
        "Refresh revocation status",
        handler=refresh,
        description=f"Asks the sources of up to {MOST_CHAINS} certificates; repeat while `unproved` falls. "
        "A job does the same each minute for statuses that end soon.",
        answers={200: RevocationRefreshSchema},
        **_CHANGED,
    ),
)
