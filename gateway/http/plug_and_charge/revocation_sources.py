"""Where revocation is asked for, and lists handed in by hand.

Owns: the wire form of the allow-list and of CRL uploads. Must not know certificates: a list counts only once
pnc has verified that its authority signed it.
"""

import base64
import binascii
import re
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.endpoint import Answer, Call
from gateway.http.idempotency import KeyRule
from gateway.http.plug_and_charge.contracts import Pem, endpoint, service_of
from gateway.http.plug_and_charge.trust import (
    ReasonIn,
    SourceKind,
    SourceUrl,
    TrustQuery,
    change_of,
    environment_of,
    listed,
)
from gateway.http.problems import FieldError, ProblemError
from pnc import trust_desk
from pnc.findings import Refusal

_CREATED: Final = 201
_ARMOR: Final = re.compile(r"\s*-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]*)-----END X509 CRL-----\s*")


class AuthoritySourceIn(ReasonIn):
    """An origin that may be asked about certificates of an authority, or of all below a root."""

    authority: Pem
    kind: SourceKind
    url: SourceUrl


class RevocationListIn(ReasonIn):
    """A CRL, in PEM or base64 of its DER, and the authority that issued it."""

    authority: Pem
    crl: Annotated[str, Field(min_length=64, max_length=1_000_000)]


class RevocationSourceOut(objects.PublicObject):
    """An origin on the allow-list. `authority` names the authority's key and name by a hash of ours."""

    object: Literal["revocation_source"] = "revocation_source"
    authority: str | None = None
    environment: str
    kind: str
    origin: str


class RevocationListOut(objects.PublicObject):
    """A CRL that was verified and counts from now on."""

    object: Literal["revocation_list"] = "revocation_list"
    kept: bool = True


async def allow_source(call: Call) -> Answer:
    """Put an origin on an authority's allow-list; allowing what is allowed changes nothing."""
    body: AuthoritySourceIn = call.body
    environment = environment_of(call, body.environment)
    async with transaction(call.services.pool) as connection:
        origin = await trust_desk.allow_endpoint(
            connection,
            environment=environment,
            authority=body.authority,
            kind=body.kind,
            url=body.url,
            change=change_of(call, body.reason),
        )
    shown = RevocationSourceOut(environment=environment, kind=body.kind, origin=origin)
    return Answer(body=shown, status=_CREATED)


async def remove_source(call: Call) -> Answer:
    """Take an origin off an authority's allow-list."""
    body: AuthoritySourceIn = call.body
    async with transaction(call.services.pool) as connection:
        await trust_desk.remove_endpoint(
            connection,
            environment=environment_of(call, body.environment),
            authority=body.authority,
            kind=body.kind,
            url=body.url,
            change=change_of(call, body.reason),
        )
    return Answer(body=None, status=204)


async def list_sources(call: Call) -> Answer:
    """The allow-list of an environment."""
    environment = environment_of(call, call.query.environment)
    found = await trust_desk.endpoints(call.services.pool, environment=environment)
    return listed(RevocationSourceOut(environment=environment, **row) for row in found)


async def upload_list(call: Call) -> Answer:
    """Keep a CRL that its authority signed; certificates on it are refused from now on, in every process."""
    body: RevocationListIn = call.body
    issuer = trust_desk.read_one(body.authority)
    refusal = await service_of(call).inquiry.keep_crl(
        call.services.pool, _crl_bytes(body.crl), issuer=issuer, now=call.services.now()
    )
    if isinstance(refusal, Refusal):
        raise _unfit("/crl", f"{refusal.finding.value}: {refusal.detail}")
    return Answer(body=RevocationListOut(), status=_CREATED)


def _crl_bytes(text: str) -> bytes:
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
_REFUSED: Final = (problems.NOT_FOUND, problems.STATE_CONFLICT)
ENDPOINTS: Final = (
    endpoint(
        "POST",
        "revocation-sources",
        "allowRevocationSource",
        "Allow a source of revocation status",
        handler=allow_source,
        body=AuthoritySourceIn,
        answers={201: RevocationSourceOut},
        **_CHANGED,
    ),
    endpoint(
        "GET",
        "revocation-sources",
        "listRevocationSources",
        "List allowed sources",
        handler=list_sources,
        query=TrustQuery,
        answers={200: RevocationSourceOut},
        listed=True,
    ),
    endpoint(
        "POST",
        "revocation-sources/remove",
        "removeRevocationSource",
        "Ask a source no longer",
        handler=remove_source,
        body=AuthoritySourceIn,
        answers={204: None},
        problems=_REFUSED,
        **_CHANGED,
    ),
    endpoint(
        "POST",
        "revocation-lists",
        "uploadRevocationList",
        "Hand in a CRL",
        handler=upload_list,
        body=RevocationListIn,
        large_body=True,
        answers={201: RevocationListOut},
        **_CHANGED,
    ),
)
