"""Chains: from the PEM bundle a station sends to a path that ends in an anchor, or the one reason why not.

Owns path building and validation (RFC 5280 section 6.1 without policies and name constraints, which the
profile rejects), bounded in certificates and signature checks. Must not know revocation, contracts or OCPP.

The bundle is leaf first. Self-issued certificates in it are never trusted and are ignored: a root counts only
when it is an anchor here. At most two sub-authorities of the path come from the bundle; a cross certificate
held by this system may follow. What else the bundle holds refuses nothing that has a path. Every certificate
on the path passes the profile, and its signature is checked with its issuer's key.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from pnc.certificate import (
    EMPTY_NAME,
    MAX_BUNDLE_CHARACTERS,
    Certificate,
    PublicKey,
    decode_block,
    load_public_key,
    parse_certificate,
    signed_by,
    split_bundle,
)
from pnc.errors import MalformedCertificateError
from pnc.profile import EDITION_OF_KEY, ProfileRules, authority_rejection, leaf_rejection
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.trust import Trust, TrustAnchor

MAX_SIGNATURE_CHECKS: Final = 12
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_MEMO_SIZE: Final = 1_024
_WAYS_PER_TAIL: Final = 8


class ValidChain(msgspec.Struct, frozen=True, kw_only=True):
    """A good chain: the leaf, then each issuer up to but not including the anchor."""

    path: tuple[Certificate, ...]
    anchor: TrustAnchor

    @property
    def leaf(self) -> Certificate:
        """The contract certificate."""
        return self.path[0]

    def issuer_of(self, place: int) -> Certificate:
        """The certificate that issued `path[place]`."""
        above = place + 1
        return self.path[above] if above < len(self.path) else self.anchor.certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upper:
    """A verified way from a leaf's issuer to an anchor, and the time for which all of it is valid."""

    path: tuple[Certificate, ...]
    anchor: TrustAnchor
    key: PublicKey
    not_before: datetime
    not_after: datetime


@dataclass(slots=True)
class _Search:
    """What one path search has spent and seen."""

    now: datetime
    presented: frozenset[bytes]
    checks: int = 0
    first: ContractRejection | None = None
    outdated: ContractRejection | None = None

    def note(self, rejection: ContractRejection) -> None:
        if self.first is None:
            self.first = rejection


