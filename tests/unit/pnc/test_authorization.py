"""The decision's states and what the station is told: code, schema and documentation say the same."""

import re
from pathlib import Path

import pytest

from pnc.authorization import (
    ACCEPTED,
    OPEN_STATES,
    TRANSITIONS,
    CertificateStatus,
    DecisionEvent,
    DecisionState,
    IdTokenStatus,
    advance,
    lane_of,
    statuses_of,
)
from pnc.errors import InvariantViolation
from pnc.findings import Finding

ROOT = Path(__file__).resolve().parents[3]


def test_code_schema_and_documentation_have_the_same_states_and_moves() -> None:
    schema = (ROOT / "pnc/sql/migrations/0001_schema.sql").read_text()
    table = schema.split("CREATE TABLE pnc.decision", 1)[1]
    check = re.search(r"CHECK \(state IN \(([^)]*)\)\)", table)
    assert check is not None
    assert set(re.findall(r"'(\w+)'", check[1])) == set(DecisionState)
    index = re.search(r"decision_open_of_session.*?WHERE state IN \(([^)]*)\)", schema, re.DOTALL)
    assert index is not None
    assert set(re.findall(r"'(\w+)'", index[1])) == OPEN_STATES
    page = (ROOT / "docs/state_machines.md").read_text().split("## Plug & Charge decision", 1)[1]
    drawn = set(re.findall(r"(\w+) --> (\w+): (\w+)", page.split("```")[1]))
    assert drawn == {(state, target, event) for (state, event), target in TRANSITIONS.items()}


@pytest.mark.parametrize("state", list(DecisionState))
@pytest.mark.parametrize("event", list(DecisionEvent))
def test_a_decision_moves_as_the_table_says_and_in_no_other_way(
    state: DecisionState, event: DecisionEvent
) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(InvariantViolation):
            advance(state, event)


@pytest.mark.parametrize("finding", list(Finding))
def test_no_finding_is_ever_told_as_accepted(finding: Finding) -> None:
    certificate, token = statuses_of(finding)
    assert certificate is not CertificateStatus.ACCEPTED
    assert token is not IdTokenStatus.ACCEPTED
    assert statuses_of(None) == ACCEPTED


def test_a_sessions_lane_is_the_same_for_every_call_and_no_two_fields_run_together() -> None:
    lane = lane_of(environment="live", operator_id="NL-ABC", session_ref="tx-1")
    assert lane == lane_of(environment="live", operator_id="NL-ABC", session_ref="tx-1")
    lanes = {
        lane_of(environment="live", operator_id="NL-ABC", session_ref=f"tx-{number}")
        for number in range(1000)
    }
    assert lanes == set(range(64))
