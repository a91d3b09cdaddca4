"""The certificate registry: which certificate names which contract, with its history.

Owns registering verified chains and blocking certificates. Must not know decisions. An update of a
contract's certificate adds a row; the older ones stay. A certificate is registered only as a whole verified
chain, because hash data later refers to exactly that chain.
"""

from datetime import datetime
from typing import Any

from pnc.certificate_chain import ValidChain
from pnc.errors import ConflictingRecordError, UnknownRecordError
from pnc.hash_data import HashAlgorithm, issuer_hashes
from pnc.ports import Executor
from pnc.repository import certificates
from pnc.revocation_endpoints import authority_id


async def register(
    executor: Executor, chain: ValidChain, *, environment: str, emaid: str, source: str, now: datetime
) -> bool:
    """Register a verified chain under the eMAID of its contract; False when it was registered already.

    `emaid` is one of the bodies of its leaf's eMAID; `source` is `presented` or `imported`.

    Raises:
        ConflictingRecordError: the same issuer and serial are registered for other bytes.
    """
    issuer = chain.issuer_of(0)
    authority = authority_id(issuer)
    hashes = {algorithm: issuer_hashes(issuer, algorithm) for algorithm in HashAlgorithm}
    await certificates.register_authority(
        executor, environment=environment, authority=authority, hashes=hashes
    )
    leaf = chain.leaf
    stored = await certificates.register_certificate(
        executor,
        leaf,
        environment=environment,
        authority=authority,
        emaid=emaid,
        bundle=bundle_of(chain),
        source=source,
        now=now,
    )
    if stored:
        return True
    known = await certificates.load_certificate(
        executor, environment=environment, authority=authority, serial=leaf.serial
    )
    if known is not None and known.leaf_sha256 != leaf.sha256:
        raise ConflictingRecordError("another certificate with this issuer and serial number is registered")
    return False


async def block(
    executor: Executor, *, environment: str, emaid: str, leaf_sha256: bytes, reason: str, now: datetime
) -> None:
    """Block a registered certificate: it is rejected from now on, whatever its issuer says.

    Raises:
        UnknownRecordError: the contract has no such certificate, or it is blocked already.
    """
    blocked = await certificates.block_certificate(
        executor, environment=environment, emaid=emaid, leaf_sha256=leaf_sha256, reason=reason, now=now
    )
    if not blocked:
        raise UnknownRecordError(f"{emaid} has no certificate {leaf_sha256.hex()} that is not blocked")


async def load_history(executor: Executor, *, environment: str, emaid: str) -> list[dict[str, Any]]:
    """Every certificate of a contract, oldest first, as plain values."""
    return await certificates.list_by_contract(executor, environment=environment, emaid=emaid)


def bundle_of(chain: ValidChain) -> str:
    """The path in PEM, leaf first, without the anchor."""
    return "".join(certificate.pem for certificate in chain.path)