@dataclass(slots=True, kw_only=True)
class ChainVerifier:
    """Verifies bundles against one trust snapshot; remembers verified issuers, never verdicts on leaves.

    The memory holds at most 1,024 issuer ways, keyed by the exact bytes above the leaf; only verified ones
    enter it, and the validity of each is checked at every use.
    """

    trust: Trust
    rules: ProfileRules = field(default_factory=ProfileRules)
    _memo: OrderedDict[str, dict[tuple[bytes, bytes | None], _Upper]] = field(default_factory=OrderedDict)

    def verify(self, bundle: str, *, now: datetime) -> ValidChain | ContractRejection:
        """Verify a PEM bundle, leaf first, at `now` (aware).

        Returns the chain, or the rejection that names the cause; raises nothing on any text.
        """
        bundle = bundle.lstrip()
        if (known := self._verify_remembered(bundle, now)) is not None:
            return known
        try:
            first, *rest = split_bundle(bundle)
            leaf = parse_certificate(first)
        except MalformedCertificateError as problem:
            return _malformed(problem)
        others: list[Certificate] = []
        unreadable: ContractRejection | None = None
        for der in rest:
            try:
                others.append(parse_certificate(der))
            except MalformedCertificateError as problem:
                unreadable = unreadable or _malformed(problem)
        found = self.verify_certificates(leaf, others, now=now)
        if isinstance(found, ValidChain):
            self._remember(bundle, found)
            return found
        # A certificate that can't be read may be the one that the path lacks.
        untrusted = found.rejection_reason is RejectionReason.UNTRUSTED_ROOT
        return unreadable if unreadable is not None and untrusted else found

    def verify_certificates(
        self, leaf: Certificate, others: list[Certificate], *, now: datetime
    ) -> ValidChain | ContractRejection:
        """Verify a leaf with the certificates presented with it, in any order."""
        if (rejection := leaf_rejection(leaf, self.rules)) is not None:
            return rejection
        pool = {item.sha256: item for item in others if not item.self_issued and item.sha256 != leaf.sha256}
        bridges = {item.sha256: item for item in self.trust.cross_certificates}
        search = _Search(now=now, presented=frozenset(pool))
        outdated = _date_rejection(leaf, now, "leaf")
        found = self._extend(search, (leaf,), {**bridges, **pool}, outdated)
        if found is not None:
            return found
        if search.outdated is not None:
            return search.outdated
        if search.first is not None:
            return search.first
        return ContractRejection(
            rejection_reason=RejectionReason.UNTRUSTED_ROOT,
            detail="no path to a trusted root: the root is not trusted, or a sub-authority is missing",
        )

    def _extend(
        self,
        search: _Search,
        path: tuple[Certificate, ...],
        pool: dict[bytes, Certificate],
        outdated: ContractRejection | None,
    ) -> ValidChain | None:
        """Depth-first: the tip's issuer is an anchor, or a certificate of the pool not yet on the path."""
        tip = path[-1]
        for anchor in self.trust.anchors_named(tip.issuer):
            if not anchor.valid_at(search.now):
                continue
            if self._issued(search, path, anchor.certificate, anchor.key):
                if outdated is None:
                    return ValidChain(path=path, anchor=anchor)
                search.outdated = search.outdated or outdated
        for certificate in pool.values():
            if certificate.subject != tip.issuer or certificate in path:
                continue
            if self._too_long(search, path, certificate):
                continue
            if (rejection := authority_rejection(certificate, self.rules)) is not None:
                search.note(rejection)
                continue
            if not self._issued(search, path, certificate, load_public_key(certificate)):
                continue
            late = outdated or _date_rejection(certificate, search.now, "sub-authority")
            if (found := self._extend(search, (*path, certificate), pool, late)) is not None:
                return found
        return None

    def _too_long(self, search: _Search, path: tuple[Certificate, ...], certificate: Certificate) -> bool:
        """Whether one more sub-authority of the bundle would be one too many; notes it."""
        most = self.rules.max_authorities
        presented = sum(item.sha256 in search.presented for item in (*path[1:], certificate))
        if presented <= most or certificate.sha256 not in search.presented:
            return False
        detail = f"{presented} sub-authorities in a row; ISO 15118 allows {most}"
        search.note(ContractRejection(rejection_reason=RejectionReason.TOO_MANY_CERTIFICATES, detail=detail))
        return True

    def _issued(
        self, search: _Search, path: tuple[Certificate, ...], issuer: Certificate, key: PublicKey
    ) -> bool:
        """Whether `issuer` may and did issue the tip of `path`; notes why not."""
        tip = path[-1]
        if (rejection := _link_rejection(path, issuer)) is not None:
            search.note(rejection)
            return False
        if search.checks >= MAX_SIGNATURE_CHECKS:
            search.note(
                ContractRejection(
                    rejection_reason=RejectionReason.PATH_TOO_COSTLY, detail="too many candidate issuers"
                )
            )
            return False
        search.checks += 1
        if not signed_by(tip, key, issuer.key):
            search.note(
                ContractRejection(
                    rejection_reason=RejectionReason.BAD_SIGNATURE,
                    detail="a signature does not verify with its issuer's key",
                )
            )
            return False
        return True

    def _verify_remembered(self, bundle: str, now: datetime) -> ValidChain | None:
        """The short way for a new leaf under issuers verified before; None sends it the long way."""
        end = bundle.find(_END)
        if end < 0 or not bundle.startswith(_BEGIN) or len(bundle) > MAX_BUNDLE_CHARACTERS:
            return None
        known = self._memo.get(bundle[end:])
        if known is None:
            return None
        try:
            leaf = parse_certificate(decode_block(bundle[len(_BEGIN) : end]))
        except MalformedCertificateError:
            return None
        upper = known.get((leaf.issuer, leaf.extensions.authority_key_id))
        if upper is None or not upper.not_before <= now <= upper.not_after:
            return None
        if _date_rejection(leaf, now, "leaf") or leaf_rejection(leaf, self.rules) is not None:
            return None
        issuer = upper.path[0] if upper.path else upper.anchor.certificate
        if _link_rejection((leaf,), issuer) is not None or not signed_by(leaf, upper.key, issuer.key):
            return None
        return ValidChain(path=(leaf, *upper.path), anchor=upper.anchor)

    def _remember(self, bundle: str, chain: ValidChain) -> None:
        if not bundle.startswith(_BEGIN):
            return
        above = chain.path[1:]
        valid = (*above, chain.anchor.certificate)
        key = (chain.leaf.issuer, chain.leaf.extensions.authority_key_id)
        known = self._memo.setdefault(bundle[bundle.find(_END) :], {})
        if len(known) >= _WAYS_PER_TAIL:
            known.clear()
        known[key] = _Upper(
            path=above,
            anchor=chain.anchor,
            key=load_public_key(above[0]) if above else chain.anchor.key,
            not_before=max(item.not_before for item in valid),
            not_after=min(item.not_after for item in valid),
        )
        while len(self._memo) > _MEMO_SIZE:
            self._memo.popitem(last=False)


