"""Why a decision came out as it did: the checks in their order, and at which one it ended.

Owns: the order of the checks and which of them each rejection reason belongs to. Must not know who asks, or
how a check is made (pnc.service makes them in this order).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from pnc.authorization import AuthorizationDecision, AuthorizationDecisionState
from pnc.rejection_reasons import RejectionReason


class CheckStage(StrEnum):
    """The checks of a decision, in their order."""

    PRESENTED = "presented"  # what the vehicle presented can be read, and belongs to this session
    CHAIN = "chain"  # each certificate fits its profile, and the path ends at a trusted root
    IDENTITY = "identity"  # certificate, eMAID and authority belong together, and none is blocked
    REVOCATION = "revocation"  # no certificate of the path is revoked
    CONTRACT = "contract"  # there is a contract, and it is in force
    LIMITS = "limits"  # the contract's sessions and amounts
    PAYMENT = "payment"  # its means of payment is secured


class CheckResult(StrEnum):
    """How a check came out."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not_reached"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedCheck:
    """A check with its result; `detail` is what was wrong, or what a soft policy let pass."""

    stage: CheckStage
    result: CheckResult
    reason: RejectionReason | None = None
    detail: str = ""


_R: Final = RejectionReason
_OF_STAGE: Final[Mapping[CheckStage, frozenset[RejectionReason]]] = MappingProxyType(
    {
        CheckStage.PRESENTED: frozenset(
            {
                _R.NO_CERTIFICATE,
                _R.NOT_AN_EMAID_TOKEN,
                _R.MALFORMED_EMAID,
                _R.MALFORMED_BUNDLE,
                _R.MALFORMED_HASH_DATA,
                _R.TOO_MANY_CERTIFICATES,
                _R.HASH_DATA_UNREGISTERED,
                _R.SESSION_OF_ANOTHER_CONTRACT,
                _R.SESSION_ENDED,
            }
        ),
        CheckStage.CHAIN: frozenset(
            {
                _R.WRONG_KEY,
                _R.WRONG_SIGNATURE_ALGORITHM,
                _R.NOT_A_LEAF,
                _R.NOT_AN_AUTHORITY,
                _R.WRONG_KEY_USAGE,
                _R.WRONG_EXTENDED_KEY_USAGE,
                _R.WRONG_DOMAIN_COMPONENT,
                _R.WRONG_COMMON_NAME,
                _R.UNSUPPORTED_EXTENSION,
                _R.UNTRUSTED_ROOT,
                _R.BAD_SIGNATURE,
                _R.KEY_IDENTIFIER_MISMATCH,
                _R.PATH_LENGTH_EXCEEDED,
                _R.MIXED_EDITIONS,
                _R.PATH_TOO_COSTLY,
                _R.EXPIRED,
                _R.NOT_YET_VALID,
            }
        ),
        CheckStage.IDENTITY: frozenset(
            {
                _R.EMAID_MISMATCH,
                _R.HASH_DATA_MISMATCH,
                _R.CERTIFICATE_BLOCKED,
                _R.AUTHORITY_NOT_ALLOWED,
            }
        ),
        CheckStage.REVOCATION: frozenset(
            {
                _R.REVOKED,
                _R.REVOCATION_UNKNOWN,
                _R.REVOCATION_STALE,
                _R.REVOCATION_UNREACHABLE,
                _R.REVOCATION_UNVERIFIED,
            }
        ),
        CheckStage.CONTRACT: frozenset(
            {
                _R.CONTRACT_UNKNOWN,
                _R.CONTRACT_BLOCKED,
                _R.CONTRACT_CANCELLED,
                _R.CONTRACT_NOT_IN_FORCE,
            }
        ),
        CheckStage.LIMITS: frozenset(
            {
                _R.TOO_MANY_SESSIONS_AT_ONCE,
                _R.TOO_MANY_SESSIONS_TODAY,
                _R.OFFLINE_LIMIT_EXCEEDED,
                _R.TOO_MUCH_TODAY,
            }
        ),
        CheckStage.PAYMENT: frozenset({_R.PAYMENT_METHOD_GONE, _R.PAYMENT_NOT_SECURED}),
    }
)


def stage_of(reason: RejectionReason) -> CheckStage:
    """The check that a rejection reason belongs to. Raises StopIteration for none, which a test rules out."""
    return next(stage for stage, reasons in _OF_STAGE.items() if reason in reasons)


def explain(decision: AuthorizationDecision) -> Sequence[ExplainedCheck]:
    """Each check of a decision with its result, in the order in which they are made."""
    reason = decision.rejection_reason
    ended = None if reason is None else stage_of(reason)
    found: list[ExplainedCheck] = []
    for stage in CheckStage:
        if stage is ended:
            found.append(
                ExplainedCheck(stage=stage, result=CheckResult.FAILED, reason=reason, detail=decision.detail)
            )
        elif ended is not None and any(one.result is CheckResult.FAILED for one in found):
            found.append(ExplainedCheck(stage=stage, result=CheckResult.NOT_REACHED))
        elif stage is CheckStage.PAYMENT and decision.payment_needed:
            found.append(ExplainedCheck(stage=stage, result=CheckResult.PENDING))
        elif stage is CheckStage.PAYMENT and _ended_unpaid(decision):
            found.append(ExplainedCheck(stage=stage, result=CheckResult.NOT_REACHED))
        else:
            notes = decision.notes if stage is CheckStage.REVOCATION else ""
            found.append(ExplainedCheck(stage=stage, result=CheckResult.PASSED, detail=notes))
    return found


def _ended_unpaid(decision: AuthorizationDecision) -> bool:
    return decision.state is AuthorizationDecisionState.CLOSED and decision.authorization_id is None
