"""The payment's state machine: every transition, and the same machine in code, in SQL and in the diagram."""

import re
from pathlib import Path

import pytest

from gateway.payments.payment import (
    FINAL_STATES,
    TRANSITIONS,
    IllegalTransitionError,
    PaymentEvent,
    PaymentState,
    advance,
)

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("pair", "after"), TRANSITIONS.items())
def test_each_transition_leads_where_the_mapping_says(
    pair: tuple[PaymentState, PaymentEvent], after: PaymentState
) -> None:
    assert advance(*pair) is after


@pytest.mark.parametrize("state", PaymentState)
@pytest.mark.parametrize("event", PaymentEvent)
def test_what_the_mapping_does_not_name_is_refused(state: PaymentState, event: PaymentEvent) -> None:
    if (state, event) in TRANSITIONS:
        return
    with pytest.raises(IllegalTransitionError, match=state.value):
        advance(state, event)


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_a_final_state_has_no_way_out(state: PaymentState) -> None:
    assert not [pair for pair in TRANSITIONS if pair[0] is state]


def test_every_state_can_be_reached_and_left_to_an_end() -> None:
    reached = {PaymentState.REQUIRES_AUTHORIZATION}
    while True:
        further = {after for (state, _), after in TRANSITIONS.items() if state in reached} - reached
        if not further:
            break
        reached |= further
    assert reached == set(PaymentState)


def test_only_an_answer_of_the_psp_ends_an_unknown_outcome() -> None:
    events = {event for state, event in TRANSITIONS if state is PaymentState.OUTCOME_UNKNOWN}
    answers = {
        PaymentEvent.HELD,
        PaymentEvent.ACTION_REQUIRED,
        PaymentEvent.CAPTURED,
        PaymentEvent.VOIDED,
        PaymentEvent.DECLINED,
        PaymentEvent.ANSWER_LOST,
    }
    assert events == answers


def test_the_sql_check_names_the_same_states() -> None:
    schema = (ROOT / "gateway/sql/migrations/0001_schema.sql").read_text()
    table = schema[schema.index("CREATE TABLE gateway.payment_authorization") :]
    check = re.search(r"CHECK \(state IN \((.*?)\)\)", table, re.DOTALL)
    assert check is not None
    assert set(re.findall(r"'([a-z_]+)'", check[1])) == {state.value for state in PaymentState}


def test_the_diagram_draws_exactly_the_mapping() -> None:
    page = (ROOT / "docs/state_machines.md").read_text()
    section = page[page.index("## Payment authorization") :]
    section = section[: section.index("\n## ", 4)] if "\n## " in section[4:] else section
    drawn = set(re.findall(r"^\s+([a-z_]+) --> ([a-z_]+): ([a-z_]+)$", section, re.MULTILINE))
    mapped = {(state.value, after.value, event.value) for (state, event), after in TRANSITIONS.items()}
    assert drawn == mapped
