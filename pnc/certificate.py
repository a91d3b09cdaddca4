"""Certificates: exact bytes, and the few facts that the rules need.

Owns PEM bundles, and which key and signature kinds exist at all. Must not know which of them is allowed
where: that is pnc.profile. Names are compared by their bytes, as RFC 5280 section 7.1 permits.
"""

import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from pnc.der import attributes, certificate_slices, key_bits
from pnc.errors import MalformedCertificateError
from pnc.extensions import Extensions, read_extensions

EMPTY_NAME: Final = b"\x30\x00"
MAX_BUNDLE_CHARACTERS: Final = 10_000  # AuthorizeRequest.certificate of OCPP 2.1; 5500 in 2.0.1
MAX_BUNDLE_CERTIFICATES: Final = 6
MAX_CERTIFICATE_BYTES: Final = 4_096
_COMMON_NAME: Final = bytes.fromhex("550403")
_DOMAIN_COMPONENT: Final = bytes.fromhex("0992268993f22c640119")
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"


class KeyKind(StrEnum):
    """The public keys of ISO 15118-2 (P-256) and -20 (P-521, Ed448). Every other key is OTHER."""

    P256 = "P-256"
    P521 = "P-521"
    ED448 = "Ed448"
    OTHER = "other"


class SignatureScheme(StrEnum):
    """How a certificate was signed. Every other algorithm is OTHER."""

    ECDSA_SHA256 = "ecdsa-with-SHA256"
    ECDSA_SHA512 = "ecdsa-with-SHA512"
    ED448 = "Ed448"
    OTHER = "other"


