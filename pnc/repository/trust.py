"""Trust: roots, cross certificates, the allow-list, and the history of their changes.

Owns the SQL of trust and the reading of its rows. Must not know rules: it decides nothing and opens no
transaction; connections are passed in.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any, Final

from pnc.certificate import Certificate, parse_certificate
from pnc.distinguished_name import name_text
from pnc.ports import Connection, Executor
from pnc.repository.queries import fetch_all, load_queries
from pnc.revocation_endpoints import RevocationEndpoints
from pnc.trust import AnchorPurpose, RevocationPolicy, Trust, TrustAnchor, TrustChange, TrustedRoot, trust_of

_TRUST: Final = load_queries("trust")


async def load_trust(executor: Executor, *, environment: str) -> tuple[Trust, RevocationEndpoints]:
    """The anchors and cross certificates in force, and the allow-list.

    The version is read first: after a change in between, the snapshot is newer than its version, and the next
    reader loads it again.
    """
    version = await _TRUST.trust_version(executor, environment=environment)
    anchors = await fetch_all(_TRUST.load_anchors(executor, environment=environment, with_retired=False))
    cross_certificates = await fetch_all(
        _TRUST.load_cross_certificates(executor, environment=environment, with_retired=False)
    )
    endpoints = await fetch_all(_TRUST.load_endpoints(executor, environment=environment))
    named: defaultdict[bytes, set[bytes]] = defaultdict(set)
    for row in await fetch_all(_TRUST.load_contract_authorities(executor, environment=environment)):
        named[row["anchor_sha256"]].add(row["key_sha256"])
    trust = trust_of(
        version=version or 0,
        anchors=[_anchor_of(row, frozenset(named[row["sha256"]])) for row in anchors],
        cross_certificates=[_certificate_of(row) for row in cross_certificates],
    )
    allowed = frozenset((row["authority_sha256"], row["kind"], row["origin"]) for row in endpoints)
    return trust, RevocationEndpoints(allowed=allowed)


async def raise_version(connection: Connection, *, environment: str) -> int:
    """Raise the version of an environment's trust; the row's lock puts its changes in order."""
    await ensure_environment(connection, environment=environment)
    return int(await _TRUST.raise_version(connection, environment=environment))


async def ensure_environment(connection: Connection, *, environment: str) -> None:
    """Store an environment, unless it is known."""
    await _TRUST.ensure_environment(connection, environment=environment)


async def add_anchor(
    connection: Connection, anchor: TrustAnchor, *, environment: str, now: datetime, list_name: str = ""
) -> bool:
    """Trust a root, perhaps as one of a list; False when it is trusted already."""
    root = anchor.certificate
    row = await _TRUST.add_anchor(
        connection,
        environment=environment,
        sha256=root.sha256,
        purpose=anchor.purpose.value,
        der=root.der,
        subject=name_text(root.subject),
        not_before=root.not_before,
        not_after=root.not_after,
        policy=anchor.policy.value,
        policy_reason=anchor.policy_reason,
        added_at=now,
        list_name=list_name,
    )
    return row is not None


async def retire_anchor(connection: Connection, *, environment: str, sha256: bytes, now: datetime) -> bool:
    """Retire a root; False when it is not trusted."""
    row = await _TRUST.retire_anchor(connection, environment=environment, sha256=sha256, now=now)
    return row is not None


async def set_policy(
    connection: Connection, *, environment: str, sha256: bytes, policy: RevocationPolicy, policy_reason: str
) -> bool:
    """Change a root's revocation policy; False when the root is not trusted."""
    row = await _TRUST.set_policy(
        connection,
        environment=environment,
        sha256=sha256,
        policy=policy.value,
        policy_reason=policy_reason,
    )
    return row is not None


async def add_cross_certificate(
    connection: Connection, certificate: Certificate, *, environment: str, now: datetime
) -> bool:
    """Store a cross certificate; False when it is in use already."""
    row = await _TRUST.add_cross_certificate(
        connection,
        environment=environment,
        sha256=certificate.sha256,
        der=certificate.der,
        subject=name_text(certificate.subject),
        issuer=name_text(certificate.issuer),
        added_at=now,
    )
    return row is not None


async def retire_cross_certificate(
    connection: Connection, *, environment: str, sha256: bytes, now: datetime
) -> bool:
    """Retire a cross certificate; False when it is not in use."""
    row = await _TRUST.retire_cross_certificate(connection, environment=environment, sha256=sha256, now=now)
    return row is not None


async def anchor_in_force(connection: Connection, *, environment: str, sha256: bytes) -> bool:
    """Whether a root is trusted now."""
    return await _TRUST.anchor_in_force(connection, environment=environment, sha256=sha256) is not None


