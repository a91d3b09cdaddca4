"""The trust desk: roots, cross certificates and allow-lists, changed on the record.

Owns those changes and their history. Must not know HTTP or who may call: the caller is authenticated, and
named in `actor`. A change raises the environment's version, so every process sees it with its next decision:
new authorizations stop at once, sessions that were accepted settle as they would have.

Each call is one transaction on the connection handed in, or takes part in the one it has open.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pnc.certificate import (
    Certificate,
    decode_block,
    load_public_key,
    parse_certificate,
    signed_by,
    split_bundle,
)
from pnc.errors import (
    ConflictingRecordError,
    MalformedCertificateError,
    UnfitAuthorityError,
    UnknownRecordError,
)
from pnc.inquiry import authority_id, origin_of
from pnc.ports import Connection, Executor
from pnc.profile import ProfileRules, anchor_refusal, authority_refusal
from pnc.store import load_queries
from pnc.trust import AnchorPurpose, RevocationPolicy

_SQL: Any = load_queries("trust")
# A cross certificate is vetted by hand; a path length is the issuing root's choice.
_CROSS_RULES: Final = ProfileRules(require_path_length=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who changes trust, why and when. `reason` is kept for ever."""

    actor: str
    reason: str
    now: datetime


async def add_anchor(
    connection: Connection, *, environment: str, certificate: str, purpose: AnchorPurpose,
    policy: RevocationPolicy, policy_reason: str, change: Change,
) -> str:  # fmt: skip
    """Trust a root, given in PEM (or base64 DER); returns its SHA-256 in hex. A retired one is trusted again.

    Raises:
        UnfitAuthorityError: not one certificate, not a self-issued authority of the editions of ISO 15118
            signed by its own key, expired, or a soft policy without a reason.
        ConflictingRecordError: it is trusted already.
    """
    root = read_one(certificate)
    refusal = anchor_refusal(root)
    if refusal is not None:
        raise UnfitAuthorityError(f"certificate: {refusal.detail}")
    if not _self_signed(root):
        raise UnfitAuthorityError("certificate: the root is not signed by its own key")
    if change.now > root.not_after:
        raise UnfitAuthorityError(f"certificate: the root expired at {root.not_after.isoformat()}")
    _check_policy(policy, policy_reason)
    async with connection.transaction():
        version = await _bump(connection, environment)
        row = await _SQL.add_anchor(
            connection,
            environment=environment,
            sha256=root.sha256,
            purpose=purpose.value,
            der=root.der,
            subject=root.parsed.subject.rfc4514_string(),
            not_before=root.not_before,
            not_after=root.not_after,
            policy=policy.value,
            policy_reason=policy_reason,
            added_at=change.now,
        )
        if row is None:
            raise ConflictingRecordError(f"the root {root.sha256.hex()} is trusted already")
        await _record(
            connection, environment=environment, version=version, kind="anchor_added", sha256=root.sha256,
            detail=f"{purpose.value}, {policy.value}", change=change,
        )  # fmt: skip
    return root.sha256.hex()


async def retire_anchor(connection: Connection, *, environment: str, sha256: str, change: Change) -> None:
    """Trust a root no longer. Raises UnknownRecordError when it is not trusted."""
    digest = _digest(sha256)
    async with connection.transaction():
        version = await _bump(connection, environment)
        row = await _SQL.retire_anchor(connection, environment=environment, sha256=digest, now=change.now)
        if row is None:
            raise UnknownRecordError(f"no trusted root {sha256} in {environment}")
        await _record(
            connection, environment=environment, version=version, kind="anchor_retired", sha256=digest,
            detail="", change=change,
        )  # fmt: skip


