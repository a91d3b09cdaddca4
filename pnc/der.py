"""DER: the exact slices of a certificate that rules and hashes need, in bytes that `cryptography` parses.

Owns definite, minimal lengths and the fields of a certificate as exact slices of its bytes: names are
compared
and hashed, and signatures checked, over what was sent, never over a re-encoding. Must not know what a field
means.
Source: ITU-T X.690 section 10, RFC 5280 section 4.1.
"""

from dataclasses import dataclass
from typing import Final

from pnc.errors import MalformedCertificateError

SEQUENCE: Final = 0x30
SET: Final = 0x31
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OBJECT_IDENTIFIER: Final = 0x06
_VERSION: Final = b"\xa0"
_LONG_FORM: Final = 0x80
_MAX_LENGTH_BYTES: Final = 3
_SIGN_BIT: Final = 0x80
_MAX_SERIAL_BYTES: Final = 20  # RFC 5280 section 4.1.2.2
_UTF8_STRING: Final = 0x0C
_ASCII_STRINGS: Final = frozenset({0x12, 0x13, 0x16})  # NumericString, PrintableString, IA5String
_OTHER_STRINGS: Final = frozenset({0x03, 0x14, 0x1C, 0x1E})  # of scripts and encodings that no rule accepts


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSlices:
    """The fields of one certificate as exact slices of its bytes, each with its tag and length but two.

    `serial` is the INTEGER's content; `signature` the BIT STRING's, without its unused-bits octet.
    """

    tbs: bytes
    serial: bytes
    algorithm: bytes
    issuer: bytes
    subject: bytes
    key_info: bytes
    signature: bytes


def certificate_slices(der: bytes) -> CertificateSlices:
    """Cut a certificate into its fields.

    Raises:
        MalformedCertificateError: not DER, followed by other bytes, a serial number that is not positive and
            of at most 20 octets, or an outer signature algorithm other than the inner one.
    """
    whole, whole_end = enter(der, 0, SEQUENCE)
    at, tbs_end = enter(der, whole, SEQUENCE)
    if whole_end != len(der):
        raise MalformedCertificateError("a certificate is followed by other bytes")
    if der[at : at + 1] == _VERSION:
        at = skip(der, at)
    serial_start, at = enter(der, at, INTEGER)
    serial = der[serial_start:at]
    if not serial or serial[0] & _SIGN_BIT or len(serial) > _MAX_SERIAL_BYTES or not any(serial):
        raise MalformedCertificateError("a serial number is not positive and of at most 20 octets")
    algorithm_end = skip(der, at)
    issuer_end = skip(der, algorithm_end)
    validity_end = skip(der, issuer_end)
    subject_end = skip(der, validity_end)
    key_end = skip(der, subject_end)
    algorithm = der[at:algorithm_end]
    outer_end = tbs_end + len(algorithm)
    if der[tbs_end:outer_end] != algorithm:
        raise MalformedCertificateError("the inner and outer signature algorithms of a certificate differ")
    signature_start, signature_end = enter(der, outer_end, BIT_STRING)
    if der[signature_start : signature_start + 1] != b"\x00" or signature_end != whole_end:
        raise MalformedCertificateError("a certificate does not end with a signature of whole octets")
    return CertificateSlices(
        tbs=der[whole:tbs_end],
        serial=serial,
        algorithm=algorithm,
        issuer=der[algorithm_end:issuer_end],
        subject=der[validity_end:subject_end],
        key_info=der[subject_end:key_end],
        signature=der[signature_start + 1 : signature_end],
    )


def crl_issuer(der: bytes) -> bytes:
    """The issuer's Name of a CRL as an exact slice of its bytes (RFC 5280 section 5.1). Raises as above."""
    whole, _ = enter(der, 0, SEQUENCE)
    at, _ = enter(der, whole, SEQUENCE)
    if der[at : at + 1] == bytes((INTEGER,)):
        at = skip(der, at)
    start = skip(der, at)
    return der[start : skip(der, start)]


def key_bits(key_info: bytes) -> bytes:
    """The subjectPublicKey bits of a SubjectPublicKeyInfo, without the unused-bits octet.

    Raises:
        MalformedCertificateError: not a SubjectPublicKeyInfo.
    """
    start, _ = enter(key_info, 0, SEQUENCE)
    bits_start, bits_end = enter(key_info, skip(key_info, start), BIT_STRING)
    return key_info[bits_start + 1 : bits_end]


def attributes(name: bytes) -> list[tuple[bytes, str]]:
    """The attributes of a DER Name in order: the type's OID content, and the text.

    A text in an encoding that no rule accepts (T61, BMP, Universal) is read as replacement characters.

    Raises:
        MalformedCertificateError: not a Name, or an attribute that is no string.
    """
    attributes: list[tuple[bytes, str]] = []
    at, name_end = enter(name, 0, SEQUENCE)
    while at < name_end:
        at, set_end = enter(name, at, SET)
        while at < set_end:
            at, pair_end = enter(name, at, SEQUENCE)
            oid_start, oid_end = enter(name, at, OBJECT_IDENTIFIER)
            value_end = skip(name, oid_end)
            if value_end != pair_end:
                raise MalformedCertificateError("a name's attribute is more than a type and a value")
            value_start, _ = enter(name, oid_end, name[oid_end])
            attributes.append((name[oid_start:oid_end], _text(name[oid_end], name[value_start:value_end])))
            at = pair_end
        if at != set_end:
            raise MalformedCertificateError("a name's part is longer than its container")
    if at != name_end:
        raise MalformedCertificateError("a name's part is longer than its container")
    return attributes


def enter(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Return where the content of the element at `at` starts and ends. Raises MalformedCertificateError."""
    try:
        if der[at] != tag:
            raise MalformedCertificateError(f"DER: tag {tag:#x} expected at byte {at}, found {der[at]:#x}")
        start = at + 2
        length = der[at + 1]
    except IndexError:
        raise MalformedCertificateError(f"DER: ends at byte {at}, where another element is due") from None
    if length >= _LONG_FORM:
        start, length = _long_length(der, start, length & ~_LONG_FORM)
    if start + length > len(der):
        raise MalformedCertificateError(f"DER: the element at byte {at} is longer than its container")
    return start, start + length


def skip(der: bytes, at: int) -> int:
    """Return where the element at `at`, whatever its tag, ends. Raises MalformedCertificateError."""
    if at + 1 >= len(der):
        raise MalformedCertificateError(f"DER: ends at byte {at}, where another element is due")
    length = der[at + 1]
    if length >= _LONG_FORM:
        return enter(der, at, der[at])[1]
    end = at + 2 + length
    if end > len(der):
        raise MalformedCertificateError(f"DER: the element at byte {at} is longer than its container")
    return end


def _long_length(der: bytes, start: int, size: int) -> tuple[int, int]:
    length = int.from_bytes(der[start : start + size], "big")
    minimal = length >= _LONG_FORM and length >> (8 * (size - 1)) != 0 if size else False
    if not 1 <= size <= _MAX_LENGTH_BYTES or not minimal:
        raise MalformedCertificateError(f"DER: the length before byte {start} is not definite and minimal")
    return start + size, length


def _text(tag: int, value: bytes) -> str:
    try:
        if tag == _UTF8_STRING:
            return value.decode("utf-8")
        if tag in _ASCII_STRINGS:
            return value.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedCertificateError("a name's attribute is not in its declared encoding") from None
    if tag in _OTHER_STRINGS:
        return "\N{REPLACEMENT CHARACTER}" * max(1, len(value))
    raise MalformedCertificateError("a name's attribute is no string")
