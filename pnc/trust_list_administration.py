"""Trust lists: the roots of a PKI as its operator publishes them in a file, brought in as one change.

Owns what is added, kept and removed by a list, and the report of it. Must not know HTTP or who may call. A
list has a name; a root that a list added and no longer holds is retired. Roots of other lists and roots added
one by one stay.

Each call is one transaction on the given connection, or takes part in the one that is open.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pnc.certificate import Certificate
from pnc.certificate_input import read_certificates_apart
from pnc.distinguished_name import name_text
from pnc.errors import MalformedCertificateError, UnfitAuthorityError
from pnc.ports import Connection
from pnc.repository import trust as repository
from pnc.trust import AnchorPurpose, RevocationPolicy, TrustAnchor, TrustChange
from pnc.trust_administration import check_policy, check_root

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


class RootOutcome(StrEnum):
    """What a list does to one root."""

    ADDED = "added"
    KEPT = "kept"
    REMOVED = "removed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootReport:
    """One root of a list; `detail` says why it was rejected. One that can't be read has no hash."""

    sha256: str
    subject: str
    outcome: RootOutcome
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustList:
    """A list to bring in: its name, its certificates as text, and how its roots are trusted."""

    name: str
    text: str
    purpose: AnchorPurpose
    policy: RevocationPolicy
    policy_reason: str = ""


async def import_trust_list(
    connection: Connection, trust_list: TrustList, *, environment: str, dry_run: bool, change: TrustChange
) -> list[RootReport]:
    """Add the list's roots, retire those it no longer holds, and report each; a dry run changes nothing.

    Raises:
        UnfitAuthorityError: no name, a soft policy without a reason, a private key among the certificates, or
            no root that may be trusted (an empty or foreign file would retire every root of the list).
    """
    if _NAME.fullmatch(trust_list.name) is None:
        raise UnfitAuthorityError("name: expected 1 to 63 lower-case letters, digits, dots or hyphens")
    check_policy(trust_list.policy, trust_list.policy_reason)
    try:
        certificates, unreadable = read_certificates_apart(trust_list.text)
    except MalformedCertificateError as problem:
        raise UnfitAuthorityError(str(problem)) from None
    roots, rejected = _fit_roots(certificates, change)
    rejected += [
        RootReport(sha256="", subject="", outcome=RootOutcome.REJECTED, detail=problem)
        for problem in unreadable
    ]
    if not roots:
        raise UnfitAuthorityError(f"list: no root that may be trusted; {rejected[0].detail}")
    async with connection.transaction():
        trusted = await _trusted(connection, environment)
        gone = _gone(trusted, trust_list.name, roots)
        reports = [_report(root, trusted) for root in roots]
        if not dry_run:
            new = [root for root in roots if root.sha256.hex() not in trusted]
            await _apply(connection, trust_list, new, gone, environment=environment, change=change)
    removed = [
        RootReport(sha256=sha256, subject=trusted[sha256]["subject"], outcome=RootOutcome.REMOVED)
        for sha256 in gone
    ]
    return [*reports, *removed, *rejected]


async def _trusted(connection: Connection, environment: str) -> dict[str, dict[str, Any]]:
    found = await repository.list_anchors(connection, environment=environment, with_retired=False)
    return {row["sha256"]: row for row in found}


def _gone(trusted: dict[str, dict[str, Any]], name: str, roots: Sequence[Certificate]) -> list[str]:
    held = {root.sha256.hex() for root in roots}
    return [sha256 for sha256, row in trusted.items() if row["list_name"] == name and sha256 not in held]


def _fit_roots(
    certificates: Sequence[Certificate], change: TrustChange
) -> tuple[list[Certificate], list[RootReport]]:
    roots: list[Certificate] = []
    rejected: list[RootReport] = []
    for certificate in certificates:
        try:
            check_root(certificate, change.now)
        except UnfitAuthorityError as problem:
            rejected.append(
                RootReport(
                    sha256=certificate.sha256.hex(),
                    subject=name_text(certificate.subject),
                    outcome=RootOutcome.REJECTED,
                    detail=str(problem),
                )
            )
        else:
            roots.append(certificate)
    return roots, rejected


def _report(root: Certificate, trusted: dict[str, dict[str, Any]]) -> RootReport:
    sha256 = root.sha256.hex()
    outcome = RootOutcome.KEPT if sha256 in trusted else RootOutcome.ADDED
    return RootReport(sha256=sha256, subject=name_text(root.subject), outcome=outcome)


async def _apply(
    connection: Connection,
    trust_list: TrustList,
    new: Sequence[Certificate],
    gone: Sequence[str],
    *,
    environment: str,
    change: TrustChange,
) -> None:
    """Write a list's changes, each with a version of its own."""

    async def record(kind: str, sha256: bytes) -> None:
        await repository.record_change(
            connection,
            environment=environment,
            version=await repository.raise_version(connection, environment=environment),
            kind=kind,
            sha256=sha256,
            detail=f"list {trust_list.name}",
            change=change,
        )

    for root in new:
        anchor = TrustAnchor(
            certificate=root,
            purpose=trust_list.purpose,
            policy=trust_list.policy,
            policy_reason=trust_list.policy_reason,
        )
        await record("anchor_added", root.sha256)
        await repository.add_anchor(
            connection, anchor, environment=environment, now=change.now, list_name=trust_list.name
        )
    for sha256 in gone:
        digest = bytes.fromhex(sha256)
        await record("anchor_retired", digest)
        await repository.retire_anchor(connection, environment=environment, sha256=digest, now=change.now)
