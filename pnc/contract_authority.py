"""The right to issue contracts: which authority below a root may, by configuration or by its certificate.

Owns that one rule. Must not know where the configuration is stored. One V2G root also certifies the
authorities of charging stations, vehicle makers and provisioning services, and a domainComponent does not
tell them apart: deployed mobility operators' authorities have V2G, MO, or none (docs/decisions/0209).
"""

import hashlib
from enum import StrEnum
from typing import Final

from pnc.certificate import Certificate
from pnc.certificate_chain import ValidChain
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.trust import AnchorPurpose

UNNAMED: Final = "no authority is named that may issue contracts below this V2G root"
_MOBILITY_OPERATOR: Final = ("MO",)


class IssuingRight(StrEnum):
    """Whether the authority of a chain may issue contracts."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    # No authority is named below this V2G root, and the certificates do not say: only a contract whose
    # certificate is registered may charge.
    UNNAMED = "unnamed"


def key_sha256(authority: Certificate) -> bytes:
    """Name an authority by its public key's bits, as OCPP's issuerKeyHash in SHA-256 does."""
    return hashlib.sha256(authority.key_bits).digest()


def issuing_right(chain: ValidChain) -> IssuingRight:
    """Whether the authorities of a chain may issue contracts.

    Every authority below a mobility operator's root may. Below a V2G root, those that are named may; where
    none is named, those whose own certificate has the role MO.
    """
    anchor, authorities = chain.anchor, chain.path[1:]
    if anchor.contract_authorities:
        named = any(key_sha256(item) in anchor.contract_authorities for item in authorities)
        return IssuingRight.ALLOWED if named else IssuingRight.REFUSED
    if anchor.purpose is AnchorPurpose.MO_ROOT:
        return IssuingRight.ALLOWED
    by_role = any(item.domain_components == _MOBILITY_OPERATOR for item in authorities)
    return IssuingRight.ALLOWED if by_role else IssuingRight.UNNAMED


def right_rejection(right: IssuingRight, *, registered: bool) -> ContractRejection | None:
    """Return why the authority of a chain may not issue contracts, or None."""
    if right is IssuingRight.ALLOWED or (right is IssuingRight.UNNAMED and registered):
        return None
    detail = "the authority is not one of those that may issue contracts below this root"
    if right is IssuingRight.UNNAMED:
        detail = f"{UNNAMED}, and the certificate is not registered with its contract"
    return ContractRejection(rejection_reason=RejectionReason.AUTHORITY_NOT_ALLOWED, detail=detail)
