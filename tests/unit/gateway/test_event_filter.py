"""Which events a filter allows: by session, EVSE, location and metadata, all that are given."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ids import format_id, new_id
from gateway.webhooks.event_filter import EventFacts, EventFilter, session_id_of

FACTS: dict[str, Any] = {
    "session": "ses_1",
    "metadata": {"order": "7"},
    "evse_id": "DE*RHN*E1*0001",
    "location_id": "LOC1",
    "session_metadata": {"tenant": "blue"},
}


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({}, True),
        ({"sessions": ["ses_1", "ses_2"]}, True),
        ({"sessions": ["ses_2"]}, False),
        ({"evse_prefixes": ["DE*RHN*E1"]}, True),
        ({"evse_prefixes": ["derhne1"]}, True),
        ({"evse_prefixes": ["DE*RHN*E2", "NL"]}, False),
        ({"locations": ["LOC1"]}, True),
        ({"locations": ["loc1"]}, False),
        ({"metadata": {"order": "7"}}, True),
        ({"metadata": {"tenant": "blue", "order": "7"}}, True),
        ({"metadata": {"tenant": "red"}}, False),
        ({"metadata": {"other": "7"}}, False),
        ({"locations": ["LOC1"], "metadata": {"tenant": "red"}}, False),
        ({"sessions": ["ses_1"], "locations": ["LOC2"]}, False),
    ],
)
def test_all_fields_that_are_given_must_match(fields: dict[str, Any], *, allowed: bool) -> None:
    assert EventFilter(**fields).allows(EventFacts(**FACTS)) is allowed


@pytest.mark.parametrize(
    "fields", [{"sessions": ["ses_1"]}, {"evse_prefixes": ["DE"]}, {"locations": ["LOC1"]}]
)
def test_an_event_of_no_session_matches_by_its_own_metadata_alone(fields: dict[str, Any]) -> None:
    event = EventFacts(session=None, metadata={"order": "7"})
    assert not EventFilter(**fields).allows(event)
    assert EventFilter(metadata={"order": "7"}).allows(event)


names = st.lists(st.text(min_size=1, max_size=4), max_size=3)


@given(names, names, names, st.dictionaries(st.text(min_size=1), st.text(min_size=1), max_size=3))
def test_a_filter_is_stored_and_read_without_loss(
    sessions: list[str], prefixes: list[str], locations: list[str], metadata: dict[str, str]
) -> None:
    made = EventFilter(sessions=sessions, evse_prefixes=prefixes, locations=locations, metadata=metadata)
    stored = made.to_json()
    assert EventFilter.from_json(stored) == made or EventFilter.from_json(stored).to_json() == stored
    assert all(stored.values())


def test_the_session_of_an_event_is_its_object_or_the_one_that_the_object_names() -> None:
    session, other = new_id(), new_id()
    name = format_id("ses", session)
    assert session_id_of(object_id=name, session=None) == session
    assert session_id_of(object_id=format_id("cap", other), session=name) == session
    assert session_id_of(object_id=format_id("pay", other), session=None) is None
    assert session_id_of(object_id="whatever", session="nonsense") is None
