"""Trust: which roots are anchors, which cross certificates lead to them, and how strict each is.

Owns the immutable snapshot that path building reads. Must not know where it is stored or how it changes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pnc.certificate import Certificate, PublicKey, load_public_key


class AnchorPurpose(StrEnum):
    """Which kind of root an anchor is (ISO 15118-2 annex E)."""

    MO_ROOT = "mo_root"
    V2G_ROOT = "v2g_root"


class RevocationPolicy(StrEnum):
    """What an absent or unreachable revocation source means. Revoked is rejected under both."""

    REQUIRE = "require"
    SOFT = "soft"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchor:
    """One root that contracts may chain to, with its policy and the reason of that decision.

    `contract_authorities` names the authorities below it that may issue contracts (pnc.contract_authority);
    empty names none.
    """

    certificate: Certificate
    purpose: AnchorPurpose
    policy: RevocationPolicy = RevocationPolicy.REQUIRE
    policy_reason: str = ""
    contract_authorities: frozenset[bytes] = frozenset()
    key: PublicKey = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", load_public_key(self.certificate))

    def valid_at(self, now: datetime) -> bool:
        """Whether the anchor's own validity covers `now`."""
        return self.certificate.not_before <= now <= self.certificate.not_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The anchors and cross certificates of one environment at one version."""

    version: int
    anchors: tuple[TrustAnchor, ...]
    cross_certificates: tuple[Certificate, ...] = ()

    def anchors_named(self, name: bytes) -> tuple[TrustAnchor, ...]:
        """The anchors whose subject is the DER name `name`."""
        return tuple(anchor for anchor in self.anchors if anchor.certificate.subject == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedRoot:
    """A root as it is shown: its certificate, its name for people, and since when it is trusted."""

    certificate: Certificate
    purpose: AnchorPurpose
    subject: str
    added_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustChange:
    """Who changes trust, why and when. `reason` stays in the history."""

    actor: str
    reason: str
    now: datetime


def trust_of(
    *, version: int, anchors: Iterable[TrustAnchor], cross_certificates: Iterable[Certificate] = ()
) -> Trust:
    """Build a snapshot, without repeats."""
    distinct = {anchor.certificate.sha256: anchor for anchor in anchors}
    distinct_cross = {certificate.sha256: certificate for certificate in cross_certificates}
    return Trust(
        version=version, anchors=tuple(distinct.values()), cross_certificates=tuple(distinct_cross.values())
    )
