"""Client certificates of a party: bound, listed, retired.

Owns: the paths. Must not know TLS. While a party has a certificate in force, a stolen API key of its is worth
nothing without that certificate's key.
"""

import hashlib
from typing import Annotated, Final, Literal

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field

from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.models import fingerprint
from gateway.http.problems import FieldError, ProblemError
from gateway.store import client_certificates
from gateway.store.client_certificates import ClientCertificate

_CREATED: Final = 201
_NO_CONTENT: Final = 204


class ClientCertificateIn(WireModel):
    """A certificate that the party's connections prove."""

    pem: Annotated[str, Field(min_length=64, max_length=32_768)]


class ClientCertificateOut(objects.PublicObject):
    """A certificate bound to a party."""

    object: Literal["client_certificate"] = "client_certificate"
    sha256: str
    party: str
    subject: str
    not_after: objects.Instant
    added: objects.Instant
    retired: objects.Instant | None


async def bind(call: Call) -> Answer:
    """Bind a certificate: from now on the party's keys need one of its certificates."""
    parsed = _parsed(call.body.pem)
    now = call.services.clock.wall_now()
    if parsed.not_valid_after_utc <= now:
        raise _unfit("a certificate that has not expired")
    wanted = ClientCertificate(
        sha256=hashlib.sha256(parsed.public_bytes(Encoding.DER)).digest(),
        party_id=call.path["id"],
        subject=_subject(parsed),
        not_after=parsed.not_valid_after_utc,
        added_at=now,
    )
    try:
        async with call.services.pool.acquire() as connection:
            kept = await client_certificates.add(connection, wanted)
    except asyncpg.ForeignKeyViolationError:
        raise ProblemError(problems.NOT_FOUND, f"There is no party {wanted.party_id}.") from None
    if kept is None:
        raise ProblemError(problems.STATE_CONFLICT, "This certificate is bound to another party.")
    return Answer(body=_shown(kept), status=_CREATED)


async def list_all(call: Call) -> Answer:
    """A party's certificates, oldest first, retired ones too."""
    async with call.services.pool.acquire() as connection:
        found = await client_certificates.list_of(connection, party_id=call.path["id"])
    shown = [_shown(certificate) for certificate in found]
    return Answer(body={"object": "list", "data": shown, "has_more": False, "next_cursor": None})


async def retire(call: Call) -> Answer:
    """End a binding. After the last one, the party's keys work alone again."""
    async with call.services.pool.acquire() as connection:
        done = await client_certificates.retire(
            connection,
            party_id=call.path["id"],
            sha256=fingerprint(call.path["sha256"]),
            now=call.services.clock.wall_now(),
        )
    if not done:
        raise ProblemError(problems.NOT_FOUND, "The party has no such certificate in force.")
    return Answer(body=None, status=_NO_CONTENT)


def _parsed(text: str) -> x509.Certificate:
    try:
        (only,) = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise _unfit("one certificate in PEM") from None
    return only


def _subject(parsed: x509.Certificate) -> str:
    try:
        return parsed.subject.rfc4514_string()[:500].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    except ValueError:
        raise _unfit("a certificate whose subject can be read") from None


def _unfit(expected: str) -> ProblemError:
    return ProblemError(
        problems.INVALID_PARAMETERS,
        f"/pem: {expected}.",
        errors=[FieldError(pointer="/pem", expected=expected)],
    )


def _shown(certificate: ClientCertificate) -> ClientCertificateOut:
    return ClientCertificateOut(
        sha256=certificate.sha256.hex(),
        party=certificate.party_id,
        subject=certificate.subject,
        not_after=certificate.not_after,
        added=certificate.added_at,
        retired=certificate.retired_at,
    )


_PATH: Final = "/v1/parties/{id}/client-certificates"
ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path=_PATH,
        operation="bindClientCertificate",
        summary="Bind a client certificate to a party",
        description="While a party has one in force, its API keys work only where a connection proves one.",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=bind,
        body=ClientCertificateIn,
        answers={201: ClientCertificateOut},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    Endpoint(
        method="GET",
        path=_PATH,
        operation="listClientCertificates",
        summary="List a party's client certificates",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=list_all,
        answers={200: ClientCertificateOut},
        listed=True,
    ),
    Endpoint(
        method="DELETE",
        path=_PATH + "/{sha256}",
        operation="retireClientCertificate",
        summary="End the binding of a client certificate",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=retire,
        answers={204: None},
        problems=(problems.NOT_FOUND,),
    ),
)
