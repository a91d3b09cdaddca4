"""Registered certificates: which one names which contract.

Owns the SQL of contract certificates and the reading of its rows. Must not know rules: it decides nothing and
opens no transaction; connections are passed in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pnc.certificate import Certificate
from pnc.hash_data import CertificateHash, HashAlgorithm
from pnc.ports import Executor
from pnc.repository.queries import fetch_all, load_queries

_CERTIFICATES: Final = load_queries("certificates")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredCertificate:
    """A certificate registered for a contract: its verified chain in PEM, leaf first."""

    emaid: str
    bundle: str
    leaf_sha256: bytes
    blocked: bool


def serial_bytes(serial: int) -> bytes:
    """A serial number as stored: big-endian, no leading zero."""
    return serial.to_bytes((serial.bit_length() + 7) // 8, "big")


async def register_authority(
    executor: Executor,
    *,
    environment: str,
    authority: bytes,
    hashes: Mapping[HashAlgorithm, tuple[bytes, bytes]],
) -> None:
    """Store the (name, key) hashes of an authority in each algorithm; known ones stay."""
    await _CERTIFICATES.register_authority(
        executor,
        environment=environment,
        authority_sha256=authority,
        algorithms=[algorithm.value for algorithm in hashes],
        name_hashes=[name_hash for name_hash, _ in hashes.values()],
        key_hashes=[key_hash for _, key_hash in hashes.values()],
    )


async def register_certificate(
    executor: Executor,
    leaf: Certificate,
    *,
    environment: str,
    authority: bytes,
    emaid: str,
    bundle: str,
    source: str,
    now: datetime,
) -> bool:
    """Store a contract certificate with its chain; False when its issuer and serial are known already."""
    row = await _CERTIFICATES.register_certificate(
        executor,
        environment=environment,
        authority_sha256=authority,
        serial=serial_bytes(leaf.serial),
        emaid=emaid,
        bundle=bundle,
        leaf_sha256=leaf.sha256,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        source=source,
        registered_at=now,
    )
    return row is not None


async def load_certificate(
    executor: Executor, *, environment: str, authority: bytes, serial: int
) -> RegisteredCertificate | None:
    """The certificate of an issuer and serial number."""
    row = await _CERTIFICATES.load_certificate(
        executor, environment=environment, authority_sha256=authority, serial=serial_bytes(serial)
    )
    return None if row is None else _certificate_of(row)


async def find_certificates_by_hash(
    executor: Executor, *, environment: str, names: Sequence[CertificateHash]
) -> list[RegisteredCertificate]:
    """The registered certificates that any of the names refers to."""
    rows = await fetch_all(
        _CERTIFICATES.certificates_by_hash(
            executor,
            environment=environment,
            algorithms=[name.algorithm.value for name in names],
            name_hashes=[name.issuer_name_hash for name in names],
            key_hashes=[name.issuer_key_hash for name in names],
            serials=[serial_bytes(name.serial) for name in names],
        )
    )
    return [_certificate_of(row) for row in rows]


async def list_by_contract(executor: Executor, *, environment: str, emaid: str) -> list[dict[str, Any]]:
    """Every certificate of a contract, oldest first, as plain values; hashes and serials in hex."""
    rows = await fetch_all(
        _CERTIFICATES.certificates_of_contract(executor, environment=environment, emaid=emaid)
    )
    return [
        {
            **dict(row),
            "authority_sha256": row["authority_sha256"].hex(),
            "serial": row["serial"].hex(),
            "leaf_sha256": row["leaf_sha256"].hex(),
        }
        for row in rows
    ]


async def is_blocked(executor: Executor, *, environment: str, emaid: str, leaf_sha256: bytes) -> bool:
    """Whether a certificate of a contract is blocked."""
    row = await _CERTIFICATES.certificate_blocked(
        executor, environment=environment, emaid=emaid, leaf_sha256=leaf_sha256
    )
    return row is not None


async def block_certificate(
    executor: Executor, *, environment: str, emaid: str, leaf_sha256: bytes, reason: str, now: datetime
) -> bool:
    """Block a certificate of a contract.

    False when the contract has none of that hash that is not blocked.
    """
    row = await _CERTIFICATES.block_certificate(
        executor, environment=environment, emaid=emaid, leaf_sha256=leaf_sha256, reason=reason, now=now
    )
    return row is not None


def _certificate_of(row: Any) -> RegisteredCertificate:
    return RegisteredCertificate(
        emaid=row["emaid"],
        bundle=row["bundle"],
        leaf_sha256=row["leaf_sha256"],
        blocked=row["blocked_at"] is not None,
    )
