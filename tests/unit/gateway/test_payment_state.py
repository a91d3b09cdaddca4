"""The payment's and the session's state machines: the same in code, in SQL and in the diagrams."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import pytest

from gateway.driver_page.start_state import START_TRANSITIONS, StartState
from gateway.payments.psp.payment_port import TopUpState
from gateway.payments.records import PspRequestKind, PspRequestState
from gateway.payments.session_state import SESSION_TRANSITIONS, SessionEvent, advance_session
from gateway.payments.state_machine import (
    FINAL_STATES,
    TRANSITIONS,
    IllegalTransitionError,
    PaymentEvent,
    PaymentState,
    advance,
)
from gateway.payments.top_up_state import TOP_UP_TRANSITIONS, RecordedTopUpState, states_before
from gateway.payments.unbooked_charge_state import (
    UNBOOKED_TRANSITIONS,
    UnbookedEvent,
    UnbookedState,
    advance_charge,
)
from gateway.payments.unbooked_charges import ChargeAction
from gateway.schemas.api_schemas import SessionState

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("pair", "after"), TRANSITIONS.items())
def test_each_transition_leads_where_the_mapping_says(
    pair: tuple[PaymentState, PaymentEvent], after: PaymentState
) -> None:
    assert advance(*pair) is after


@pytest.mark.parametrize("state", PaymentState)
@pytest.mark.parametrize("event", PaymentEvent)
def test_what_the_mapping_does_not_name_is_rejected(state: PaymentState, event: PaymentEvent) -> None:
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


def names_in_check(table: str, column: str) -> set[str]:
    """What the CHECK of a column allows."""
    schema = (ROOT / "gateway/sql/migrations/0001_schema.sql").read_text()
    created = schema[schema.index(f"CREATE TABLE gateway.{table} (") :]
    check = re.search(rf"CHECK \({column} IN \((.*?)\)\)", created, re.DOTALL)
    assert check is not None
    return set(re.findall(r"'([a-z_]+)'", check[1]))


def drawn(title: str) -> set[tuple[str, str, str]]:
    """The arrows of a diagram."""
    page = (ROOT / "docs/state_machines.md").read_text()
    section = page[page.index(f"## {title}\n") :]
    section = section[: section.index("\n## ", 4)] if "\n## " in section[4:] else section
    return set(re.findall(r"^\s+([a-z_]+) --> ([a-z_]+): ([a-z_]+)$", section, re.MULTILINE))


@pytest.mark.parametrize(
    ("table", "column", "names"),
    [
        ("payment_authorization", "state", PaymentState),
        ("session", "state", SessionState),
        ("psp_request", "kind", PspRequestKind),
        ("psp_request", "state", PspRequestState),
    ],
)
def test_the_sql_check_allows_exactly_the_names_of_the_enum(
    table: str, column: str, names: type[PaymentState]
) -> None:
    assert names_in_check(table, column) == {name.value for name in names}


def test_the_diagrams_draw_exactly_the_mappings() -> None:
    assert drawn("Payment authorization") == {
        (state.value, after.value, event.value) for (state, event), after in TRANSITIONS.items()
    }
    assert drawn("Session") == {
        (state.value, after.value, event.value) for (state, event), after in SESSION_TRANSITIONS.items()
    }


@pytest.mark.parametrize(
    ("title", "transitions"),
    [
        ("Top-up", TOP_UP_TRANSITIONS),
        ("Unbooked charge", UNBOOKED_TRANSITIONS),
        ("Start of a driver's payment", START_TRANSITIONS),
    ],
)
def test_the_diagrams_of_money_beside_sessions_draw_exactly_their_mappings(
    title: str, transitions: Mapping[tuple[StrEnum, StrEnum], StrEnum]
) -> None:
    assert drawn(title) == {
        (state.value, after.value, event.value) for (state, event), after in transitions.items()
    }


@pytest.mark.parametrize(
    ("file", "column", "names"),
    [
        ("0013_unbooked_charges.sql", "state", UnbookedState),
        ("0014_top_ups_arrive.sql", "state", RecordedTopUpState),
        ("0048_driver_pages.sql", "start", StartState),
    ],
)
def test_their_sql_checks_allow_exactly_the_names_of_the_enum(
    file: str, column: str, names: type[StrEnum]
) -> None:
    text = (ROOT / "gateway/sql/migrations" / file).read_text(encoding="utf-8")
    (listed,) = re.findall(rf"CHECK \({column} IN \(([^)]*)\)\)", text)
    assert set(re.findall(r"'(\w+)'", listed)) == {one.value for one in names}


def test_the_port_s_states_of_a_top_up_are_those_that_are_recorded_but_for_the_first() -> None:
    assert {one.value for one in RecordedTopUpState} - {"requested"} == {one.value for one in TopUpState}
    for state in TopUpState:
        assert states_before(RecordedTopUpState(state.value)), state


def test_every_decision_about_an_unbooked_charge_is_an_event_of_its_machine() -> None:
    for action in ChargeAction:
        for state in UnbookedState:
            decided = advance_charge(state, UnbookedEvent(action.value))
            assert (decided is not None) == (state in {UnbookedState.OPEN, UnbookedState.ADOPTING})


def test_a_cdr_completes_a_session_whatever_became_of_its_hold() -> None:
    for state in (SessionState.ACTIVE, SessionState.CANCELLED):
        assert advance_session(state, SessionEvent.COMPLETED) is SessionState.COMPLETED
    for state in (SessionState.COMPLETED, SessionState.CLEARED, SessionState.EXCEPTION):
        with pytest.raises(ValueError, match=state.value):
            advance_session(state, SessionEvent.COMPLETED)
