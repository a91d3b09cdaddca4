"""The decision's states and what the station is answered: code, schema and documentation say the same."""

import re
from pathlib import Path

import pytest

from pnc.authorization import (
    ACCEPTED,
    OPEN_STATES,
    TRANSITIONS,
    AuthorizationDecisionEvent,
    AuthorizationDecisionState,
    CertificateStatus,
    IdTokenStatus,
    advance,
    shard_of,
    statuses_of,
)
from pnc.errors import PncInvariantViolation
from pnc.rejection_reasons import RejectionReason

ROOT = Path(__file__).resolve().parents[3]


def test_code_schema_and_documentation_have_the_same_states_and_moves() -> None:
    schema = (ROOT / "pnc/sql/migrations/0001_schema.sql").read_text()
    table = schema.split("CREATE TABLE pnc.decision", 1)[1]
    check = re.search(r"CHECK \(state IN \(([^)]*)\)\)", table)
    assert check is not None
    assert set(re.findall(r"'(\w+)'", check[1])) == set(AuthorizationDecisionState)
    index = re.search(r"decision_open_of_session.*?WHERE state IN \(([^)]*)\)", schema, re.DOTALL)
    assert index is not None
    assert set(re.findall(r"'(\w+)'", index[1])) == OPEN_STATES
    page = (ROOT / "docs/state_machines.md").read_text().split("## Plug & Charge decision", 1)[1]
    drawn = set(re.findall(r"(\w+) --> (\w+): (\w+)", page.split("```")[1]))
    assert drawn == {(state, target, event) for (state, event), target in TRANSITIONS.items()}


@pytest.mark.parametrize("state", list(AuthorizationDecisionState))
@pytest.mark.parametrize("event", list(AuthorizationDecisionEvent))
def test_a_decision_moves_as_the_table_says_and_in_no_other_way(
    state: AuthorizationDecisionState, event: AuthorizationDecisionEvent
) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(PncInvariantViolation):
            advance(state, event)


@pytest.mark.parametrize("rejection_reason", list(RejectionReason))
def test_no_rejection_reason_is_ever_answered_as_accepted(rejection_reason: RejectionReason) -> None:
    certificate, token = statuses_of(rejection_reason)
    assert certificate is not CertificateStatus.ACCEPTED
    assert token is not IdTokenStatus.ACCEPTED
    assert statuses_of(None) == ACCEPTED


def test_a_sessions_shard_is_the_same_for_every_call_and_no_two_fields_run_together() -> None:
    shard = shard_of(environment="live", operator_id="NL-ABC", session_ref="tx-1")
    assert shard == shard_of(environment="live", operator_id="NL-ABC", session_ref="tx-1")
    shards = {
        shard_of(environment="live", operator_id="NL-ABC", session_ref=f"tx-{number}")
        for number in range(1000)
    }
    assert shards == set(range(64))


def test_the_guides_table_of_findings_is_complete_and_says_what_is_answered() -> None:
    page = (ROOT / "docs/guides/plug-and-charge.md").read_text()
    table = page.split("| finding | certificateStatus | idTokenInfo.status |", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in table.splitlines()[2:]]
    shown = {name: (row[1], row[2]) for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    answered = {
        finding: tuple(status.value for status in statuses_of(reason))
        for finding, reason in [("accepted", None), *((reason.value, reason) for reason in RejectionReason)]
    }
    assert shown == {**answered, "payment_pending": ("none: 503", "none: 503")}