def _malformed(problem: MalformedCertificateError) -> ContractRejection:
    return ContractRejection(rejection_reason=RejectionReason.MALFORMED_BUNDLE, detail=str(problem))


def _link_rejection(path: tuple[Certificate, ...], issuer: Certificate) -> ContractRejection | None:
    """Rules between the tip of a path and its issuer, short of the signature."""
    tip = path[-1]
    if tip.issuer == EMPTY_NAME:
        return ContractRejection(
            rejection_reason=RejectionReason.UNTRUSTED_ROOT, detail="a certificate names no issuer"
        )
    if tip.key is not issuer.key and EDITION_OF_KEY.get(tip.key) is not EDITION_OF_KEY.get(issuer.key):
        return ContractRejection(
            rejection_reason=RejectionReason.MIXED_EDITIONS,
            detail="the chain mixes keys of ISO 15118-2 and -20",
        )
    facts, actual = tip.extensions, issuer.subject_key_id
    named = facts.authority_key_id
    if named is not None and actual is not None and named != actual:
        return ContractRejection(
            rejection_reason=RejectionReason.KEY_IDENTIFIER_MISMATCH,
            detail="a key identifier is not its issuer's",
        )
    serial, name = facts.authority_serial, facts.authority_issuer
    if (serial is not None and serial != issuer.serial) or (name is not None and name != issuer.issuer):
        return ContractRejection(
            rejection_reason=RejectionReason.KEY_IDENTIFIER_MISMATCH,
            detail="a key identifier names another certificate of its issuer by issuer and serial",
        )
    allowed = issuer.extensions.path_length
    if allowed is not None and len(path) - 1 > allowed:
        below = sum(not item.self_issued for item in path[1:])
        if below > allowed:
            detail = f"an authority of path length {allowed} is above {below} further authorities"
            return ContractRejection(rejection_reason=RejectionReason.PATH_LENGTH_EXCEEDED, detail=detail)
    return None


def _date_rejection(certificate: Certificate, now: datetime, place: str) -> ContractRejection | None:
    if now > certificate.not_after:
        detail = f"the {place} expired at {certificate.not_after.isoformat()}"
        return ContractRejection(rejection_reason=RejectionReason.EXPIRED, detail=detail)
    if now < certificate.not_before:
        detail = f"the {place} is not valid before {certificate.not_before.isoformat()}"
        return ContractRejection(rejection_reason=RejectionReason.NOT_YET_VALID, detail=detail)
    return None
