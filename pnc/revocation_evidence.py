"""Revocation: what an OCSP response or a CRL proves about one certificate, from bytes alone.

Owns verifying both here (general libraries parse them and check nothing) and what a status means under a
root's policy. Must not know where bytes come from, nor any address.

An answer counts only when it is signed by the certificate's issuer, or by a delegate whom the issuer itself
certified for OCSP signing; when it names the certificate by serial and by both hashes of its issuer; and
while it is current. "Revoked" in any verified answer is final. A signed "unknown" is rejected under every
policy: the responder doesn't know the certificate in question.
Sources: RFC 6960 sections 3.2, 4.2.2; RFC 5280 sections 5 and 6.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from pnc.certificate import (
    Certificate,
    load_public_key,
    parse_certificate,
    scheme_of,
    signed_by,
    verify_signature,
)
from pnc.errors import MalformedCertificateError
from pnc.hash_data import HashAlgorithm, issuer_hashes
from pnc.ocsp_response import (
    OcspResponse,
    ResponderOutcome,
    RevocationStatus,
    SingleResponse,
    parse_ocsp_response,
)
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.revocation_list import CrlScope, parse_crl
from pnc.trust import RevocationPolicy

MAX_OCSP_BYTES: Final = 64 * 1024
MAX_CRL_BYTES: Final = 10 * 1024 * 1024
CLOCK_SKEW: Final = timedelta(minutes=5)
MAX_AGE_WITHOUT_NEXT_UPDATE: Final = timedelta(hours=24)
_OCSP_SIGNING: Final = ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string
_ALGORITHMS: Final = {
    "2.16.840.1.101.3.4.2.1": HashAlgorithm.SHA256,
    "2.16.840.1.101.3.4.2.2": HashAlgorithm.SHA384,
    "2.16.840.1.101.3.4.2.3": HashAlgorithm.SHA512,
}
_MAX_DELEGATES: Final = 4


class RevocationSource(StrEnum):
    """Where a status came from."""

    OCSP = "ocsp"
    CRL = "crl"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRecord:
    """A verified statement about one certificate, usable until `usable_until`."""

    status: RevocationStatus
    source: RevocationSource
    this_update: datetime
    usable_until: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationAssessment:
    """The result for one certificate: rejected, or passed, with a note when a soft policy passed it."""

    rejection: ContractRejection | None
    note: str = ""


def assess(
    status: RevocationRecord | ContractRejection | None,
    *,
    policy: RevocationPolicy,
    now: datetime,
    place: str,
) -> RevocationAssessment:
    """Assess a certificate by its status under its root's policy.

    `status` is a verified statement, the rejection that the check ended with, or None when the
    certificate names no source and none is configured. `place` names the certificate in the text.
    """
    if isinstance(status, RevocationRecord):
        if status.status is RevocationStatus.REVOKED:
            return _rejected(RejectionReason.REVOKED, f"the {place} is revoked")
        if status.status is RevocationStatus.UNKNOWN:
            return _rejected(RejectionReason.REVOCATION_UNKNOWN, f"the {place} is unknown to its responder")
        if now <= status.usable_until:
            return RevocationAssessment(rejection=None)
        status = ContractRejection(
            rejection_reason=RejectionReason.REVOCATION_STALE, detail=f"the {place}'s status is out of date"
        )
    if status is None:
        detail = f"the {place} names no revocation source and none is configured"
        status = ContractRejection(rejection_reason=RejectionReason.REVOCATION_UNREACHABLE, detail=detail)
    if status.rejection_reason in _NEVER_SOFT or policy is RevocationPolicy.REQUIRE:
        return RevocationAssessment(rejection=status)
    return RevocationAssessment(
        rejection=None, note=f"{status.rejection_reason.value}: {status.cause or status.detail}"
    )


_NEVER_SOFT: Final = frozenset({RejectionReason.REVOKED, RejectionReason.REVOCATION_UNKNOWN})


def ocsp_request(certificate: Certificate, issuer: Certificate) -> bytes:
    """Return an OCSP request in DER, naming the certificate with SHA-256 (RFC 6960 section 4.1)."""
    name_hash, key_hash = issuer_hashes(issuer, HashAlgorithm.SHA256)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        name_hash, key_hash, certificate.serial, hashes.SHA256()
    )
    return builder.build().public_bytes(serialization.Encoding.DER)


def read_ocsp(
    response: bytes, *, certificate: Certificate, issuer: Certificate, now: datetime
) -> RevocationRecord | ContractRejection:
    """Verify an OCSP response about `certificate`, issued by `issuer`, at `now` (aware).

    Returns the statement, or the rejection: unreachable (the responder answered with an error), unverified
    (signature, signer or certificate don't fit) or stale (outside thisUpdate to nextUpdate).
    """
    if len(response) > MAX_OCSP_BYTES:
        return _unverified("an OCSP response is too large")
    try:
        parsed = parse_ocsp_response(response)
        if parsed.outcome is not ResponderOutcome.SUCCESSFUL:
            detail = f"the OCSP responder answered {parsed.outcome.value}"
            return ContractRejection(rejection_reason=RejectionReason.REVOCATION_UNREACHABLE, detail=detail)
        if not _signed_by_authority(parsed, certificate=certificate, issuer=issuer, now=now):
            return _unverified("an OCSP response is not signed by the issuer or its delegate")
    except MalformedCertificateError as problem:
        return _unverified(f"an OCSP response can't be read: {problem}")
    singles = [item for item in parsed.singles if _names(item, certificate=certificate, issuer=issuer)]
    unknown = [*parsed.unknown_critical, *(name for item in singles for name in item.unknown_critical)]
    if unknown:
        return _unverified(f"an OCSP response carries critical extensions that are not known: {unknown}")
    if not singles:
        return _unverified("an OCSP response is about another certificate")
    return _decisive([_statement(single, now) for single in singles])


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCrl:
    """A CRL whose signature, signer and scope are good; its dates are checked at each look-up."""

    revoked: Mapping[int, datetime]
    this_update: datetime
    usable_until: datetime
    scope: CrlScope


def verify_crl(crl: bytes, *, issuer: Certificate, now: datetime) -> VerifiedCrl | ContractRejection:
    """Verify a CRL: its signature, its issuer's right to sign CRLs, its scope and thisUpdate.

    Only complete, direct CRLs count: a delta or indirect one, or one for some reasons only, is unverified.
    """
    if len(crl) > MAX_CRL_BYTES:
        return _unverified("a CRL is too large")
    usage = issuer.extensions.key_usage
    if usage is not None and not usage.crl_sign:
        return _unverified("the issuer may not sign CRLs")
    try:
        parsed = parse_crl(crl)
        good = parsed.issuer == issuer.subject and verify_signature(
            key=load_public_key(issuer),
            kind=issuer.key,
            scheme=scheme_of(parsed.algorithm),
            signature=parsed.signature,
            data=parsed.tbs,
        )
    except MalformedCertificateError as problem:
        return _unverified(f"a CRL can't be read: {problem}")
    if not good:
        return _unverified("a CRL is not signed by the certificate's issuer")
    if parsed.scope is None:
        return _unverified("a CRL is partial, unnumbered, or limited in a way this system does not follow")
    if parsed.this_update > now + CLOCK_SKEW:
        return _unverified("a CRL is dated in the future")
    return VerifiedCrl(
        revoked=parsed.revoked,
        this_update=parsed.this_update,
        usable_until=parsed.next_update or parsed.this_update + MAX_AGE_WITHOUT_NEXT_UPDATE,
        scope=parsed.scope,
    )


def look_up(
    crl: VerifiedCrl, *, certificate: Certificate, now: datetime
) -> RevocationRecord | ContractRejection:
    """The status of a certificate by a verified CRL of its issuer, at `now` (aware).

    A CRL that expired still revokes what it lists, but no longer proves that anything is good.
    """
    facts, scope = certificate.extensions, crl.scope
    covered = scope.for_authorities if facts.is_authority else scope.for_leaves
    if not covered or (scope.points is not None and scope.points.isdisjoint(facts.crl_urls)):
        return _unverified("a CRL does not cover this kind of certificate")
    revoked_at = crl.revoked.get(certificate.serial)
    if revoked_at is not None:
        # An entry whose extensions we can't process still lists the certificate: reject.
        return RevocationRecord(
            status=RevocationStatus.REVOKED,
            source=RevocationSource.CRL,
            this_update=crl.this_update,
            usable_until=crl.usable_until,
            revoked_at=revoked_at,
        )
    if now > crl.usable_until:
        return ContractRejection(
            rejection_reason=RejectionReason.REVOCATION_STALE, detail="the CRL is out of date"
        )
    return RevocationRecord(
        status=RevocationStatus.GOOD,
        source=RevocationSource.CRL,
        this_update=crl.this_update,
        usable_until=crl.usable_until,
    )


def _decisive(
    statements: list[RevocationRecord | ContractRejection],
) -> RevocationRecord | ContractRejection:
    """What several statements about one certificate say together.

    Revoked wins over unknown, unknown over good; of one status the newer statement counts. A statement that
    is out of date says nothing beside a current one.
    """
    current = [item for item in statements if isinstance(item, RevocationRecord)]
    if not current:
        return statements[0]
    return max(current, key=lambda item: (_WEIGHT[item.status], item.this_update))


_WEIGHT: Final = {RevocationStatus.GOOD: 0, RevocationStatus.UNKNOWN: 1, RevocationStatus.REVOKED: 2}


def _signed_by_authority(
    parsed: OcspResponse, *, certificate: Certificate, issuer: Certificate, now: datetime
) -> bool:
    """Whether the issuer, or a delegate it certified for OCSP signing, signed the response."""
    scheme = scheme_of(parsed.algorithm)
    candidates = [issuer]
    for enclosed in parsed.certificates[:_MAX_DELEGATES]:
        try:
            delegate = parse_certificate(enclosed)
        except MalformedCertificateError:
            continue  # one that can't be read is nobody's delegate; the others may be
        if delegate.sha256 != certificate.sha256 and _is_delegate(delegate, issuer=issuer, now=now):
            candidates.append(delegate)
    return any(
        verify_signature(
            key=load_public_key(signer),
            kind=signer.key,
            scheme=scheme,
            signature=parsed.signature,
            data=parsed.tbs,
        )
        for signer in candidates
    )


def _is_delegate(delegate: Certificate, *, issuer: Certificate, now: datetime) -> bool:
    """RFC 6960 section 4.2.2.2: issued directly by the issuer, with OCSPSigning, valid now, no authority."""
    facts = delegate.extensions
    usage = facts.key_usage
    return (
        delegate.issuer == issuer.subject
        and not facts.is_authority
        and facts.extended_usages is not None
        and _OCSP_SIGNING in facts.extended_usages
        and (usage is None or usage.digital_signature)
        and not facts.unhandled
        and delegate.not_before <= now <= delegate.not_after
        and signed_by(delegate, load_public_key(issuer), issuer.key)
    )


def _names(single: SingleResponse, *, certificate: Certificate, issuer: Certificate) -> bool:
    """Whether a single response names the certificate: serial and both issuer hashes, in SHA-2."""
    algorithm = _ALGORITHMS.get(single.hash_algorithm)
    if algorithm is None or single.serial != certificate.serial:
        return False
    return (single.issuer_name_hash, single.issuer_key_hash) == issuer_hashes(issuer, algorithm)


def _statement(single: SingleResponse, now: datetime) -> RevocationRecord | ContractRejection:
    usable_until = single.next_update or single.this_update + MAX_AGE_WITHOUT_NEXT_UPDATE
    revoked = single.status is RevocationStatus.REVOKED
    if single.this_update > now + CLOCK_SKEW and not revoked:
        return ContractRejection(
            rejection_reason=RejectionReason.REVOCATION_STALE,
            detail="an OCSP response is dated in the future",
        )
    if now > usable_until and not revoked:
        return ContractRejection(
            rejection_reason=RejectionReason.REVOCATION_STALE, detail="an OCSP response is out of date"
        )
    return RevocationRecord(
        status=single.status,
        source=RevocationSource.OCSP,
        this_update=single.this_update,
        usable_until=usable_until,
        revoked_at=single.revoked_at,
    )


def _rejected(rejection_reason: RejectionReason, detail: str) -> RevocationAssessment:
    return RevocationAssessment(rejection=ContractRejection(rejection_reason=rejection_reason, detail=detail))


def _unverified(detail: str) -> ContractRejection:
    return ContractRejection(rejection_reason=RejectionReason.REVOCATION_UNVERIFIED, detail=detail)
