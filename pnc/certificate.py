"""Certificates: exact bytes, and the few facts that the rules need.

Owns PEM bundles, and which key and signature kinds exist at all. Must not know which of them is allowed
where: that is pnc.profile. Names are compared by their bytes, as RFC 5280 section 7.1 permits.
"""

import binascii
import hashlib
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, cast

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from pnc.der import BIT_STRING, INTEGER, SEQUENCE, at_end, enter, integer, skip, time_at
from pnc.distinguished_name import subject_names
from pnc.errors import MalformedCertificateError
from pnc.extensions import Extensions, read_extensions

EMPTY_NAME: Final = b"\x30\x00"
MAX_BUNDLE_CHARACTERS: Final = 10_000  # AuthorizeRequest.certificate of OCPP 2.1; 5500 in 2.0.1
MAX_BUNDLE_CERTIFICATES: Final = 6
MAX_CERTIFICATE_BYTES: Final = 4_096
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_VERSION_3: Final = bytes.fromhex("a003020102")
_UNIQUE_IDS: Final = (0x81, 0x82)  # of the issuer and the subject: read over
_EXTENSIONS: Final = 0xA3
_MAX_SERIAL_BYTES: Final = 20  # RFC 5280 section 4.1.2.2
_PEM_LINE: Final = 64


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


