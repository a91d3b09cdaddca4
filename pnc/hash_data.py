"""OCPP certificate hash data: the three values that name a certificate without showing it.

Owns computing, reading and matching them. Must not know which eMAID a certificate carries: hash data alone
can't prove that.
Source: OCPP 2.1 part 2, OCSPRequestDataType (the fields follow RFC 6960 section 4.1.1).
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pnc.certificate import Certificate
from pnc.errors import MalformedHashDataError

MAX_ENTRIES: Final = 4
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")


class HashAlgorithm(StrEnum):
    """HashAlgorithmEnumType."""

    SHA256 = "SHA256"
    SHA384 = "SHA384"
    SHA512 = "SHA512"


_DIGEST_BYTES: Final = {HashAlgorithm.SHA256: 32, HashAlgorithm.SHA384: 48, HashAlgorithm.SHA512: 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateHash:
    """The name of one certificate: its issuer's name and key, hashed, and its serial number."""

    algorithm: HashAlgorithm
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HashEntry:
    """One presented entry: the certificate's name and the responder that the station names."""

    certificate: CertificateHash
    responder_url: str


def issuer_hashes(issuer: Certificate, algorithm: HashAlgorithm) -> tuple[bytes, bytes]:
    """Return the hashes of an authority's DER name and of its key bits (without the BIT STRING's header)."""
    return _digest(algorithm, issuer.subject), _digest(algorithm, issuer.key_bits)


def certificate_hash(
    certificate: Certificate, issuer: Certificate, algorithm: HashAlgorithm
) -> CertificateHash:
    """Return the hash data of `certificate`, issued by `issuer`."""
    return CertificateHash(
        algorithm=algorithm,
        issuer_name_hash=_digest(algorithm, certificate.issuer),
        issuer_key_hash=_digest(algorithm, issuer.key_bits),
        serial=certificate.serial,
    )


def read_entry(entry: Mapping[str, object]) -> HashEntry:
    """Read one OCSPRequestDataType that passed its schema.

    Raises:
        MalformedHashDataError: a hash is not hexadecimal or not of its algorithm's length; the serial is not
            a positive hexadecimal number.
    """
    algorithm = HashAlgorithm(str(entry["hashAlgorithm"]))
    serial_text = str(entry["serialNumber"])
    if _HEX.fullmatch(serial_text) is None or (serial := int(serial_text, 16)) == 0:
        raise MalformedHashDataError("serialNumber: expected a positive number in hexadecimal, without 0x")
    return HashEntry(
        certificate=CertificateHash(
            algorithm=algorithm,
            issuer_name_hash=_hash_of(entry, "issuerNameHash", algorithm),
            issuer_key_hash=_hash_of(entry, "issuerKeyHash", algorithm),
            serial=serial,
        ),
        responder_url=str(entry["responderURL"]),
    )


def as_ocpp(value: CertificateHash, *, responder_url: str) -> dict[str, str]:
    """Write hash data as OCPP does: lower-case hexadecimal, the serial without leading zeros."""
    return {
        "hashAlgorithm": value.algorithm.value,
        "issuerNameHash": value.issuer_name_hash.hex(),
        "issuerKeyHash": value.issuer_key_hash.hex(),
        "serialNumber": f"{value.serial:x}",
        "responderURL": responder_url,
    }


def agrees(
    entries: tuple[HashEntry, ...], path: tuple[Certificate, ...], issuers: tuple[Certificate, ...]
) -> bool:
    """Whether every entry names a certificate of the path, and one of them names the leaf.

    `issuers[i]` issued `path[i]`.
    """
    leaf_named = False
    for entry in entries:
        places = [
            place
            for place, (certificate, issuer) in enumerate(zip(path, issuers, strict=True))
            if certificate_hash(certificate, issuer, entry.certificate.algorithm) == entry.certificate
        ]
        if not places:
            return False
        leaf_named = leaf_named or 0 in places
    return leaf_named


def _hash_of(entry: Mapping[str, object], name: str, algorithm: HashAlgorithm) -> bytes:
    text = str(entry[name])
    if len(text) != 2 * _DIGEST_BYTES[algorithm] or _HEX.fullmatch(text) is None:
        digits = 2 * _DIGEST_BYTES[algorithm]
        raise MalformedHashDataError(f"{name}: expected {digits} hexadecimal digits for {algorithm.value}")
    return bytes.fromhex(text)


def _digest(algorithm: HashAlgorithm, data: bytes) -> bytes:
    return hashlib.new(algorithm.value.lower(), data).digest()
