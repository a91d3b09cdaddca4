"""A contract's certificates as its party hands them in: verified, matched with the eMAID, registered.

Owns those checks and blocking what a vehicle no longer has. Must not know HTTP, decisions, or who may call.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pnc import certificate_registry
from pnc.certificate import Certificate
from pnc.certificate_chain import ChainVerifier, ValidChain
from pnc.certificate_input import leaf_first, read_certificates
from pnc.contract_authority import IssuingRight, issuing_right
from pnc.emaid import Emaid
from pnc.errors import MalformedCertificateError, UnfitContractError
from pnc.ports import Connection
from pnc.profile import contract_emaid

_MOST_ISSUERS: Final = 3  # a contract has two sub-authorities; one more where an authority is cross-signed


def verified_chain(bundle: str, emaid: Emaid, verifier: ChainVerifier, now: datetime) -> ValidChain:
    """Verify a contract's bundle, PEM in any order or PKCS #7.

    Raises UnfitContractError: it does not verify, is of another eMAID, or its authority may issue none.
    """
    return _checked(_read(bundle), emaid, verifier, now)


def verified_with_authorities(
    certificate: str, authorities: str, emaid: Emaid, verifier: ChainVerifier, now: datetime
) -> ValidChain:
    """Verify a contract certificate that comes alone, with the authorities that its pool uses.

    Raises UnfitContractError as `verified_chain`.
    """
    certificates = _read(certificate)
    if len(certificates) == 1 and authorities:
        certificates += _issuers_of(certificates[0], _read(authorities))
    return _checked(certificates, emaid, verifier, now)


def read_authorities(text: str) -> list[Certificate]:
    """Read a list of sub-authorities. Raises UnfitContractError where one is no authority."""
    found = _read(text)
    if not all(certificate.extensions.is_authority for certificate in found):
        raise UnfitContractError(path="authorities", problem="a certificate that is no authority's")
    return found


async def block_all(
    connection: Connection, *, environment: str, emaid: str, reason: str, now: datetime
) -> int:
    """Block every certificate that a contract has, as its vehicle's key is another one; returns how many."""
    blocked = 0
    for row in await certificate_registry.load_history(connection, environment=environment, emaid=emaid):
        if row["blocked_at"] is None:
            await certificate_registry.block(
                connection,
                environment=environment,
                emaid=emaid,
                leaf_sha256=bytes.fromhex(row["leaf_sha256"]),
                reason=reason,
                now=now,
            )
            blocked += 1
    return blocked


async def check_not_blocked(
    connection: Connection, chain: ValidChain, *, environment: str, emaid: str
) -> None:
    """Check that a certificate is none that was blocked. Raises UnfitContractError."""
    leaf = chain.leaf.sha256.hex()
    for row in await certificate_registry.load_history(connection, environment=environment, emaid=emaid):
        if row["leaf_sha256"] == leaf and row["blocked_at"] is not None:
            raise UnfitContractError(path="bundle", problem="blocked; only another certificate replaces it")


def _read(text: str) -> list[Certificate]:
    try:
        return read_certificates(text)
    except MalformedCertificateError as problem:
        raise UnfitContractError(path="bundle", problem=str(problem)) from None


def _issuers_of(leaf: Certificate, authorities: Sequence[Certificate]) -> list[Certificate]:
    """The authorities on a leaf's way up, by their names."""
    found: list[Certificate] = []
    names = {leaf.issuer}
    for _ in range(_MOST_ISSUERS):
        found += [item for item in authorities if item.subject in names and item not in found]
        names = {item.issuer for item in found}
    return found[:_MOST_ISSUERS]


def _checked(
    certificates: Sequence[Certificate], emaid: Emaid, verifier: ChainVerifier, now: datetime
) -> ValidChain:
    try:
        leaf, *others = leaf_first(certificates)
    except MalformedCertificateError as problem:
        raise UnfitContractError(path="bundle", problem=str(problem)) from None
    chain = verifier.verify_certificates(leaf, others, now=now)
    if not isinstance(chain, ValidChain):
        raise UnfitContractError(path="bundle", problem=f"{chain.rejection_reason.value}: {chain.detail}")
    if emaid.body not in contract_emaid(chain.leaf).bodies:
        raise UnfitContractError(path="bundle", problem="the certificate is of another eMAID")
    if issuing_right(chain) is IssuingRight.REFUSED:
        raise UnfitContractError(
            path="bundle", problem="the authority is not one of those that may issue contracts below its root"
        )
    return chain
