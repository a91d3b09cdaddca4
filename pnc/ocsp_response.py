"""OCSP responses: their fields as exact slices, as far as the rules need them.

Owns the encoding. Must not know whom to believe: pnc.revocation_evidence verifies signer, subject and dates.
Source: RFC 6960 section 4.2.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pnc.certificate import signature_after
from pnc.der import (
    CONSTRUCTED_0,
    CONSTRUCTED_1,
    ENUMERATED,
    GENERALIZED_TIME,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    at_end,
    content,
    elements,
    enter,
    integer,
    members,
    moment,
    oid,
    skip,
)
from pnc.errors import MalformedCertificateError
from pnc.extensions import extension_list

_BASIC: Final = bytes.fromhex("2b0601050507300101")
_GOOD: Final = 0x80
_REVOKED: Final = 0xA1
_UNKNOWN: Final = 0x82
# Nonce and archive cutoff: they change nothing about the statement (RFC 6960 sections 4.4.1 and 4.4.4).
_HARMLESS: Final = frozenset({bytes.fromhex("2b0601050507300102"), bytes.fromhex("2b0601050507300106")})
_REQUIRED_FIELDS: Final = 3  # of a response's data and of each statement
_CERT_ID_FIELDS: Final = (SEQUENCE, OCTET_STRING, OCTET_STRING, INTEGER)


class RevocationStatus(StrEnum):
    """The status of a certificate by its authority (CertStatus)."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


class ResponderOutcome(StrEnum):
    """OCSPResponseStatus: whether there is an answer at all."""

    SUCCESSFUL = "successful"
    MALFORMED_REQUEST = "malformedRequest"
    INTERNAL_ERROR = "internalError"
    TRY_LATER = "tryLater"
    SIGNATURE_REQUIRED = "sigRequired"
    UNAUTHORIZED = "unauthorized"


