"""The certificate profile: what ISO 15118-2 and -20 demand of each certificate of a contract's chain.

Owns the rules for one certificate in its role, in one function for every algorithm. Must not know paths,
dates or trust. The path validators of general libraries accept, in silence, CA leaves, server certificates,
other curves and other roles' certificates; that is why each rule is written here.
Sources: ISO 15118-2 annex F, ISO 15118-20 annex B, RFC 5280 section 4.2.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pnc.certificate import EMPTY_NAME, Certificate, KeyKind, SignatureScheme, key_is_sound
from pnc.emaid import Emaid, parse_emaid
from pnc.errors import MalformedEmaidError
from pnc.rejection_reasons import ContractRejection, RejectionReason


class Edition(StrEnum):
    """The edition of ISO 15118 whose cryptography a chain uses. One chain uses one."""

    ISO_15118_2 = "15118-2"
    ISO_15118_20 = "15118-20"


EDITION_OF_KEY: Final = {
    KeyKind.P256: Edition.ISO_15118_2,
    KeyKind.P521: Edition.ISO_15118_20,
    KeyKind.ED448: Edition.ISO_15118_20,
}
# Looked up once: each access to a member of an enumeration takes as long as a small function.
_OTHER_KEY: Final = KeyKind.OTHER
_OTHER_SCHEME: Final = SignatureScheme.OTHER
_CLIENT_AUTH: Final = "1.3.6.1.5.5.7.3.2"
_LEAF_ROLES: Final = frozenset({"MO"})
# Deployed mobility operators' authorities have V2G, MO or none; which of them may issue contracts is
# configured (pnc.contract_authority).
_AUTHORITY_ROLES: Final = frozenset({"MO", "V2G"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRules:
    """What may be relaxed. Production uses the defaults; path-validation conformance tests relax the rest.

    `contract_rules` off leaves out what is ISO 15118's own (names, roles, usages); RFC 5280's rules always
    hold.
    """

    contract_rules: bool = True
    require_path_length: bool = True
    max_authorities: int = 2
    strict_check_digit: bool = False


def leaf_rejection(certificate: Certificate, rules: ProfileRules) -> ContractRejection | None:
    """Return why `certificate` is not a contract certificate, or None.

    CA false; a key and signature of the editions; no critical extension unknown to us; digitalSignature and
    neither keyCertSign nor cRLSign; no extended usage but clientAuth; domainComponent absent or MO; one CN
    that is an eMAID.
    """
    facts = certificate.extensions
    if facts.is_authority:
        return _reject(RejectionReason.NOT_A_LEAF, "the first certificate is an authority (CA true)")
    if (rejection := _shared_rejection(certificate)) is not None:
        return rejection
    if facts.path_length is not None:
        return _reject(RejectionReason.NOT_A_LEAF, "the leaf carries a path length")
    usage = facts.key_usage
    if usage is not None and usage.key_cert_sign:
        return _reject(RejectionReason.WRONG_KEY_USAGE, "the leaf may sign certificates")
    if not rules.contract_rules:
        return None
    if usage is None or not usage.digital_signature or usage.crl_sign:
        return _reject(
            RejectionReason.WRONG_KEY_USAGE, "the leaf's key usage is not that of a contract certificate"
        )
    if facts.extended_usages is not None and facts.extended_usages - {_CLIENT_AUTH}:
        return _reject(
            RejectionReason.WRONG_EXTENDED_KEY_USAGE, "the leaf has an extended key usage of another role"
        )
    if (rejection := _role_rejection(certificate.domain_components, _LEAF_ROLES, "leaf")) is not None:
        return rejection
    names = certificate.common_names
    if len(names) != 1:
        return _reject(
            RejectionReason.WRONG_COMMON_NAME, f"the leaf has {len(names)} common names; expected one"
        )
    try:
        parse_emaid(names[0], strict=rules.strict_check_digit)
    except MalformedEmaidError as problem:
        return _reject(RejectionReason.WRONG_COMMON_NAME, f"the leaf's common name: {problem}")
    return None


def authority_rejection(certificate: Certificate, rules: ProfileRules) -> ContractRejection | None:
    """Return why `certificate` is not a sub-authority or cross certificate, or None.

    CA true in a critical basicConstraints with a path length; keyCertSign; a key and signature of the
    editions; no critical extension unknown to us; domainComponent absent, MO or V2G (sub-authorities of CPO,
    CPS and OEM hang under the same V2G root and may not issue contracts).
    """
    facts = certificate.extensions
    if not facts.is_authority:
        return _reject(
            RejectionReason.NOT_AN_AUTHORITY, "an issuer in the chain is not an authority (CA false)"
        )
    if not facts.basic_constraints_critical:
        return _reject(RejectionReason.NOT_AN_AUTHORITY, "an authority's basic constraints are not critical")
    if rules.require_path_length and facts.path_length is None:
        return _reject(RejectionReason.NOT_AN_AUTHORITY, "an authority carries no path length")
    if facts.key_usage is None or not facts.key_usage.key_cert_sign:
        return _reject(RejectionReason.WRONG_KEY_USAGE, "an issuer in the chain may not sign certificates")
    if (rejection := _shared_rejection(certificate)) is not None:
        return rejection
    if not rules.contract_rules:
        return None
    if facts.extended_usages is not None:
        return _reject(
            RejectionReason.WRONG_EXTENDED_KEY_USAGE, "an authority is limited to an extended key usage"
        )
    return _role_rejection(certificate.domain_components, _AUTHORITY_ROLES, "authority")


def anchor_rejection(certificate: Certificate) -> ContractRejection | None:
    """Return why `certificate` is not a trust anchor, or None: self-issued, and an authority."""
    facts = certificate.extensions
    if not facts.is_authority or not facts.basic_constraints_critical or not certificate.self_issued:
        return _reject(RejectionReason.NOT_AN_AUTHORITY, "not a self-issued authority (CA true, critical)")
    named = (facts.authority_key_id, facts.authority_issuer, facts.authority_serial)
    own = (certificate.subject_key_id, certificate.issuer, certificate.serial)
    if any(name is not None and name != fact for name, fact in zip(named, own, strict=True)):
        return _reject(RejectionReason.KEY_IDENTIFIER_MISMATCH, "names another key as its own issuer's")
    if certificate.subject == EMPTY_NAME:
        return _reject(RejectionReason.NOT_AN_AUTHORITY, "has no name")
    if facts.key_usage is not None and not facts.key_usage.key_cert_sign:
        return _reject(RejectionReason.WRONG_KEY_USAGE, "may not sign certificates")
    return _shared_rejection(certificate)


def contract_emaid(certificate: Certificate) -> Emaid:
    """Return the eMAID of a leaf that passed `leaf_rejection` under contract rules."""
    return parse_emaid(certificate.common_names[0])


def _shared_rejection(certificate: Certificate) -> ContractRejection | None:
    """Rules of every role: allowed key and algorithm, a readable key, no unknown critical extension."""
    if certificate.key is _OTHER_KEY:
        return _reject(RejectionReason.WRONG_KEY, "a key that is not P-256, P-521 or Ed448")
    if certificate.scheme is _OTHER_SCHEME:
        return _reject(
            RejectionReason.WRONG_SIGNATURE_ALGORITHM,
            "a signature that is not ECDSA or Ed448 of the editions",
        )
    if certificate.extensions.unhandled:
        listed = ", ".join(certificate.extensions.unhandled)
        return _reject(
            RejectionReason.UNSUPPORTED_EXTENSION,
            f"extensions that must be honored and are not known: {listed}",
        )
    if not key_is_sound(certificate):
        return _reject(RejectionReason.WRONG_KEY, "a public key that is not on its curve")
    return None


def _role_rejection(roles: tuple[str, ...], allowed: frozenset[str], place: str) -> ContractRejection | None:
    if roles and (len(roles) > 1 or roles[0] not in allowed):
        return _reject(
            RejectionReason.WRONG_DOMAIN_COMPONENT,
            f"the {place}'s domain component is {list(roles)}, not {' or '.join(sorted(allowed))}",
        )
    return None


def _reject(rejection_reason: RejectionReason, detail: str) -> ContractRejection:
    return ContractRejection(rejection_reason=rejection_reason, detail=detail)
