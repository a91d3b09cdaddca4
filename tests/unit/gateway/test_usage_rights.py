"""Whose word ends a session: the ranks of who states usage."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from gateway.payments.records import SessionRecord, UsageSource, last_known_cdr_id
from gateway.payments.usage_rights import is_provisional, may_release, may_replace, source_of_caller

NOW = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)
ID = UUID(int=0)


def session(**changes: Any) -> SessionRecord:
    fields: dict[str, Any] = dict.fromkeys(SessionRecord.__dataclass_fields__)
    fields |= {
        "shard": 0,
        "id": ID,
        "demand_partner_id": "app",
        "cpo_id": "NL-ABC",
        "state": "completed",
        "flags": [],
        "metadata": {},
        "created_at": NOW,
        "updated_at": NOW,
    }
    return SessionRecord(**(fields | changes))


@pytest.mark.parametrize(
    ("party", "admin", "source"),
    [
        ("app", False, UsageSource.PAYER),
        ("NL-ABC", False, UsageSource.OPERATOR_API),
        ("platform", True, UsageSource.PLATFORM),
        ("app", True, UsageSource.PAYER),
        ("NL-ABC", True, UsageSource.OPERATOR_API),
    ],
)
def test_a_key_speaks_for_its_party(party: str, source: UsageSource, *, admin: bool) -> None:
    assert source_of_caller(session(), party_id=party, admin=admin) is source


def test_an_operator_with_an_app_of_its_own_speaks_as_the_operator() -> None:
    own = session(demand_partner_id="NL-ABC")
    assert source_of_caller(own, party_id="NL-ABC", admin=False) is UsageSource.OPERATOR_API


@pytest.mark.parametrize("source", list(UsageSource))
@pytest.mark.parametrize("method", ["card", "app", "plug_and_charge", None])
@pytest.mark.parametrize("connected", [False, True])
def test_only_the_payers_word_is_provisional(
    source: UsageSource, method: str | None, *, connected: bool
) -> None:
    expected = source is UsageSource.PAYER and (connected or method == "plug_and_charge")
    assert is_provisional(source, method=method, operator_sends_cdrs=connected) is expected


@pytest.mark.parametrize(
    ("ended", "replaceable"),
    [
        ({"stated_by": None}, False),
        ({"stated_by": UsageSource.OPERATOR_CDR, "cdr_id": "C1"}, False),
        ({"stated_by": UsageSource.OPERATOR_API, "cdr_id": "C1"}, False),
        ({"stated_by": UsageSource.PAYER, "cdr_id": "C1"}, True),
        ({"stated_by": UsageSource.OPERATOR_SESSION, "cdr_id": last_known_cdr_id(ID)}, True),
        ({"stated_by": None, "cdr_id": last_known_cdr_id(ID)}, True),  # ended before sources were kept
    ],
)
def test_what_no_operator_has_confirmed_gives_way_and_never_to_the_payer(
    ended: dict[str, Any], *, replaceable: bool
) -> None:
    one = session(**ended)
    assert may_replace(UsageSource.OPERATOR_API, one) is replaceable
    assert may_replace(UsageSource.PLATFORM, one) is replaceable
    assert not may_replace(UsageSource.PAYER, one)


@pytest.mark.parametrize("source", list(UsageSource))
@pytest.mark.parametrize("provisional", [False, True])
@pytest.mark.parametrize(
    ("begun", "known"),
    [
        ({}, False),
        ({"started_at": NOW}, True),
        ({"flags": ["secured_late"]}, True),
        ({"flags": ["accepted_by_whitelist"]}, True),
        ({"flags": ["ad_hoc_for_contract"]}, False),
    ],
)
def test_only_a_payer_whose_word_is_provisional_keeps_a_running_sessions_hold(
    source: UsageSource, begun: dict[str, Any], *, provisional: bool, known: bool
) -> None:
    kept = source is UsageSource.PAYER and provisional and known
    one = session(**begun)
    assert may_release(source, one, method="app", provisional=provisional) is not kept
    accepted = source is UsageSource.PAYER and provisional  # a vehicle that its station accepted
    assert may_release(source, one, method="plug_and_charge", provisional=provisional) is not accepted