_OUTCOMES: Final = {
    b"\x00": ResponderOutcome.SUCCESSFUL,
    b"\x01": ResponderOutcome.MALFORMED_REQUEST,
    b"\x02": ResponderOutcome.INTERNAL_ERROR,
    b"\x03": ResponderOutcome.TRY_LATER,
    b"\x05": ResponderOutcome.SIGNATURE_REQUIRED,
    b"\x06": ResponderOutcome.UNAUTHORIZED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleResponse:
    """The statement about one certificate, which its issuer's hashes and its serial name.

    `hash_algorithm` is a dotted OID. `unknown_critical` names extensions that must be honored and are not
    known.
    """

    hash_algorithm: str
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int
    status: RevocationStatus
    this_update: datetime
    next_update: datetime | None
    revoked_at: datetime | None
    unknown_critical: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OcspResponse:
    """One response: what was signed, how, by whom perhaps (`certificates`, in DER), and its statements."""

    outcome: ResponderOutcome
    tbs: bytes = b""
    algorithm: bytes = b""
    signature: bytes = b""
    certificates: tuple[bytes, ...] = ()
    singles: tuple[SingleResponse, ...] = ()
    unknown_critical: tuple[str, ...] = ()


def parse_ocsp_response(der: bytes) -> OcspResponse:
    """Read one OCSP response.

    Raises:
        MalformedCertificateError: not a basic OCSP response in DER.
    """
    parts = members(der)
    outcome = _OUTCOMES.get(parts[0][1]) if parts and parts[0][0] == ENUMERATED else None
    if outcome is None:
        raise MalformedCertificateError("an OCSP response does not begin with a known status")
    if outcome is not ResponderOutcome.SUCCESSFUL:
        return OcspResponse(outcome=outcome)
    match parts[1:]:
        case [(0xA0, explicit)]:
            inside = members(explicit)
        case _:
            raise MalformedCertificateError("an OCSP response has no answer in it")
    match inside:
        case [(0x06, kind), (0x04, basic)] if kind == _BASIC:
            return _basic_response(basic)
        case _:
            raise MalformedCertificateError("an OCSP response is not of the basic kind")


def _basic_response(der: bytes) -> OcspResponse:
    whole, end = enter(der, 0, SEQUENCE)
    at_end(end, len(der))
    tbs_end = skip(der, whole)
    algorithm_end = skip(der, tbs_end)
    algorithm = der[tbs_end:algorithm_end]
    signature_end = skip(der, algorithm_end)
    certificates: tuple[bytes, ...] = ()
    if signature_end != end:
        start, certificates_end = enter(der, signature_end, CONSTRUCTED_0)
        at_end(certificates_end, end)
        certificates = _certificates(der[start:certificates_end])
    tbs = der[whole:tbs_end]
    singles, unknown = _response_data(tbs)
    return OcspResponse(
        outcome=ResponderOutcome.SUCCESSFUL,
        tbs=tbs,
        algorithm=algorithm,
        signature=signature_after(der, tbs_end, algorithm=algorithm, end=signature_end),
        certificates=certificates,
        singles=singles,
        unknown_critical=unknown,
    )


def _certificates(der: bytes) -> tuple[bytes, ...]:
    at, end = enter(der, 0, SEQUENCE)
    at_end(end, len(der))
    found: list[bytes] = []
    while at < end:
        next_at = skip(der, at)
        found.append(der[at:next_at])
        at = next_at
    at_end(at, end)
    return tuple(found)


def _response_data(tbs: bytes) -> tuple[tuple[SingleResponse, ...], tuple[str, ...]]:
    """The statements, and the response's own extensions that must be honored and are not known."""
    parts = members(tbs)
    if parts and parts[0][0] == CONSTRUCTED_0:  # version 1, written out although it is the default
        version = parts.pop(0)[1]
        if content(version, INTEGER) != b"\x00":
            raise MalformedCertificateError("an OCSP response is not of version 1")
    extensions = (
        parts.pop()[1] if parts and parts[-1][0] == CONSTRUCTED_1 and len(parts) > _REQUIRED_FIELDS else b""
    )
    match parts:
        case [(0xA1 | 0xA2, _), (0x18, produced_at), (0x30, listed)]:
            moment(produced_at, GENERALIZED_TIME)
        case _:
            raise MalformedCertificateError("an OCSP response is not signed by a named responder")
    singles = elements(listed, 0, len(listed))
    if any(tag != SEQUENCE for tag, _ in singles):
        raise MalformedCertificateError("an OCSP response lists something other than statements")
    return tuple(_single(value) for _, value in singles), _unknown_critical(extensions)


def _single(value: bytes) -> SingleResponse:
    parts = elements(value, 0, len(value))
    if len(parts) < _REQUIRED_FIELDS or parts[0][0] != SEQUENCE or parts[2][0] != GENERALIZED_TIME:
        raise MalformedCertificateError("a statement of an OCSP response lacks a field")
    names = elements(parts[0][1], 0, len(parts[0][1]))
    if tuple(tag for tag, _ in names) != _CERT_ID_FIELDS:
        raise MalformedCertificateError("a statement of an OCSP response names no certificate")
    status, revoked_at = _status(*parts[1])
    rest = parts[3:]
    next_update = None
    if rest and rest[0][0] == CONSTRUCTED_0:
        next_update = moment(content(rest.pop(0)[1], GENERALIZED_TIME), GENERALIZED_TIME)
    extensions = rest.pop(0)[1] if rest and rest[0][0] == CONSTRUCTED_1 else b""
    if rest:
        raise MalformedCertificateError("a statement of an OCSP response holds more than its fields")
    return SingleResponse(
        hash_algorithm=_algorithm(names[0][1]),
        issuer_name_hash=names[1][1],
        issuer_key_hash=names[2][1],
        serial=integer(names[3][1]),
        status=status,
        this_update=moment(parts[2][1], GENERALIZED_TIME),
        next_update=next_update,
        revoked_at=revoked_at,
        unknown_critical=_unknown_critical(extensions),
    )


def _status(tag: int, value: bytes) -> tuple[RevocationStatus, datetime | None]:
    if tag == _REVOKED:
        parts = elements(value, 0, len(value))
        if parts and parts[0][0] == GENERALIZED_TIME and len(parts) <= 2:  # noqa: PLR2004 - a time, and perhaps a reason
            return RevocationStatus.REVOKED, moment(parts[0][1], GENERALIZED_TIME)
    elif not value and tag == _GOOD:
        return RevocationStatus.GOOD, None
    elif not value and tag == _UNKNOWN:
        return RevocationStatus.UNKNOWN, None
    raise MalformedCertificateError("a statement of an OCSP response has no known status")


def _algorithm(value: bytes) -> str:
    parts: Sequence[tuple[int, bytes]] = elements(value, 0, len(value))
    match parts:
        case [(0x06, kind)] | [(0x06, kind), (0x05, b"")]:
            return oid(kind)
        case _:
            raise MalformedCertificateError("a statement of an OCSP response names no hash algorithm")


def _unknown_critical(extensions: bytes) -> tuple[str, ...]:
    return tuple(
        oid(extension.kind)
        for extension in (extension_list(extensions) if extensions else ())
        if extension.critical and extension.kind not in _HARMLESS
    )