async def set_policy(
    connection: Connection, *, environment: str, sha256: str, policy: RevocationPolicy, policy_reason: str,
    change: Change,
) -> None:  # fmt: skip
    """Change what an unreachable revocation source means under a root; a soft policy states its reason.

    Raises:
        UnknownRecordError: the root is not trusted.
        UnfitAuthorityError: a soft policy without a reason.
    """
    _check_policy(policy, policy_reason)
    digest = _digest(sha256)
    async with connection.transaction():
        version = await _bump(connection, environment)
        row = await _SQL.set_policy(
            connection,
            environment=environment,
            sha256=digest,
            policy=policy.value,
            policy_reason=policy_reason,
        )
        if row is None:
            raise UnknownRecordError(f"no trusted root {sha256} in {environment}")
        await _record(
            connection, environment=environment, version=version, kind="policy_changed", sha256=digest,
            detail=policy.value, change=change,
        )  # fmt: skip


async def add_cross_certificate(
    connection: Connection, *, environment: str, certificate: str, change: Change
) -> str:
    """Keep a cross certificate, by which one root vouches for another; returns its SHA-256 in hex.

    Raises:
        UnfitAuthorityError: not one certificate, or not an authority's that another one issued.
        ConflictingRecordError: it is kept already.
    """
    bridge = read_one(certificate)
    if bridge.self_issued:
        raise UnfitAuthorityError("certificate: self-issued; a root is added as an anchor")
    refusal = authority_refusal(bridge, _CROSS_RULES)
    if refusal is not None:
        raise UnfitAuthorityError(f"certificate: {refusal.detail}")
    async with connection.transaction():
        version = await _bump(connection, environment)
        row = await _SQL.add_cross_certificate(
            connection,
            environment=environment,
            sha256=bridge.sha256,
            der=bridge.der,
            subject=bridge.parsed.subject.rfc4514_string(),
            issuer=bridge.parsed.issuer.rfc4514_string(),
            added_at=change.now,
        )
        if row is None:
            raise ConflictingRecordError(f"the cross certificate {bridge.sha256.hex()} is kept already")
        await _record(
            connection, environment=environment, version=version, kind="cross_certificate_added",
            sha256=bridge.sha256, detail="", change=change,
        )  # fmt: skip
    return bridge.sha256.hex()


async def retire_cross_certificate(
    connection: Connection, *, environment: str, sha256: str, change: Change
) -> None:
    """Use a cross certificate no longer. Raises UnknownRecordError when it is not kept."""
    digest = _digest(sha256)
    async with connection.transaction():
        version = await _bump(connection, environment)
        row = await _SQL.retire_cross_certificate(
            connection, environment=environment, sha256=digest, now=change.now
        )
        if row is None:
            raise UnknownRecordError(f"no cross certificate {sha256} in {environment}")
        await _record(
            connection, environment=environment, version=version, kind="cross_certificate_retired",
            sha256=digest, detail="", change=change,
        )  # fmt: skip


async def allow_endpoint(
    connection: Connection, *, environment: str, authority: str, kind: str, url: str, change: Change
) -> str:
    """Allow an origin to be asked about certificates of an authority or below an anchor; returns the origin.

    `authority` is the authority's certificate in PEM; `kind` is `ocsp` or `crl`; of `url` only scheme, host
    and port count. Allowing what is allowed changes nothing.

    Raises:
        UnfitAuthorityError: not one authority's certificate, another kind, or an address that may never be
            asked.
    """
    certificate = read_one(authority)
    if not certificate.extensions.is_authority:
        raise UnfitAuthorityError("authority: the certificate is not an authority's")
    origin = origin_of(url)
    if origin is None or kind not in {"ocsp", "crl"}:
        raise UnfitAuthorityError("url: expected http or https, a host, no user; kind: ocsp or crl")
    name = authority_id(certificate)
    async with connection.transaction():
        version = await _bump(connection, environment)
        row = await _SQL.allow_endpoint(
            connection, environment=environment, authority_sha256=name, kind=kind, origin=origin
        )
        if row is not None:
            await _record(
                connection, environment=environment, version=version, kind="endpoint_allowed", sha256=name,
                detail=f"{kind} {origin}", change=change,
            )  # fmt: skip
    return origin


