"""Contract authorities, changed on the record: which authorities below a root may issue contracts.

Owns those changes. Must not know HTTP or who may call: the caller is authenticated, and named in the
`change`. As every change of trust, it raises the environment's version and applies to the next decision.

Each call is one transaction on the given connection, or takes part in the one that is open.
"""

from typing import Any, Final

from pnc.certificate import Certificate
from pnc.contract_authority import key_sha256
from pnc.distinguished_name import name_text
from pnc.errors import UnfitAuthorityError, UnknownRecordError
from pnc.ports import Connection, Executor
from pnc.repository import trust as repository
from pnc.trust import TrustChange
from pnc.trust_administration import RecordedChange, change_existing, read_one, sha256_of

_DIGEST_BYTES: Final = 32


async def allow_contract_authority(
    connection: Connection, *, environment: str, anchor: str, authority: str, change: TrustChange
) -> str:
    """Name an authority that may issue contracts below a root; returns its key's hash in hex.

    `anchor` is the root's SHA-256 in hex. `authority` is its certificate in PEM (or base64 DER), or the
    SHA-256 of its public key's bits in hex, as OCPP's issuerKeyHash. Naming it again changes nothing.

    Raises:
        UnknownRecordError: the root is not trusted.
        UnfitAuthorityError: neither an authority's certificate nor a SHA-256.
    """
    root = sha256_of(anchor)
    key, subject = _named(authority)
    async with connection.transaction():
        version = await repository.raise_version(connection, environment=environment)
        if not await repository.anchor_in_force(connection, environment=environment, sha256=root):
            raise UnknownRecordError(f"no trusted root {anchor} in {environment}")
        added = await repository.allow_contract_authority(
            connection, environment=environment, anchor=root, key=key, subject=subject, now=change.now
        )
        if added:
            await repository.record_change(
                connection,
                environment=environment,
                version=version,
                kind="contract_authority_allowed",
                sha256=root,
                detail=f"authority key {key.hex()}",
                change=change,
            )
    return key.hex()


async def remove_contract_authority(
    connection: Connection, *, environment: str, anchor: str, key: str, change: TrustChange
) -> None:
    """Remove an authority's right to issue contracts below a root; both are hashes in hex.

    Raises UnknownRecordError when it is not named below that root.
    """
    root, digest = sha256_of(anchor), sha256_of(key)
    await change_existing(
        connection,
        repository.remove_contract_authority(connection, environment=environment, anchor=root, key=digest),
        environment=environment,
        missing=f"no authority {key} is named below the root {anchor}",
        recorded=RecordedChange(
            kind="contract_authority_removed",
            sha256=root,
            detail=f"authority key {digest.hex()}",
            change=change,
        ),
    )


async def list_contract_authorities(executor: Executor, *, environment: str) -> list[dict[str, Any]]:
    """The authorities named below each root, as plain values: anchor, key_sha256, subject, added_at."""
    return await repository.list_contract_authorities(executor, environment=environment)


def hash_of_key(text: str) -> bytes | None:
    """The SHA-256 of a public key that a text names in hex; None where it is something else."""
    stripped = text.strip()
    if len(stripped) != 2 * _DIGEST_BYTES:
        return None
    try:
        return bytes.fromhex(stripped)
    except ValueError:
        return None  # base64 of the same length is no certificate either: read_one says so


def check_authority(certificate: Certificate) -> None:
    """Check that a certificate is an authority's. Raises UnfitAuthorityError."""
    if not certificate.extensions.is_authority:
        raise UnfitAuthorityError("authority: the certificate is not an authority's")


def _named(authority: str) -> tuple[bytes, str]:
    digest = hash_of_key(authority)
    if digest is not None:
        return digest, ""
    certificate = read_one(authority)
    check_authority(certificate)
    return key_sha256(certificate), name_text(certificate.subject)
