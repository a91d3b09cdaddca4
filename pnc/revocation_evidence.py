"""Revocation: what an OCSP response or a CRL proves about one certificate, from bytes alone.

Owns verifying both here (general libraries parse them and check nothing) and what a status means under a
root's policy. Must not know where bytes come from, nor any address.

An answer counts only when it is signed by the certificate's issuer, or by a delegate whom the issuer itself
certified for OCSP signing; when it names the certificate by serial and by both hashes of its issuer; and
while it is current. "Revoked" in any verified answer is final. A signed "unknown" is rejected under every
policy: the responder doesn't know the certificate in question.
Sources: RFC 6960 sections 3.2, 4.2.2; RFC 5280 sections 5 and 6.3.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
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
from pnc.der import crl_issuer
from pnc.errors import MalformedCertificateError
from pnc.hash_data import HashAlgorithm, issuer_hashes
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.trust import RevocationPolicy

MAX_OCSP_BYTES: Final = 64 * 1024
MAX_CRL_BYTES: Final = 10 * 1024 * 1024
CLOCK_SKEW: Final = timedelta(minutes=5)
MAX_AGE_WITHOUT_NEXT_UPDATE: Final = timedelta(hours=24)
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    OverflowError,
    MalformedCertificateError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_OCSP_SIGNING: Final = ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string
_ALGORITHMS: Final = {
    "sha256": HashAlgorithm.SHA256,
    "sha384": HashAlgorithm.SHA384,
    "sha512": HashAlgorithm.SHA512,
}


class RevocationStatus(StrEnum):
    """The status of a certificate by its authority."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


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
        parsed = ocsp.load_der_ocsp_response(response)
        if parsed.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            detail = f"the OCSP responder answered {parsed.response_status.name}"
            return ContractRejection(rejection_reason=RejectionReason.REVOCATION_UNREACHABLE, detail=detail)
        if not _signed_by_authority(parsed, certificate=certificate, issuer=issuer, now=now):
            return _unverified("an OCSP response is not signed by the issuer or its delegate")
        if any(extension.critical for extension in parsed.extensions):
            return _unverified("an OCSP response carries a critical extension")
        for single in parsed.responses:
            if _names(single, certificate=certificate, issuer=issuer):
                return _statement(single, now)
    except (
        ValueError,
        TypeError,
        OverflowError,
        MalformedCertificateError,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as problem:
        return _unverified(f"an OCSP response can't be read: {problem}")
    return _unverified("an OCSP response is about another certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """Which certificates a CRL covers; `points` are the distribution points it is limited to."""

    for_leaves: bool
    for_authorities: bool
    points: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCrl:
    """A CRL whose signature, signer and scope are good; its dates are checked at each look-up."""

    parsed: x509.CertificateRevocationList
    this_update: datetime
    usable_until: datetime
    scope: _Scope


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
        parsed = x509.load_der_x509_crl(crl)
        good = crl_issuer(crl) == issuer.subject and verify_signature(
            key=load_public_key(issuer),
            kind=issuer.key,
            scheme=scheme_of(parsed.signature_algorithm_oid),
            signature=parsed.signature,
            data=parsed.tbs_certlist_bytes,
        )
        if not good:
            return _unverified("a CRL is not signed by the certificate's issuer")
        scope = _crl_scope(parsed)
        this_update, next_update = parsed.last_update_utc, parsed.next_update_utc
    except (
        ValueError,
        TypeError,
        OverflowError,
        MalformedCertificateError,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as problem:
        return _unverified(f"a CRL can't be read: {problem}")
    if scope is None:
        return _unverified("a CRL is partial, unnumbered, or limited in a way this system does not follow")
    if this_update > now + CLOCK_SKEW:
        return _unverified("a CRL is dated in the future")
    return VerifiedCrl(
        parsed=parsed,
        this_update=this_update,
        usable_until=next_update or this_update + MAX_AGE_WITHOUT_NEXT_UPDATE,
        scope=scope,
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
    entry = crl.parsed.get_revoked_certificate_by_serial_number(certificate.serial)
    if entry is not None:
        # An entry whose extensions we can't process still lists the certificate: reject.
        return RevocationRecord(
            status=RevocationStatus.REVOKED,
            source=RevocationSource.CRL,
            this_update=crl.this_update,
            usable_until=crl.usable_until,
            revoked_at=entry.revocation_date_utc,
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


def _signed_by_authority(
    parsed: ocsp.OCSPResponse, *, certificate: Certificate, issuer: Certificate, now: datetime
) -> bool:
    """Whether the issuer, or a delegate it certified for OCSP signing, signed the response."""
    scheme = scheme_of(parsed.signature_algorithm_oid)
    candidates = [issuer]
    for enclosed in parsed.certificates[:4]:
        delegate = parse_certificate(enclosed.public_bytes(serialization.Encoding.DER))
        if delegate.sha256 != certificate.sha256 and _is_delegate(delegate, issuer=issuer, now=now):
            candidates.append(delegate)
    for signer in candidates:
        if verify_signature(
            key=load_public_key(signer),
            kind=signer.key,
            scheme=scheme,
            signature=parsed.signature,
            data=parsed.tbs_response_bytes,
        ):
            return True
    return False


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


def _names(single: ocsp.OCSPSingleResponse, *, certificate: Certificate, issuer: Certificate) -> bool:
    """Whether a single response names the certificate: serial and both issuer hashes, in SHA-2."""
    algorithm = _ALGORITHMS.get(single.hash_algorithm.name)
    if algorithm is None or single.serial_number != certificate.serial:
        return False
    return (single.issuer_name_hash, single.issuer_key_hash) == issuer_hashes(issuer, algorithm)


def _statement(single: ocsp.OCSPSingleResponse, now: datetime) -> RevocationRecord | ContractRejection:
    this_update = single.this_update_utc
    next_update = single.next_update_utc
    usable_until = next_update or this_update + MAX_AGE_WITHOUT_NEXT_UPDATE
    status = RevocationStatus(single.certificate_status.name.lower())
    if this_update > now + CLOCK_SKEW:
        return ContractRejection(
            rejection_reason=RejectionReason.REVOCATION_STALE,
            detail="an OCSP response is dated in the future",
        )
    if now > usable_until and status is not RevocationStatus.REVOKED:
        return ContractRejection(
            rejection_reason=RejectionReason.REVOCATION_STALE, detail="an OCSP response is out of date"
        )
    return RevocationRecord(
        status=status,
        source=RevocationSource.OCSP,
        this_update=this_update,
        usable_until=usable_until,
        revoked_at=single.revocation_time_utc if status is RevocationStatus.REVOKED else None,
    )


def _crl_scope(parsed: x509.CertificateRevocationList) -> _Scope | None:
    """Return what the CRL covers, or None for a partial one or an unknown critical extension."""
    for_leaves = for_authorities = True
    points: frozenset[str] | None = None
    numbered = False
    for extension in parsed.extensions:
        value = extension.value
        if isinstance(value, x509.IssuingDistributionPoint):
            if value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs:
                return None
            if value.relative_name is not None:
                return None
            if value.full_name is not None:
                names = (name for name in value.full_name if isinstance(name, x509.UniformResourceIdentifier))
                points = frozenset(name.value for name in names)
            for_leaves = not value.only_contains_ca_certs
            for_authorities = not value.only_contains_user_certs
        elif isinstance(value, x509.DeltaCRLIndicator) or extension.critical:
            return None
        numbered = numbered or isinstance(value, x509.CRLNumber)
    if not numbered:  # RFC 5280 section 5.2.3: every conforming CRL is
        return None
    return _Scope(for_leaves=for_leaves, for_authorities=for_authorities, points=points)


def _rejected(rejection_reason: RejectionReason, detail: str) -> RevocationAssessment:
    return RevocationAssessment(rejection=ContractRejection(rejection_reason=rejection_reason, detail=detail))


def _unverified(detail: str) -> ContractRejection:
    return ContractRejection(rejection_reason=RejectionReason.REVOCATION_UNVERIFIED, detail=detail)
