"""CRLs: their fields as exact slices, and the serials that they list.

Owns the encoding. Must not know whom to believe: pnc.revocation_evidence verifies signer, scope and dates.
Source: RFC 5280 section 5.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pnc.certificate import signature_after
from pnc.der import (
    CONSTRUCTED_0,
    GENERALIZED_TIME,
    INTEGER,
    PRIMITIVE_1,
    PRIMITIVE_2,
    SEQUENCE,
    UTC_TIME,
    at_end,
    boolean,
    enter,
    members,
    skip,
    time_at,
)
from pnc.errors import MalformedCertificateError
from pnc.extensions import distribution_urls, extension_list

_VERSION_2: Final = bytes.fromhex("020101")
_TIMES: Final = (UTC_TIME, GENERALIZED_TIME)
_NUMBER: Final = bytes.fromhex("551d14")
_DELTA: Final = bytes.fromhex("551d1b")
_ISSUING_POINT: Final = bytes.fromhex("551d1c")
_ONLY_LEAVES: Final = PRIMITIVE_1
_ONLY_AUTHORITIES: Final = PRIMITIVE_2
_UNFOLLOWED: Final = frozenset({0x84, 0x85})  # an indirect CRL, one of attribute certificates
_FLAGS: Final = _UNFOLLOWED | {_ONLY_LEAVES, _ONLY_AUTHORITIES}


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlScope:
    """Which certificates a CRL covers; `points` are the distribution points it is limited to."""

    for_leaves: bool = True
    for_authorities: bool = True
    points: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """One CRL. `revoked` gives the moment of each listed serial; `scope` is None for a partial CRL."""

    tbs: bytes
    algorithm: bytes
    signature: bytes
    issuer: bytes
    this_update: datetime
    next_update: datetime | None
    revoked: dict[int, datetime]
    scope: CrlScope | None


def parse_crl(der: bytes) -> RevocationList:
    """Read one CRL of version 2.

    Raises:
        MalformedCertificateError: not such a CRL in DER, or its inner and outer algorithms differ.
    """
    whole, end = enter(der, 0, SEQUENCE)
    at_end(end, len(der))
    at, tbs_end = enter(der, whole, SEQUENCE)
    if der[at : at + len(_VERSION_2)] != _VERSION_2:
        raise MalformedCertificateError("a CRL is not of version 2")
    algorithm_start = at + len(_VERSION_2)
    issuer_start = skip(der, algorithm_start)
    issuer_end = skip(der, issuer_start)
    this_update, at = time_at(der, issuer_end)
    next_update = None
    if at < tbs_end and der[at] in _TIMES:
        next_update, at = time_at(der, at)
    revoked: dict[int, datetime] = {}
    if at < tbs_end and der[at] == SEQUENCE:
        start, at = enter(der, at, SEQUENCE)
        revoked = _entries(der, start, at)
    extensions = b""
    if at != tbs_end:
        start, at = enter(der, at, CONSTRUCTED_0)
        extensions = der[start:at]
    at_end(at, tbs_end)
    algorithm = der[algorithm_start:issuer_start]
    return RevocationList(
        tbs=der[whole:tbs_end],
        algorithm=algorithm,
        signature=signature_after(der, tbs_end, algorithm=algorithm, end=end),
        issuer=der[issuer_start:issuer_end],
        this_update=this_update,
        next_update=next_update,
        revoked=revoked,
        scope=_scope(extensions),
    )


def _entries(der: bytes, at: int, end: int) -> dict[int, datetime]:
    """The listed serials. An entry whose extensions are not known still lists its certificate."""
    found: dict[int, datetime] = {}
    while at < end:
        at, entry_end = enter(der, at, SEQUENCE)
        start, at = enter(der, at, INTEGER)
        serial = int.from_bytes(der[start:at], "big")
        found[serial], at = time_at(der, at)
        if at != entry_end:
            extension_list(der[at:entry_end])
        at = entry_end
    at_end(at, end)
    return found


def _scope(extensions: bytes) -> CrlScope | None:
    """What the CRL covers; None for a partial or unnumbered one or an unknown critical extension."""
    scope: CrlScope | None = CrlScope()
    numbered = False
    for extension in extension_list(extensions) if extensions else ():
        if extension.kind == _ISSUING_POINT:
            scope = _issuing_point(extension.value)
        elif extension.kind == _DELTA or extension.critical:
            return None
        numbered = numbered or extension.kind == _NUMBER
        if scope is None:
            return None
    # RFC 5280 section 5.2.3: every conforming CRL is numbered.
    return scope if numbered else None


def _issuing_point(value: bytes) -> CrlScope | None:
    """Read issuingDistributionPoint (RFC 5280 section 5.2.5); None for a scope that is not followed."""
    points: frozenset[str] | None = None
    flags: dict[int, bool] = {}
    for tag, part in members(value):
        if tag == CONSTRUCTED_0 and part[:1] == bytes((CONSTRUCTED_0,)):
            points = frozenset(distribution_urls(part))
        elif tag in _FLAGS:
            flags[tag] = boolean(part)
        else:  # a name relative to the issuer's, some reasons only, or unknown
            return None
    if any(flags.get(tag) for tag in _UNFOLLOWED):
        return None
    return CrlScope(
        for_leaves=not flags.get(_ONLY_AUTHORITIES, False),
        for_authorities=not flags.get(_ONLY_LEAVES, False),
        points=points,
    )
