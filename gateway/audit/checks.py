"""What the whole and the daily audit say alike: the form of a check; sessions, accounts and acts that differ.

Owns: the names of the checks and the texts of their findings. Must not know: how a figure is read, the PSP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from clearing.audit import AuditFinding
from gateway.acts.service import ActVerification
from gateway.audit.system_audit_repository import AccountDifference
from gateway.ids import format_id

SHOWN: Final = 100  # findings of one kind that are listed
DETAILS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "captured_is_price": "captured and receivable are not the session's price",
        "capture_matches_authorization": "capture and authorization disagree on whether money was captured",
        "authorization_has_capture": "captured, but no capture is recorded",
        "capture_is_cleared": "captured, but never sent to clearing",
        "price_is_captured": "completed at a price that nothing left will capture",
    }
)


class AuditResult(StrEnum):
    """What an audit, or one of its checks, came to."""

    AGREES = "agrees"
    DIFFERS = "differs"
    NOT_COMPARED = "not_compared"  # it should have been and could not
    LEFT_OUT = "left_out"  # by the choice of who asked


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """One check: what was compared, and what was left out and why. Amounts in the texts are minor units."""

    name: str
    subject: str
    result: AuditResult
    compared: str
    left_out: str = ""


def agrees_unless(differs: object) -> AuditResult:
    """DIFFERS for anything true, else AGREES."""
    return AuditResult.DIFFERS if differs else AuditResult.AGREES


def session_findings(failed: Mapping[str, Sequence[UUID]]) -> list[AuditFinding]:
    """Sessions that fail a check, by the check's name, as findings; of each check no more than are listed."""
    return [
        AuditFinding(check=check, subject=format_id("ses", session_id), detail=DETAILS[check])
        for check, sessions in failed.items()
        for session_id in sessions[:SHOWN]
    ]


def account_finding(one: AccountDifference) -> AuditFinding:
    """A funded account that is not what its movements make it."""
    detail = (
        f"balance {one.balance_minor}, expected {one.balance_due}; "
        f"held {one.held_minor}, expected {one.held_due}"
    )
    return AuditFinding(check="funded_account", subject=f"{one.party_id} {one.currency}", detail=detail)


def act_check(acts: ActVerification) -> AuditCheck:
    """What the hash chain of the administrative acts came to."""
    left_out = ""
    if acts.unsealed and acts.unsealed_since is not None:
        left_out = f"{acts.unsealed} acts not sealed yet, since {acts.unsealed_since:%Y-%m-%d %H:%M} UTC"
    return AuditCheck(
        name="administrative_acts",
        subject="all",
        result=agrees_unless(acts.broken),
        compared=f"{acts.sealed} administrative acts with their hash chain",
        left_out=left_out,
    )


def act_findings(acts: ActVerification) -> list[AuditFinding]:
    """Each administrative act that is not what was sealed."""
    return [
        AuditFinding(
            check="administrative_acts",
            subject=f"act_{act_id}",
            detail="the act was changed or removed after it was sealed",
        )
        for act_id in acts.broken
    ]