async def allow_contract_authority(
    connection: Connection, *, environment: str, anchor: bytes, key: bytes, subject: str, now: datetime
) -> bool:
    """Name an authority below a root that may issue contracts; False when it is named already."""
    row = await _TRUST.allow_contract_authority(
        connection,
        environment=environment,
        anchor_sha256=anchor,
        key_sha256=key,
        subject=subject,
        added_at=now,
    )
    return row is not None


async def remove_contract_authority(
    connection: Connection, *, environment: str, anchor: bytes, key: bytes
) -> bool:
    """Remove an authority's right to issue contracts below a root; False when it has none."""
    row = await _TRUST.remove_contract_authority(
        connection, environment=environment, anchor_sha256=anchor, key_sha256=key
    )
    return row is not None


async def list_contract_authorities(executor: Executor, *, environment: str) -> list[dict[str, Any]]:
    """The authorities named below each root: anchor and key (hashes in hex), subject, added_at."""
    rows = await fetch_all(_TRUST.load_contract_authorities(executor, environment=environment))
    return [
        {
            "anchor": row["anchor_sha256"].hex(),
            "key_sha256": row["key_sha256"].hex(),
            "subject": row["subject"],
            "added_at": row["added_at"],
        }
        for row in rows
    ]


async def allow_endpoint(
    connection: Connection, *, environment: str, authority: bytes, kind: str, origin: str
) -> bool:
    """Put an origin on the allow-list of an authority; False when it is on it already."""
    row = await _TRUST.allow_endpoint(
        connection, environment=environment, authority_sha256=authority, kind=kind, origin=origin
    )
    return row is not None


async def remove_endpoint(
    connection: Connection, *, environment: str, authority: bytes, kind: str, origin: str | None
) -> bool:
    """Take an origin off the allow-list of an authority; False when it is not on it."""
    row = await _TRUST.remove_endpoint(
        connection, environment=environment, authority_sha256=authority, kind=kind, origin=origin
    )
    return row is not None


async def record_change(
    connection: Connection,
    *,
    environment: str,
    version: int,
    kind: str,
    sha256: bytes,
    detail: str,
    change: TrustChange,
) -> None:
    """Record a change of trust."""
    await _TRUST.insert_trust_event(
        connection,
        environment=environment,
        version=version,
        kind=kind,
        sha256=sha256,
        detail=detail,
        actor=change.actor,
        reason=change.reason,
        at=change.now,
    )


async def list_anchors(executor: Executor, *, environment: str, with_retired: bool) -> list[dict[str, Any]]:
    """The roots of an environment, oldest first, as plain values."""
    rows = _TRUST.load_anchors(executor, environment=environment, with_retired=with_retired)
    return [_plain(row) for row in await fetch_all(rows)]


async def list_cross_certificates(
    executor: Executor, *, environment: str, with_retired: bool
) -> list[dict[str, Any]]:
    """The cross certificates of an environment, oldest first, as plain values."""
    rows = _TRUST.load_cross_certificates(executor, environment=environment, with_retired=with_retired)
    return [_plain(row) for row in await fetch_all(rows)]


async def list_endpoints(executor: Executor, *, environment: str) -> list[dict[str, Any]]:
    """The allow-list of an environment: authority (hash in hex), kind, origin."""
    rows = await fetch_all(_TRUST.load_endpoints(executor, environment=environment))
    return [
        {"authority": row["authority_sha256"].hex(), "kind": row["kind"], "origin": row["origin"]}
        for row in rows
    ]


async def list_roots(executor: Executor, *, environment: str) -> list[TrustedRoot]:
    """The roots that are trusted now, oldest first."""
    rows = _TRUST.load_anchors(executor, environment=environment, with_retired=False)
    return [
        TrustedRoot(
            certificate=_certificate_of(row),
            purpose=AnchorPurpose(row["purpose"]),
            subject=row["subject"],
            added_at=row["added_at"],
        )
        for row in await fetch_all(rows)
    ]


async def list_changes(
    executor: Executor, *, environment: str, after: int, limit: int, kinds: tuple[str, ...] | None
) -> list[dict[str, Any]]:
    """The changes of trust after a version, oldest first, as plain values; only of these kinds when given."""
    wanted = None if kinds is None else list(kinds)
    rows = _TRUST.trust_history(executor, environment=environment, after=after, limit=limit, kinds=wanted)
    return [_plain(row) for row in await fetch_all(rows)]


def _anchor_of(row: Any, contract_authorities: frozenset[bytes]) -> TrustAnchor:
    return TrustAnchor(
        certificate=_certificate_of(row),
        purpose=AnchorPurpose(row["purpose"]),
        policy=RevocationPolicy(row["policy"]),
        policy_reason=row["policy_reason"],
        contract_authorities=contract_authorities,
    )


def _certificate_of(row: Any) -> Certificate:
    return parse_certificate(bytes(row["der"]))


def _plain(row: Any) -> dict[str, Any]:
    """A row without its DER, the hash in hex."""
    values = {name: value for name, value in dict(row).items() if name != "der"}
    values["sha256"] = values["sha256"].hex()
    return values