# Looked up once: each access to a member of an enumeration takes as long as a small function.
_P256: Final = KeyKind.P256
_P521: Final = KeyKind.P521
_ED448: Final = KeyKind.ED448
_OTHER_SCHEME: Final = SignatureScheme.OTHER
# SubjectPublicKeyInfo up to the key bits: named curve, uncompressed point (RFC 5480); RFC 8410 for Ed448.
_KEY_PREFIXES: Final = (
    (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"), 91, KeyKind.P256),
    (bytes.fromhex("30819b301006072a8648ce3d020106052b810400230381860004"), 158, KeyKind.P521),
    (bytes.fromhex("3043300506032b6571033a00"), 69, KeyKind.ED448),
)
# Coordinate size in bytes, prime and constant b of the curves (FIPS 186-4 appendix D.1.2).
_CURVE_P256: Final = (
    32,
    2**256 - 2**224 + 2**192 + 2**96 - 1,
    0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
)
_CURVE_P521: Final = (
    66,
    2**521 - 1,
    int(
        "0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1"
        "bf073573df883d2c34f1ef451fd46b503f00",
        16,
    ),
)
_SCHEMES: Final = {
    bytes.fromhex("300a06082a8648ce3d040302"): SignatureScheme.ECDSA_SHA256,
    bytes.fromhex("300a06082a8648ce3d040304"): SignatureScheme.ECDSA_SHA512,
    # With parameters NULL, which RFC 5758 wants absent: signers in hardware write them.
    bytes.fromhex("300c06082a8648ce3d0403020500"): SignatureScheme.ECDSA_SHA256,
    bytes.fromhex("300c06082a8648ce3d0403040500"): SignatureScheme.ECDSA_SHA512,
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


class Certificate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One certificate: its bytes and the facts read from them. `issuer` and `subject` are DER names.

    `common_names` and `domain_components` are the subject's; ISO 15118 names the role in the latter (MO, V2G,
    CPO, CPS, OEM). Nothing is read later: what can't be read is rejected when the certificate is parsed.
    """

    der: bytes
    sha256: bytes
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
    subject_key_id: bytes | None
    extensions: Extensions

    @property
    def self_issued(self) -> bool:
        """Whether issuer and subject are the same name (RFC 5280 section 6.1)."""
        return self.issuer == self.subject

    @property
    def key_bits(self) -> bytes:
        """The content of the subjectPublicKey BIT STRING, without tag, length and unused-bits octet."""
        start, _ = enter(self.key_info, 0, SEQUENCE)
        bits_start, bits_end = enter(self.key_info, skip(self.key_info, start), BIT_STRING)
        return self.key_info[bits_start + 1 : bits_end]

    @property
    def pem(self) -> str:
        """The certificate in PEM (RFC 7468)."""
        body = binascii.b2a_base64(self.der, newline=False).decode("ascii")
        lines = (body[at : at + _PEM_LINE] for at in range(0, len(body), _PEM_LINE))
        return "\n".join((_BEGIN, *lines, _END, ""))


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
        # Most blocks have no other white space, and most of the time of a general search would be lost.
        return binascii.a2b_base64(body.replace("\n", ""), strict_mode=True)
    except ValueError:
        pass
    try:
        return binascii.a2b_base64("".join(body.split()).encode("ascii"), strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are both ValueErrors
        raise MalformedCertificateError("certificate: a PEM block is not base64") from None


def parse_certificate(der: bytes) -> Certificate:
    """Read one DER certificate.

    Encodings that authorities issue and that have one meaning are read although DER has a shorter one:
    `cA FALSE`, `critical FALSE`, parameters NULL, trailing zero bits (pnc/der.py).

    Raises:
        MalformedCertificateError: not one X.509 v3 certificate with a positive serial of at most 20 octets,
            equal inner and outer signature algorithms, and extensions that parse and do not repeat (RFC 5280
            section 4).
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise MalformedCertificateError(f"a certificate of {len(der)} bytes; at most {MAX_CERTIFICATE_BYTES}")
    whole, whole_end = enter(der, 0, SEQUENCE)
    if whole_end != len(der):
        raise MalformedCertificateError("a certificate is followed by other bytes")
    at, tbs_end = enter(der, whole, SEQUENCE)
    if not der.startswith(_VERSION_3, at):
        raise MalformedCertificateError("a certificate is not X.509 version 3")
    serial_start = at + len(_VERSION_3)
    algorithm_start = skip(der, serial_start)
    issuer_start = skip(der, algorithm_start)
    validity_start = skip(der, issuer_start)
    subject_start = skip(der, validity_start)
    key_start = skip(der, subject_start)
    key_end = skip(der, key_start)
    if der[serial_start] != INTEGER or der[validity_start] != SEQUENCE:
        raise MalformedCertificateError("a certificate's serial is no integer, or its validity no sequence")
    # Two times are shorter than 128 bytes, so is a serial: what follows a longer length fits neither.
    not_before, at = time_at(der, validity_start + 2)
    not_after, at = time_at(der, at)
    at_end(at, subject_start)
    algorithm = der[algorithm_start:issuer_start]
    key_info, subject = der[key_start:key_end], der[subject_start:key_start]
    common_names, domain_components = subject_names(subject)
    extensions, subject_key_id = read_extensions(_extensions(der, key_end, tbs_end))
    return Certificate(
        der=der,
        sha256=hashlib.sha256(der).digest(),
        serial=_serial(der[serial_start + 2 : algorithm_start]),
        issuer=der[issuer_start:validity_start],
        subject=subject,
        key=_key_kind(key_info),
        key_info=key_info,
        scheme=_SCHEMES.get(algorithm, _OTHER_SCHEME),
        tbs=der[whole:tbs_end],
        signature=signature_after(der, tbs_end, algorithm=algorithm, end=whole_end),
        not_before=not_before,
        not_after=not_after,
        common_names=common_names,
        domain_components=domain_components,
        subject_key_id=subject_key_id,
        extensions=extensions,
    )


def signature_after(der: bytes, at: int, *, algorithm: bytes, end: int) -> bytes:
    """Return the signature that follows what it signs; between them stands its algorithm, up to `end`.

    Raises:
        MalformedCertificateError: another algorithm than `algorithm`, the one inside, or no whole octets.
    """
    outer_end = at + len(algorithm)
    if not der.startswith(algorithm, at):
        raise MalformedCertificateError("the inner and outer signature algorithms differ")
    start, signature_end = enter(der, outer_end, BIT_STRING)
    if start == signature_end or der[start] or signature_end != end:
        raise MalformedCertificateError("a signed object does not end with a signature of whole octets")
    return der[start + 1 : signature_end]


def key_is_sound(certificate: Certificate) -> bool:
    """Whether the public key is a point of its curve (SEC 1 section 3.2.2.1: y^2 = x^3 - 3x + b mod p).

    Infinity has no uncompressed form, and the curves' cofactor is 1, so nothing else can be wrong. Ed448
    keys are left to `cryptography`.
    """
    kind = certificate.key
    if kind is _P256:  # no mapping: the members of an enumeration are slow keys
        size, prime, constant = _CURVE_P256
    elif kind is _P521:
        size, prime, constant = _CURVE_P521
    else:
        try:
            load_public_key(certificate)
        except MalformedCertificateError:
            return False
        return kind is not KeyKind.OTHER
    key_info = certificate.key_info
    x, y = int.from_bytes(key_info[-2 * size : -size], "big"), int.from_bytes(key_info[-size:], "big")
    return x < prime and y < prime and (y * y - (x * x - 3) * x - constant) % prime == 0


def load_public_key(certificate: Certificate) -> PublicKey:
    """Return the public key of a certificate of an allowed kind.

    Raises:
        MalformedCertificateError: the key is of another kind, or its point is not on the curve.
    """
    return _loaded(certificate.key_info)


@lru_cache(maxsize=1_024)
def _loaded(key_info: bytes) -> PublicKey:
    try:
        key = serialization.load_der_public_key(key_info)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedCertificateError("a public key is not a point of a known curve") from None
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
    if scheme is _OTHER_SCHEME or SCHEME_OF_KEY.get(kind) is not scheme:
        return False
    try:
        # By the kind, not by isinstance: the key's classes are abstract, and checking them is slow.
        if kind is _ED448:
            cast("ed448.Ed448PublicKey", key).verify(signature, data)
        else:
            algorithm = _ECDSA_SHA256 if kind is _P256 else _ECDSA_SHA512
            cast("ec.EllipticCurvePublicKey", key).verify(signature, data, algorithm)
    except InvalidSignature:
        return False
    return True


def scheme_of(algorithm: bytes) -> SignatureScheme:
    """The scheme that an AlgorithmIdentifier in DER names."""
    return _SCHEMES.get(algorithm, SignatureScheme.OTHER)


def _serial(value: bytes) -> int:
    serial = integer(value)
    if serial <= 0 or len(value) > _MAX_SERIAL_BYTES:
        raise MalformedCertificateError("a serial number is not positive and of at most 20 octets")
    return serial


def _extensions(der: bytes, at: int, end: int) -> bytes:
    """The Extensions after a certificate's key, empty when there are none."""
    if at < end and der[at] != _EXTENSIONS:
        for tag in _UNIQUE_IDS:
            if at < end and der[at] == tag:
                at = skip(der, at)
    if at == end:
        return b""
    start, stop = enter(der, at, _EXTENSIONS)
    at_end(stop, end)
    return der[start:stop]


def _key_kind(key_info: bytes) -> KeyKind:
    for prefix, length, kind in _KEY_PREFIXES:
        if len(key_info) == length and key_info.startswith(prefix):
            return kind
    return KeyKind.OTHER