async def remove_endpoint(
    connection: Connection, *, environment: str, authority: str, kind: str, url: str, change: Change
) -> None:
    """Take an origin off the allow-list. Raises UnknownRecordError when it is not on it."""
    name = authority_id(read_one(authority))
    origin = origin_of(url)
    async with connection.transaction():
        version = await _bump(connection, environment)
        row = await _SQL.remove_endpoint(
            connection, environment=environment, authority_sha256=name, kind=kind, origin=origin
        )
        if row is None:
            raise UnknownRecordError(f"{origin} is not allowed for {kind} of that authority")
        await _record(
            connection, environment=environment, version=version, kind="endpoint_removed", sha256=name,
            detail=f"{kind} {origin}", change=change,
        )  # fmt: skip


async def anchors(
    executor: Executor, *, environment: str, with_retired: bool = False
) -> list[dict[str, Any]]:
    """The roots of an environment, oldest first, as plain values; hashes in hex, without the DER."""
    rows = _SQL.load_anchors(executor, environment=environment, with_retired=with_retired)
    return [_shown(row) async for row in rows]


async def cross_certificates(
    executor: Executor, *, environment: str, with_retired: bool = False
) -> list[dict[str, Any]]:
    """The cross certificates of an environment, oldest first, as plain values."""
    rows = _SQL.load_cross_certificates(executor, environment=environment, with_retired=with_retired)
    return [_shown(row) async for row in rows]


async def endpoints(executor: Executor, *, environment: str) -> list[dict[str, Any]]:
    """The allow-list of an environment: authority (hash in hex), kind, origin."""
    rows = _SQL.load_endpoints(executor, environment=environment)
    return [
        {"authority": row["authority_sha256"].hex(), "kind": row["kind"], "origin": row["origin"]}
        async for row in rows
    ]


async def history(
    executor: Executor, *, environment: str, after: int = 0, limit: int = 100
) -> list[dict[str, Any]]:
    """The changes of trust after a version, oldest first."""
    rows = _SQL.trust_history(executor, environment=environment, after=after, limit=limit)
    return [_shown(row) async for row in rows]


def read_one(text: str) -> Certificate:
    """Read exactly one certificate from PEM or base64 DER. Raises UnfitAuthorityError."""
    try:
        blocks = split_bundle(text) if "-----" in text else (decode_block(text),)
        certificate = parse_certificate(blocks[0])
        # Names are shown to people: both must be readable.
        certificate.parsed.issuer.rfc4514_string()
        certificate.parsed.subject.rfc4514_string()
    except (MalformedCertificateError, ValueError) as problem:
        raise UnfitAuthorityError(str(problem)) from None
    if len(blocks) != 1:
        raise UnfitAuthorityError(f"certificate: {len(blocks)} certificates; expected one")
    return certificate


def _self_signed(root: Certificate) -> bool:
    return signed_by(root, load_public_key(root), root.key)


def _check_policy(policy: RevocationPolicy, reason: str) -> None:
    if policy is RevocationPolicy.SOFT and not reason.strip():
        raise UnfitAuthorityError("policy_reason: a soft revocation policy states its reason")


async def _bump(connection: Connection, environment: str) -> int:
    """Raise the version; the row's lock makes changes of one environment follow each other."""
    await _SQL.ensure_environment(connection, environment=environment)
    return int(await _SQL.bump_version(connection, environment=environment))


async def _record(
    connection: Connection, *, environment: str, version: int, kind: str, sha256: bytes, detail: str,
    change: Change,
) -> None:  # fmt: skip
    await _SQL.insert_trust_event(
        connection, environment=environment, version=version, kind=kind, sha256=sha256, detail=detail,
        actor=change.actor, reason=change.reason, at=change.now,
    )  # fmt: skip


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UnknownRecordError(f"{text!r} is not a SHA-256 in hexadecimal") from None


def _shown(row: Any) -> dict[str, Any]:
    values = {name: value for name, value in dict(row).items() if name != "der"}
    values["sha256"] = values["sha256"].hex()
    return values