# SubjectPublicKeyInfo up to the key bits: named curve, uncompressed point (RFC 5480); RFC 8410 for Ed448.
_KEY_PREFIXES: Final = (
    (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"), 91, KeyKind.P256),
    (bytes.fromhex("30819b301006072a8648ce3d020106052b810400230381860004"), 158, KeyKind.P521),
    (bytes.fromhex("3043300506032b6571033a00"), 69, KeyKind.ED448),
)
# Coordinate size in bytes, prime and constant b of the curves (FIPS 186-4 appendix D.1.2).
_CURVES: Final = {
    KeyKind.P256: (
        32,
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    KeyKind.P521: (
        66,
        2**521 - 1,
        int(
            "0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1"
            "bf073573df883d2c34f1ef451fd46b503f00",
            16,
        ),
    ),
}
_SCHEMES: Final = {
    bytes.fromhex("300a06082a8648ce3d040302"): SignatureScheme.ECDSA_SHA256,
    bytes.fromhex("300a06082a8648ce3d040304"): SignatureScheme.ECDSA_SHA512,
    bytes.fromhex("300506032b6571"): SignatureScheme.ED448,
}
SCHEME_OF_KEY: Final = {
    KeyKind.P256: SignatureScheme.ECDSA_SHA256,
    KeyKind.P521: SignatureScheme.ECDSA_SHA512,
    KeyKind.ED448: SignatureScheme.ED448,
}
PublicKey = ec.EllipticCurvePublicKey | ed448.Ed448PublicKey
_ECDSA_SHA256: Final = ec.ECDSA(hashes.SHA256())
_ECDSA_SHA512: Final = ec.ECDSA(hashes.SHA512())


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One certificate: its bytes and the facts read from them. `issuer` and `subject` are DER names.

    `common_names` and `domain_components` are the subject's; ISO 15118 names the role in the latter (MO, V2G,
    CPO, CPS, OEM). Nothing is read later: what can't be read is rejected when the certificate is parsed.
    """

    der: bytes
    sha256: bytes
    parsed: x509.Certificate
    serial: int
    issuer: bytes
    subject: bytes
    key: KeyKind
    key_info: bytes
    scheme: SignatureScheme
    tbs: bytes
    signature: bytes
    not_before: datetime
    not_after: datetime
    common_names: tuple[str, ...]
    domain_components: tuple[str, ...]
    extensions: Extensions

    @property
    def self_issued(self) -> bool:
        """Whether issuer and subject are the same name (RFC 5280 section 6.1)."""
        return self.issuer == self.subject

    @property
    def key_bits(self) -> bytes:
        """The content of the subjectPublicKey BIT STRING, without tag, length and unused-bits octet."""
        return key_bits(self.key_info)


def split_bundle(text: str) -> tuple[bytes, ...]:
    """Split a PEM bundle into DER certificates, in order, bounded in size and number.

    Raises:
        MalformedCertificateError: not PEM, anything but white space between the blocks, not base64, empty,
            too long or too many.
    """
    if len(text) > MAX_BUNDLE_CHARACTERS:
        raise MalformedCertificateError(
            f"certificate: {len(text)} characters; at most {MAX_BUNDLE_CHARACTERS}"
        )
    blocks: list[bytes] = []
    rest = text.strip()
    while rest:
        before, begin, after = rest.partition(_BEGIN)
        body, end, rest = after.partition(_END)
        if not begin or not end or before.strip():
            raise MalformedCertificateError(
                "certificate: expected PEM blocks of certificates and nothing else"
            )
        if len(blocks) == MAX_BUNDLE_CERTIFICATES:
            raise MalformedCertificateError(f"certificate: more than {MAX_BUNDLE_CERTIFICATES} certificates")
        blocks.append(decode_block(body))
    if not blocks:
        raise MalformedCertificateError("certificate: empty; expected the chain in PEM, leaf first")
    return tuple(blocks)


def decode_block(body: str) -> bytes:
    """Decode the base64 body of one PEM block. Raises MalformedCertificateError."""
    try:
        return binascii.a2b_base64("".join(body.split()).encode("ascii"), strict_mode=True)
    except ValueError as problem:  # binascii.Error and UnicodeEncodeError are both ValueErrors
        raise MalformedCertificateError(f"certificate: a PEM block is not base64 ({problem})") from None


def parse_certificate(der: bytes) -> Certificate:
    """Read one DER certificate.

    Raises:
        MalformedCertificateError: not one X.509 v3 certificate with a positive serial of at most 20 octets,
            equal inner and outer signature algorithms, and extensions that parse and do not repeat (RFC 5280
            section 4).
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise MalformedCertificateError(f"a certificate of {len(der)} bytes; at most {MAX_CERTIFICATE_BYTES}")
    fields = certificate_slices(der)
    try:
        parsed = x509.load_der_x509_certificate(der)
        extensions = read_extensions(parsed)
        not_before, not_after = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    except (
        ValueError,
        TypeError,
        OverflowError,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        UnsupportedAlgorithm,
        x509.UnsupportedGeneralNameType,
    ) as problem:
        raise MalformedCertificateError(f"a certificate can't be read: {problem}") from None
    common_names, domain_components = _subject_names(fields.subject)
    if parsed.version is not x509.Version.v3:
        raise MalformedCertificateError("a certificate is not X.509 version 3")
    return Certificate(
        der=der,
        sha256=hashlib.sha256(der).digest(),
        parsed=parsed,
        serial=int.from_bytes(fields.serial, "big"),
        issuer=fields.issuer,
        subject=fields.subject,
        key=_key_kind(fields.key_info),
        key_info=fields.key_info,
        scheme=_SCHEMES.get(fields.algorithm, SignatureScheme.OTHER),
        tbs=fields.tbs,
        signature=fields.signature,
        not_before=not_before,
        not_after=not_after,
        common_names=common_names,
        domain_components=domain_components,
        extensions=extensions,
    )


def key_is_sound(certificate: Certificate) -> bool:
    """Whether the public key is a point of its curve (SEC 1 section 3.2.2.1: y^2 = x^3 - 3x + b mod p).

    Infinity has no uncompressed form, and the curves' cofactor is 1, so nothing else can be wrong. Ed448
    keys are left to `cryptography`.
    """
    curve = _CURVES.get(certificate.key)
    if curve is None:
        try:
            certificate.parsed.public_key()
        except (ValueError, UnsupportedAlgorithm):
            return False
        return certificate.key is not KeyKind.OTHER
    size, prime, constant = curve
    point = certificate.key_info[-2 * size :]
    x, y = int.from_bytes(point[:size], "big"), int.from_bytes(point[size:], "big")
    return x < prime and y < prime and (y * y - (x * x - 3) * x - constant) % prime == 0


def load_public_key(certificate: Certificate) -> PublicKey:
    """Return the public key of a certificate of an allowed kind.

    Raises:
        MalformedCertificateError: the key is of another kind, or its point is not on the curve.
    """
    try:
        key = certificate.parsed.public_key()
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise MalformedCertificateError(f"a public key can't be read: {problem}") from None
    if isinstance(key, ec.EllipticCurvePublicKey | ed448.Ed448PublicKey):
        return key
    raise MalformedCertificateError("a public key is of a kind that ISO 15118 does not use")


def signed_by(certificate: Certificate, issuer_key: PublicKey, issuer_kind: KeyKind) -> bool:
    """Whether `issuer_key` signed the certificate with the one scheme of its kind."""
    return verify_signature(
        key=issuer_key,
        kind=issuer_kind,
        scheme=certificate.scheme,
        signature=certificate.signature,
        data=certificate.tbs,
    )


def verify_signature(
    *, key: PublicKey, kind: KeyKind, scheme: SignatureScheme, signature: bytes, data: bytes
) -> bool:
    """Whether `signature` over `data` is good, under the one scheme that belongs to the key's kind."""
    if scheme is SignatureScheme.OTHER or SCHEME_OF_KEY.get(kind) is not scheme:
        return False
    try:
        if isinstance(key, ed448.Ed448PublicKey):
            key.verify(signature, data)
        else:
            key.verify(signature, data, _ECDSA_SHA256 if kind is KeyKind.P256 else _ECDSA_SHA512)
    except InvalidSignature:
        return False
    return True


def scheme_of(algorithm: x509.ObjectIdentifier) -> SignatureScheme:
    """The scheme that an algorithm identifier names, for OCSP responses and CRLs."""
    return _SCHEME_OF_OID.get(algorithm.dotted_string, SignatureScheme.OTHER)


_SCHEME_OF_OID: Final = {
    "1.2.840.10045.4.3.2": SignatureScheme.ECDSA_SHA256,
    "1.2.840.10045.4.3.4": SignatureScheme.ECDSA_SHA512,
    "1.3.101.113": SignatureScheme.ED448,
}


def _key_kind(key_info: bytes) -> KeyKind:
    for prefix, length, kind in _KEY_PREFIXES:
        if len(key_info) == length and key_info.startswith(prefix):
            return kind
    return KeyKind.OTHER


def _subject_names(subject: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = attributes(subject)
    common = tuple(text for oid, text in found if oid == _COMMON_NAME)
    return common, tuple(text for oid, text in found if oid == _DOMAIN_COMPONENT)
