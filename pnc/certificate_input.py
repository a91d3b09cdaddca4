"""Certificates as people hand them in: PEM with text around it, PKCS #7 bundles, base64 of DER.

Owns the forms. Must not know what the certificates are for. What a station sends is read strictly instead
(pnc.certificate): a person's file has remarks in it, a vehicle's message has not. A private key is refused;
no error repeats any of the input.
Source: RFC 7468 sections 2, 5.2 and 8, RFC 2315 (certs-only SignedData), RFC 5958, RFC 5915.
"""

import re
from collections.abc import Sequence
from typing import Final

from pnc.certificate import Certificate, decode_block, parse_certificate
from pnc.der import (
    CONSTRUCTED_0,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    at_end,
    elements,
    enter,
    members,
    skip,
)
from pnc.errors import MalformedCertificateError

MAX_CHARACTERS: Final = 1_000_000
MAX_CERTIFICATES: Final = 500
_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATE_LABELS: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
_BUNDLE_LABELS: Final = frozenset({"PKCS7", "CMS"})
_SIGNED_DATA: Final = bytes.fromhex("2a864886f70d010702")
_FIXED_FIELDS: Final = 3  # of SignedData, before its certificates: version, algorithms, content
_PRIVATE_KEY: Final = "a private key: certificates only, never a key; nothing was stored"
_ENCRYPTED_KEY: Final = (SEQUENCE, OCTET_STRING)


def read_certificates(text: str) -> list[Certificate]:
    """Read every certificate of a text, in order, each once.

    Raises:
        MalformedCertificateError: a private key is among them, there is no certificate, one can't be read, or
            the text is too long.
    """
    found: dict[bytes, Certificate] = {}
    for der in _ders(text):
        certificate = parse_certificate(der)
        found[certificate.sha256] = certificate
    return list(found.values())


def read_certificates_apart(text: str) -> tuple[list[Certificate], list[str]]:
    """Read a list whose certificates stand each for itself.

    Returns those that can be read, and a sentence about each of the others.

    Raises:
        MalformedCertificateError: a private key is among them, there is no certificate, or the text is too
            long.
    """
    found: dict[bytes, Certificate] = {}
    problems: list[str] = []
    for der in _ders(text):
        try:
            certificate = parse_certificate(der)
        except MalformedCertificateError as problem:
            problems.append(str(problem))
        else:
            found[certificate.sha256] = certificate
    return list(found.values()), problems


def leaf_first(certificates: Sequence[Certificate]) -> list[Certificate]:
    """Put the one certificate that is no authority first; the others keep their order.

    Raises:
        MalformedCertificateError: there is none, or more than one.
    """
    leaves = [item for item in certificates if not item.extensions.is_authority]
    if len(leaves) != 1:
        raise MalformedCertificateError(
            f"certificate: {len(leaves)} certificates that are no authority's; expected the contract's alone"
        )
    return [*leaves, *(item for item in certificates if item is not leaves[0])]


def _ders(text: str) -> list[bytes]:
    if len(text) > MAX_CHARACTERS:
        raise MalformedCertificateError(f"certificate: {len(text)} characters; at most {MAX_CHARACTERS}")
    if "PRIVATE KEY" in text:
        raise MalformedCertificateError(_PRIVATE_KEY)
    found: list[bytes] = []
    if "-----BEGIN" in text:
        for match in _BLOCK.finditer(text):
            label, body = match.groups()
            if label in _CERTIFICATE_LABELS:
                found.append(decode_block(body))
            elif label in _BUNDLE_LABELS:
                found += _bundled(decode_block(body))
            else:
                raise MalformedCertificateError(f"certificate: a PEM block of {label}, not of a certificate")
    else:
        found = _unarmored(decode_block(text))
    if not found:
        raise MalformedCertificateError("certificate: expected PEM, PKCS #7 or base64 of DER")
    if len(found) > MAX_CERTIFICATES:
        raise MalformedCertificateError(f"certificate: more than {MAX_CERTIFICATES} certificates")
    return found


def _unarmored(der: bytes) -> list[bytes]:
    """DER without a label: a private key, a PKCS #7 bundle, or a certificate, by its first fields."""
    kinds = [tag for tag, _ in members(der)]
    if kinds[:1] == [INTEGER] or tuple(kinds) == _ENCRYPTED_KEY:
        raise MalformedCertificateError(_PRIVATE_KEY)
    return _bundled(der) if kinds[:1] == [OBJECT_IDENTIFIER] else [der]


def _bundled(der: bytes) -> list[bytes]:
    """The certificates of a PKCS #7 SignedData, which may carry nothing else of interest."""
    parts = members(der)
    match parts:
        case [(0x06, kind), (0xA0, explicit)] if kind == _SIGNED_DATA:
            start, end = enter(explicit, 0, SEQUENCE)
        case _:
            raise MalformedCertificateError("certificate: a PKCS #7 object that is no signed data")
    at_end(end, len(explicit))
    fields = elements(explicit, start, end)
    if len(fields) <= _FIXED_FIELDS or fields[_FIXED_FIELDS][0] != CONSTRUCTED_0:
        raise MalformedCertificateError("certificate: a PKCS #7 bundle without certificates")
    listed = fields[_FIXED_FIELDS][1]
    found: list[bytes] = []
    at = 0
    while at < len(listed):
        next_at = skip(listed, at)
        found.append(listed[at:next_at])
        at = next_at
    return found
