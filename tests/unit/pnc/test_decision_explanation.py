"""A decision explained: every reason has its check, and the checks after it were not made."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from pnc.authorization import AuthorizationDecision, AuthorizationDecisionState
from pnc.decision_explanation import CheckResult, CheckStage, explain, stage_of
from pnc.rejection_reasons import RejectionReason

STAGES = list(CheckStage)


def decision(state: AuthorizationDecisionState, **changes: Any) -> AuthorizationDecision:
    values: dict[str, Any] = {
        "shard": 0,
        "id": UUID(int=0),
        "environment": "sandbox",
        "operator_id": "NL-ABC",
        "session_ref": "tx",
        "evse_id": "E1",
        "ocpp_version": "2.0.1",
        "emaid": "NLNCOC12345678",
        "digest": None,
        "leaf_sha256": None,
        "contract_id": None,
        "rejection_reason": None,
        "detail": "",
        "notes": "",
        "trust_version": 1,
        "authorization_id": None,
        "decided_at": datetime(2026, 11, 30, tzinfo=UTC),
    }
    return AuthorizationDecision(state=state, **(values | changes))


@pytest.mark.parametrize("reason", list(RejectionReason))
def test_every_reason_ends_at_its_check_and_no_later_one_was_made(reason: RejectionReason) -> None:
    found = explain(
        decision(AuthorizationDecisionState.REJECTED, rejection_reason=reason, detail="what was wrong")
    )
    at = STAGES.index(stage_of(reason))
    assert [one.stage for one in found] == STAGES
    assert [one.result for one in found] == (
        [CheckResult.PASSED] * at + [CheckResult.FAILED] + [CheckResult.NOT_REACHED] * (len(STAGES) - at - 1)
    )
    assert (found[at].reason, found[at].detail) == (reason, "what was wrong")


def test_an_accepted_decision_passed_all_and_says_what_a_soft_policy_let_pass() -> None:
    found = explain(
        decision(AuthorizationDecisionState.ACCEPTED, authorization_id="auth_1", notes="no answer")
    )
    assert {one.result for one in found} == {CheckResult.PASSED}
    assert found[STAGES.index(CheckStage.REVOCATION)].detail == "no answer"


@pytest.mark.parametrize(
    ("state", "result"),
    [
        (AuthorizationDecisionState.AWAITING_PAYMENT, CheckResult.PENDING),
        (AuthorizationDecisionState.CLOSED, CheckResult.NOT_REACHED),
    ],
)
def test_a_payment_that_was_not_decided_is_no_passed_check(
    state: AuthorizationDecisionState, result: CheckResult
) -> None:
    assert explain(decision(state))[-1].result is result
