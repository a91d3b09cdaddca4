"""What a CRL holds, in plain values, and why it would not count: read before it is uploaded.

Owns: that description. Must not know who asks, or where lists are stored. Nothing is written.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pnc.distinguished_name import name_text
from pnc.errors import UnfitAuthorityError
from pnc.rejection_reasons import ContractRejection
from pnc.revocation_endpoints import authority_id
from pnc.revocation_evidence import verify_crl
from pnc.trust_administration import read_one

MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedCertificate:
    """A certificate that a list names: its serial in hex."""

    serial: str
    revoked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationListDescription:
    """A CRL as a person reads it: verified, of a complete scope.

    `sha256` is of its DER and `authority_sha256` of the authority's key and name, in hex. `revoked` counts
    the certificates that it lists, `newest` are up to 20 of them, the last revoked first. `points` are the
    distribution points that it is limited to, none where it is not.
    """

    sha256: str
    authority: str
    authority_sha256: str
    this_update: datetime
    usable_until: datetime
    revoked: int
    newest: tuple[RevokedCertificate, ...]
    for_leaves: bool
    for_authorities: bool
    points: tuple[str, ...]


def describe_revocation_list(der: bytes, *, authority: str, now: datetime) -> RevocationListDescription:
    """Describe a CRL in DER that the authority, given by its certificate, is said to have signed, at `now`.

    Raises UnfitAuthorityError: the authority is not one certificate, or the list would not count.
    """
    issuer = read_one(authority)
    found = verify_crl(der, issuer=issuer, now=now)
    if isinstance(found, ContractRejection):
        raise UnfitAuthorityError(f"crl: {found.detail}")
    latest = sorted(found.revoked.items(), key=lambda one: (one[1], one[0]), reverse=True)[:MOST_NAMED]
    return RevocationListDescription(
        sha256=hashlib.sha256(der).hexdigest(),
        authority=name_text(issuer.subject),
        authority_sha256=authority_id(issuer).hex(),
        this_update=found.this_update,
        usable_until=found.usable_until,
        revoked=len(found.revoked),
        newest=tuple(RevokedCertificate(serial=f"{serial:x}", revoked_at=at) for serial, at in latest),
        for_leaves=found.scope.for_leaves,
        for_authorities=found.scope.for_authorities,
        points=tuple(sorted(found.scope.points or ())),
    )
