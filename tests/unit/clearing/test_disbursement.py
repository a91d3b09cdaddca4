"""Payments to parties: allowed steps, holds, netting."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest

import clearing
from clearing.errors import ClearingConflictError
from clearing.payouts.disbursement import (
    TRANSITIONS,
    DisbursementEvent,
    DisbursementState,
    advance,
    end_to_end_id,
)
from clearing.payouts.netting import DueSum, HoldReason, hold_reason
from clearing.payouts.service import retry_after
from tests.fakes import clearing_fixtures as world


@pytest.mark.parametrize("state", DisbursementState)
@pytest.mark.parametrize("event", DisbursementEvent)
def test_only_listed_steps_are_allowed(state: DisbursementState, event: DisbursementEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(ClearingConflictError):
            advance(state, event)


def test_only_a_return_by_the_bank_follows_a_payment_that_ended() -> None:
    ended = (
        DisbursementState.CANCELLED,
        DisbursementState.PAID,
        DisbursementState.FAILED,
        DisbursementState.RETURNED,
    )
    assert [step for step in TRANSITIONS if step[0] in ended] == [
        (DisbursementState.PAID, DisbursementEvent.RETURN)
    ]


def test_the_schema_knows_the_same_states() -> None:
    migrations = Path(clearing.__file__).parent / "sql/migrations"
    table = (migrations / "0001_schema.sql").read_text().split("CREATE TABLE clearing.disbursement (", 1)[1]
    listed = table.split("CHECK (state IN (", 1)[1].split(")", 1)[0]
    assert {name.strip(" '\n") for name in listed.split(",")} == set(DisbursementState)


def test_the_diagram_shows_the_same_steps() -> None:
    page = (Path(clearing.__file__).parents[1] / "docs/state_machines.md").read_text()
    drawn = page.split("## Disbursement", 1)[1].split("```mermaid", 1)[1].split("```", 1)[0]
    steps = {line.strip() for line in drawn.splitlines() if "-->" in line and "[*]" not in line}
    assert steps == {f"{state} --> {after}: {event}" for (state, event), after in TRANSITIONS.items()}


def due(minor: int, currency: str = "EUR") -> DueSum:
    return DueSum(
        party_id="NL-ABC", currency=currency, period=date(2026, 10, 15), amount_minor=minor, count=1
    )


def test_receivables_come_first_then_holds_then_the_minimum() -> None:
    party = replace(world.NL_CPO, minimum_payout_minor=1000)
    assert hold_reason(due(0), party) is HoldReason.RECEIVABLE
    assert hold_reason(due(-5), replace(party, payout_hold="x")) is HoldReason.RECEIVABLE
    assert hold_reason(due(5000), replace(party, payout_hold="IBAN changed 2026-10-01")) is HoldReason.ON_HOLD
    assert hold_reason(due(5000), replace(party, connected_account=None)) is HoldReason.NO_DESTINATION
    assert hold_reason(due(999), party) is HoldReason.BELOW_MINIMUM
    assert hold_reason(due(1000), party) is None
    assert hold_reason(due(1, "CHF"), party) is None  # the minimum is agreed in euros


def test_the_end_to_end_id_fits_iso_20022_max_35_text() -> None:
    assert len(end_to_end_id(UUID(int=2**128 - 1))) == 34


def test_unknown_outcomes_are_retried_after_5_s_1_min_5_min_1_h_then_daily() -> None:
    assert [retry_after(attempt).total_seconds() for attempt in (1, 2, 3, 4, 5, 50)] == [
        5,
        60,
        300,
        3600,
        86400,
        86400,
    ]
