"""The certificate registry: which certificate names which contract, with its history.

Owns registering verified chains and withdrawing certificates. Must not know decisions. An update of a
contract's certificate adds a row; the older ones stay. A certificate is registered only as a whole verified
chain, because hash data later stands for exactly that chain.
"""

from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import serialization

from pnc.chain import ValidChain
from pnc.errors import ConflictingRecordError, UnknownRecordError
from pnc.hash_data import HashAlgorithm, issuer_hashes
from pnc.inquiry import authority_id
from pnc.ports import Executor
from pnc.profile import contract_emaid
from pnc.store import load_queries, serial_bytes

_SQL: Any = load_queries("contracts")


async def register(
    executor: Executor, chain: ValidChain, *, environment: str, source: str, now: datetime
) -> bool:
    """Register a verified chain under the eMAID of its leaf; False when it was registered already.

    `source` is `presented` or `imported`.

    Raises:
        ConflictingRecordError: the same issuer and serial are registered for other bytes.
    """
    issuer = chain.issuer_of(0)
    authority = authority_id(issuer)
    hashes = {algorithm: issuer_hashes(issuer, algorithm) for algorithm in HashAlgorithm}
    await _SQL.register_authority(
        executor,
        environment=environment,
        authority_sha256=authority,
        algorithms=[algorithm.value for algorithm in hashes],
        name_hashes=[name_hash for name_hash, _ in hashes.values()],
        key_hashes=[key_hash for _, key_hash in hashes.values()],
    )
    leaf = chain.leaf
    row = await _SQL.register_certificate(
        executor,
        environment=environment,
        authority_sha256=authority,
        serial=serial_bytes(leaf.serial),
        emaid=contract_emaid(leaf).body,
        bundle=bundle_of(chain),
        leaf_sha256=leaf.sha256,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        source=source,
        registered_at=now,
    )
    if row is not None:
        return True
    known = await _SQL.load_certificate(
        executor, environment=environment, authority_sha256=authority, serial=serial_bytes(leaf.serial)
    )
    if known is not None and known["leaf_sha256"] != leaf.sha256:
        raise ConflictingRecordError("another certificate with this issuer and serial number is registered")
    return False


async def withdraw(
    executor: Executor, *, environment: str, emaid: str, leaf_sha256: bytes, reason: str, now: datetime
) -> None:
    """Withdraw a registered certificate: it is refused from now on, whatever its issuer says.

    Raises:
        UnknownRecordError: the contract has no such certificate in force.
    """
    row = await _SQL.withdraw_certificate(
        executor, environment=environment, emaid=emaid, leaf_sha256=leaf_sha256, reason=reason, now=now
    )
    if row is None:
        raise UnknownRecordError(f"{emaid} has no certificate {leaf_sha256.hex()} in force")


async def history(executor: Executor, *, environment: str, emaid: str) -> list[dict[str, Any]]:
    """Every certificate of a contract, oldest first, as plain values."""
    rows = _SQL.certificates_of_contract(executor, environment=environment, emaid=emaid)
    return [
        {
            **dict(row),
            "authority_sha256": row["authority_sha256"].hex(),
            "serial": row["serial"].hex(),
            "leaf_sha256": row["leaf_sha256"].hex(),
        }
        async for row in rows
    ]


def bundle_of(chain: ValidChain) -> str:
    """The path in PEM, leaf first, without the anchor."""
    blocks = [certificate.parsed.public_bytes(serialization.Encoding.PEM) for certificate in chain.path]
    return b"".join(blocks).decode("ascii")
