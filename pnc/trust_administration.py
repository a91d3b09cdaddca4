"""Trust administration: roots, cross certificates and the allow-list, changed on the record.

Owns those changes and their history. Must not know HTTP or who may call: the caller is authenticated, and
named in the `change`. A change raises the environment's version, so every process applies it with its next
decision: new authorizations stop at once, sessions that were accepted are settled as before.

Each call is one transaction on the given connection, or takes part in the one that is open.
"""

from collections.abc import Coroutine
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pnc.certificate import Certificate, load_public_key, signed_by
from pnc.certificate_input import read_certificates
from pnc.distinguished_name import name_text
from pnc.errors import (
    ConflictingRecordError,
    MalformedCertificateError,
    UnfitAuthorityError,
    UnknownRecordError,
)
from pnc.ports import Connection, Executor
from pnc.profile import ProfileRules, anchor_rejection, authority_rejection
from pnc.repository import trust as repository
from pnc.revocation_endpoints import authority_id, origin_of
from pnc.trust import AnchorPurpose, RevocationPolicy, TrustAnchor, TrustChange, TrustedRoot

# A cross certificate is checked by a person; a path length is the issuing root's choice.
_CROSS_RULES: Final = ProfileRules(require_path_length=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedChange:
    """A line of the history of trust."""

    kind: str
    sha256: bytes
    detail: str
    change: TrustChange


async def change_existing(
    connection: Connection,
    write: Coroutine[Any, Any, bool],
    *,
    environment: str,
    missing: str,
    recorded: RecordedChange,
) -> None:
    """Change or remove what is there, on the record and under a new version, in one transaction.

    `write` is the statement; it returns False where there is nothing to change.

    Raises UnknownRecordError, with the text `missing`, where there is nothing to change.
    """
    with closing(write):
        async with connection.transaction():
            version = await repository.raise_version(connection, environment=environment)
            if not await write:
                raise UnknownRecordError(missing)
            await repository.record_change(
                connection,
                environment=environment,
                version=version,
                kind=recorded.kind,
                sha256=recorded.sha256,
                detail=recorded.detail,
                change=recorded.change,
            )


async def add_anchor(
    connection: Connection,
    *,
    environment: str,
    certificate: str,
    purpose: AnchorPurpose,
    policy: RevocationPolicy,
    policy_reason: str,
    change: TrustChange,
) -> str:
    """Trust a root, given in PEM (or base64 DER); returns its SHA-256 in hex. A retired one is trusted again.

    Raises:
        UnfitAuthorityError: not one certificate, not a self-issued authority of the editions of ISO 15118
            signed by its own key, expired, or a soft policy without a reason.
        ConflictingRecordError: it is trusted already.
    """
    root = read_one(certificate)
    check_root(root, change.now)
    check_policy(policy, policy_reason)
    anchor = TrustAnchor(certificate=root, purpose=purpose, policy=policy, policy_reason=policy_reason)
    async with connection.transaction():
        version = await repository.raise_version(connection, environment=environment)
        if not await repository.add_anchor(connection, anchor, environment=environment, now=change.now):
            raise ConflictingRecordError(f"the root {root.sha256.hex()} is trusted already")
        await repository.record_change(
            connection,
            environment=environment,
            version=version,
            kind="anchor_added",
            sha256=root.sha256,
            detail=f"{purpose.value}, {policy.value}",
            change=change,
        )
    return root.sha256.hex()


async def retire_anchor(
    connection: Connection, *, environment: str, sha256: str, change: TrustChange
) -> None:
    """Retire a root: no new chain may lead to it. Raises UnknownRecordError when it is not trusted."""
    digest = sha256_of(sha256)
    await change_existing(
        connection,
        repository.retire_anchor(connection, environment=environment, sha256=digest, now=change.now),
        environment=environment,
        missing=f"no trusted root {sha256} in {environment}",
        recorded=RecordedChange(kind="anchor_retired", sha256=digest, detail="", change=change),
    )


async def set_policy(
    connection: Connection,
    *,
    environment: str,
    sha256: str,
    policy: RevocationPolicy,
    policy_reason: str,
    change: TrustChange,
) -> None:
    """Change what an unreachable revocation source means under a root; a soft policy states its reason.

    Raises:
        UnknownRecordError: the root is not trusted.
        UnfitAuthorityError: a soft policy without a reason.
    """
    check_policy(policy, policy_reason)
    digest = sha256_of(sha256)
    await change_existing(
        connection,
        repository.set_policy(
            connection, environment=environment, sha256=digest, policy=policy, policy_reason=policy_reason
        ),
        environment=environment,
        missing=f"no trusted root {sha256} in {environment}",
        recorded=RecordedChange(kind="policy_changed", sha256=digest, detail=policy.value, change=change),
    )


async def add_cross_certificate(
    connection: Connection, *, environment: str, certificate: str, change: TrustChange
) -> str:
    """Use a cross certificate, by which one root vouches for another; returns its SHA-256 in hex.

    Raises:
        UnfitAuthorityError: not one certificate, or not an authority's that another one issued.
        ConflictingRecordError: it is in use already.
    """
    cross = read_one(certificate)
    check_cross_certificate(cross)
    async with connection.transaction():
        version = await repository.raise_version(connection, environment=environment)
        if not await repository.add_cross_certificate(
            connection, cross, environment=environment, now=change.now
        ):
            raise ConflictingRecordError(f"the cross certificate {cross.sha256.hex()} is in use already")
        await repository.record_change(
            connection,
            environment=environment,
            version=version,
            kind="cross_certificate_added",
            sha256=cross.sha256,
            detail="",
            change=change,
        )
    return cross.sha256.hex()


async def retire_cross_certificate(
    connection: Connection, *, environment: str, sha256: str, change: TrustChange
) -> None:
    """Retire a cross certificate. Raises UnknownRecordError when it is not in use."""
    digest = sha256_of(sha256)
    await change_existing(
        connection,
        repository.retire_cross_certificate(
            connection, environment=environment, sha256=digest, now=change.now
        ),
        environment=environment,
        missing=f"no cross certificate {sha256} in {environment}",
        recorded=RecordedChange(kind="cross_certificate_retired", sha256=digest, detail="", change=change),
    )


async def allow_endpoint(
    connection: Connection, *, environment: str, authority: str, kind: str, url: str, change: TrustChange
) -> str:
    """Allow requests to an origin about certificates of an authority or below an anchor; returns the origin.

    `authority` is the authority's certificate in PEM; `kind` is `ocsp` or `crl`; of `url` only scheme, host
    and port count. Allowing what is allowed changes nothing.

    Raises:
        UnfitAuthorityError: not one authority's certificate, another kind, or an address that may never be
            requested.
    """
    certificate = read_one(authority)
    if not certificate.extensions.is_authority:
        raise UnfitAuthorityError("authority: the certificate is not an authority's")
    origin = origin_of(url)
    if origin is None or kind not in {"ocsp", "crl"}:
        raise UnfitAuthorityError("url: expected http or https, a host, no user; kind: ocsp or crl")
    name = authority_id(certificate)
    async with connection.transaction():
        version = await repository.raise_version(connection, environment=environment)
        added = await repository.allow_endpoint(
            connection, environment=environment, authority=name, kind=kind, origin=origin
        )
        if added:
            await repository.record_change(
                connection,
                environment=environment,
                version=version,
                kind="endpoint_allowed",
                sha256=name,
                detail=f"{kind} {origin}",
                change=change,
            )
    return origin


async def remove_endpoint(
    connection: Connection, *, environment: str, authority: str, kind: str, url: str, change: TrustChange
) -> None:
    """Take an origin off the allow-list. Raises UnknownRecordError when it is not on it."""
    name = authority_id(read_one(authority))
    origin = origin_of(url)
    await change_existing(
        connection,
        repository.remove_endpoint(
            connection, environment=environment, authority=name, kind=kind, origin=origin
        ),
        environment=environment,
        missing=f"{origin} is not allowed for {kind} of that authority",
        recorded=RecordedChange(
            kind="endpoint_removed", sha256=name, detail=f"{kind} {origin}", change=change
        ),
    )


async def list_anchors(
    executor: Executor, *, environment: str, with_retired: bool = False
) -> list[dict[str, Any]]:
    """The roots of an environment, oldest first, as plain values; hashes in hex, without the DER."""
    return await repository.list_anchors(executor, environment=environment, with_retired=with_retired)


async def list_cross_certificates(
    executor: Executor, *, environment: str, with_retired: bool = False
) -> list[dict[str, Any]]:
    """The cross certificates of an environment, oldest first, as plain values."""
    return await repository.list_cross_certificates(
        executor, environment=environment, with_retired=with_retired
    )


async def list_endpoints(executor: Executor, *, environment: str) -> list[dict[str, Any]]:
    """The allow-list of an environment: authority (hash in hex), kind, origin."""
    return await repository.list_endpoints(executor, environment=environment)


async def list_roots(executor: Executor, *, environment: str) -> list[TrustedRoot]:
    """The roots that are trusted now, oldest first, with their certificates."""
    return await repository.list_roots(executor, environment=environment)


async def load_history(
    executor: Executor,
    *,
    environment: str,
    after: int = 0,
    limit: int = 100,
    kinds: tuple[str, ...] | None = None,
) -> list[dict[str, Any]]:
    """The changes of trust after a version, oldest first; only of these kinds when given."""
    return await repository.list_changes(
        executor, environment=environment, after=after, limit=limit, kinds=kinds
    )


def read_one(text: str) -> Certificate:
    """Read exactly one certificate, in any form that people hand in. Raises UnfitAuthorityError."""
    try:
        found = read_certificates(text)
        # Names are shown to people: both must be readable.
        for certificate in found:
            name_text(certificate.issuer)
            name_text(certificate.subject)
    except MalformedCertificateError as problem:
        raise UnfitAuthorityError(str(problem)) from None
    if len(found) != 1:
        raise UnfitAuthorityError(f"certificate: {len(found)} certificates; expected one")
    return found[0]


def check_root(root: Certificate, now: datetime) -> None:
    """Check that a certificate may be an anchor at `now`. Raises UnfitAuthorityError."""
    rejection = anchor_rejection(root)
    if rejection is not None:
        raise UnfitAuthorityError(f"certificate: {rejection.detail}")
    if not signed_by(root, load_public_key(root), root.key):
        raise UnfitAuthorityError("certificate: the root is not signed by its own key")
    if now > root.not_after:
        raise UnfitAuthorityError(f"certificate: the root expired at {root.not_after.isoformat()}")


def check_cross_certificate(cross: Certificate) -> None:
    """Check that a certificate is one that an authority issued for another. Raises UnfitAuthorityError."""
    if cross.self_issued:
        raise UnfitAuthorityError("certificate: self-issued; a root is added as an anchor")
    rejection = authority_rejection(cross, _CROSS_RULES)
    if rejection is not None:
        raise UnfitAuthorityError(f"certificate: {rejection.detail}")


def check_policy(policy: RevocationPolicy, reason: str) -> None:
    """Check that a soft policy states its reason. Raises UnfitAuthorityError."""
    if policy is RevocationPolicy.SOFT and not reason.strip():
        raise UnfitAuthorityError("policy_reason: a soft revocation policy states its reason")


def sha256_of(text: str) -> bytes:
    """Read a hash in hexadecimal. Raises UnknownRecordError: it names nothing."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UnknownRecordError(f"{text!r} is not a SHA-256 in hexadecimal") from None
