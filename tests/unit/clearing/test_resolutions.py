"""Every resolution is a balanced entry that makes our books say what the other side says."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import clearing
from clearing.approvals.rules import (
    OF_DIFFERENCES,
    OF_SUSPENSE,
    TRANSITIONS,
    ApprovalEvent,
    ApprovalState,
    Resolution,
    advance,
    check_reason_and_name,
    check_second_approver,
    limits,
    requires_approval,
    same_person,
)
from clearing.errors import ClearingConflictError, ClearingInvariantViolation, InvalidAmountError
from clearing.fx import FxLock, convert
from clearing.ledger import adjustments
from clearing.ledger.adjustments import between, entries_from, entries_json
from clearing.ledger.journal_entry import JournalEntry, is_account
from clearing.reconciliation.comparison import ReconciliationPair
from clearing.reconciliation.resolution_entries import BookingChoice, DifferenceSides, clear_suspense, settle
from tests.fakes import clearing_fixtures as world

DUE = date(2026, 10, 15)
HOME = Path(clearing.__file__).parent
minor = st.integers(-(10**12), 10**12)
sides = st.builds(
    DifferenceSides,
    left_minor=minor,
    right_minor=minor,
    left_fee_minor=st.integers(0, 10**6),
    right_fee_minor=st.integers(0, 10**6),
)


def moved(entry: JournalEntry | None) -> dict[str, int]:
    """What each account was debited."""
    sums: dict[str, int] = {}
    for line in entry.transfers if entry else ():
        sums[line.debit_account] = sums.get(line.debit_account, 0) + line.amount_minor
        sums[line.credit_account] = sums.get(line.credit_account, 0) - line.amount_minor
    return {account: found for account, found in sums.items() if found}


def choice(how: Resolution) -> BookingChoice:
    return BookingChoice(
        resolution=how, party=world.NL_CPO if how is Resolution.RECEIVABLE_PAYMENT else None, due=DUE
    )


@given(moves=st.dictionaries(st.sampled_from("abcdef"), minor, min_size=1, max_size=6))
def test_transfers_move_each_account_by_its_amount_and_nothing_else(moves: dict[str, int]) -> None:
    rest = -sum(moves.values())
    whole = {**moves, "z": rest}
    sums: dict[str, int] = dict.fromkeys(whole, 0)
    for line in between(whole, "EUR"):
        assert line.amount_minor > 0
        sums[line.debit_account] += line.amount_minor
        sums[line.credit_account] -= line.amount_minor
    assert sums == whole
    if rest:
        with pytest.raises(ClearingInvariantViolation):
            between(moves, "EUR")


@given(pair=st.sampled_from(ReconciliationPair), compared=sides, how=st.sampled_from(OF_DIFFERENCES))
def test_after_a_resolution_our_balance_is_what_the_other_side_says(
    pair: ReconciliationPair, compared: DifferenceSides, how: Resolution
) -> None:
    missing = compared.left_minor - compared.right_minor
    try:
        made, debited = settle(pair, compared, choice(how), named="d", currency="EUR")
    except ClearingConflictError:
        # A match needs equal sides, a receivable payment money received.
        assert (how is Resolution.MATCH and missing != 0) or (
            how is Resolution.RECEIVABLE_PAYMENT and missing >= 0
        )
        return
    assert debited == missing
    found = moved(made)
    fee = compared.right_fee_minor - compared.left_fee_minor
    match pair:
        case ReconciliationPair.BOOK_PSP:
            # The receivable had left less its fee; it has right less its fee now.
            assert found.get("psp:stripe:receivable", 0) == -missing - fee
        case ReconciliationPair.PSP_BANK:
            assert found.get("bank:settlement", 0) == compared.right_minor
            if how is not Resolution.PSP_PAYOUT:
                assert found.get("psp:stripe:transit", 0) == -compared.left_minor
        case _:
            assert found.get("bank:settlement", 0) == -missing
    assert sum(found.values()) == 0
    assert all(is_account(account) for account in found)
    owed = sum(payable.amount_minor for payable in made.payables) if made else 0
    assert owed == (-missing if how is Resolution.RECEIVABLE_PAYMENT else 0)
    assert owed == -found.get("cpo:NL-ABC:payable", 0)


def test_worked_example_of_a_charge_that_our_books_lack() -> None:
    """7.00 charged at the PSP, 0.30 kept: 6.70 more at the PSP, 0.30 spent, 7.00 in suspense."""
    compared = DifferenceSides(left_minor=0, right_minor=700, right_fee_minor=30)
    made, debited = settle(
        ReconciliationPair.BOOK_PSP, compared, choice(Resolution.SUSPENSE), named="d", currency="EUR"
    )
    assert moved(made) == {"psp:stripe:receivable": 670, "platform:psp:expense": 30, "suspense": -700}
    assert debited == -700


def test_a_payout_that_arrived_short_costs_the_banks_fee() -> None:
    """10.00 left the PSP, 9.95 arrived: the bank's fee is 0.05."""
    compared = DifferenceSides(left_minor=1000, right_minor=995)
    made, _ = settle(ReconciliationPair.PSP_BANK, compared, choice(Resolution.FEE), named="d", currency="EUR")
    assert moved(made) == {"bank:settlement": 995, "psp:stripe:transit": -1000, "platform:bank:expense": 5}


@given(amount=minor.filter(bool), how=st.sampled_from(OF_SUSPENSE))
def test_the_amount_cleared_from_suspense_is_the_amount_that_was_in_it(amount: int, how: Resolution) -> None:
    try:
        made = clear_suspense(ReconciliationPair.BOOK_BANK, amount, choice(how), named="s", currency="EUR")
    except ClearingConflictError:
        assert how is Resolution.RECEIVABLE_PAYMENT
        assert amount < 0
        return
    found = moved(made)
    assert found["suspense"] == amount
    assert sum(found.values()) == 0
    assert sum(payable.amount_minor for payable in made.payables) == (
        amount if how is Resolution.RECEIVABLE_PAYMENT else 0
    )


def test_a_suspense_item_is_not_cleared_to_suspense() -> None:
    with pytest.raises(ClearingConflictError, match="can't be cleared as"):
        clear_suspense(
            ReconciliationPair.BOOK_BANK, 5, choice(Resolution.SUSPENSE), named="s", currency="EUR"
        )


LOCK = FxLock(base="CHF", quote="EUR", rate=Decimal("1.0638"), source="ECB", rate_date=DUE, markup_bps=0)


@given(claim_minor=st.integers(1, 10**10))
def test_a_set_off_converts_at_its_lock_and_is_stored_exactly(claim_minor: int) -> None:
    first, second = adjustments.set_off(world.NL_CPO, named="c", lock=LOCK, claim_minor=claim_minor, due=DUE)
    given_minor = convert(claim_minor, LOCK)
    assert moved(first) == {"cpo:NL-ABC:payable": claim_minor, "fx:CHF-EUR:position": -claim_minor}
    assert moved(second) == {"cpo:NL-ABC:payable": -given_minor, "fx:CHF-EUR:position": given_minor}
    assert [payable.amount_minor for one in (first, second) for payable in one.payables] == [
        -claim_minor,
        given_minor,
    ]
    assert first.subject_id == second.subject_id
    assert entries_from(entries_json([("c", first), ("c", second)])) == [first, second]


def test_no_write_off_or_set_off_of_nothing() -> None:
    with pytest.raises(InvalidAmountError, match="more than 0"):
        adjustments.receivable_write_off(world.NL_CPO, named="w", currency="EUR", minor=0, due=DUE)
    with pytest.raises(InvalidAmountError, match="more than 0"):
        adjustments.set_off(world.NL_CPO, named="c", lock=LOCK, claim_minor=0, due=DUE)


# Decisions


@pytest.mark.parametrize("state", ApprovalState)
@pytest.mark.parametrize("event", ApprovalEvent)
def test_only_a_pending_request_is_decided_and_once(state: ApprovalState, event: ApprovalEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert state is ApprovalState.PENDING
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(
            ClearingConflictError, match=f"cannot {event} an approval request that is {state}"
        ):
            advance(state, event)


def test_the_schema_knows_the_same_states_and_resolutions() -> None:
    schema = (HOME / "sql/migrations/0001_schema.sql").read_text()
    table = schema.split("CREATE TABLE clearing.approval_request (", 1)[1]
    for column, names in (("resolution", Resolution), ("state", ApprovalState)):
        listed = table.split(f"CHECK ({column} IN (", 1)[1].split(")", 1)[0]
        assert {name.strip(" '\n") for name in listed.split(",")} == {one.value for one in names}


def test_the_diagram_shows_the_same_steps() -> None:
    page = (HOME.parent / "docs/state_machines.md").read_text()
    drawn = page.split("## Approval request", 1)[1].split("```mermaid", 1)[1].split("```", 1)[0]
    steps = {row.strip() for row in drawn.splitlines() if "-->" in row and "[*]" not in row}
    assert steps == {f"{state} --> {after}: {event}" for (state, event), after in TRANSITIONS.items()}


def test_the_limit_is_per_currency_and_a_write_off_always_needs_approval() -> None:
    known = limits([{"currency": "*", "limit_minor": "100"}, {"currency": "JPY", "limit_minor": "0"}])
    for resolution, amount, currency, two in (
        (Resolution.FEE, 100, "EUR", False),
        (Resolution.FEE, -101, "EUR", True),
        (Resolution.FEE, 1, "JPY", True),
        (Resolution.RECEIVABLE_WRITE_OFF, 1, "EUR", True),
    ):
        assert requires_approval(resolution, amount_minor=amount, currency=currency, known=known) is two
    with pytest.raises(InvalidAmountError, match="no approval limit"):
        requires_approval(Resolution.FEE, amount_minor=1, currency="EUR", known={})


def test_the_second_person_is_another_one_however_the_name_is_written() -> None:
    assert same_person(" Anna  Berg", "anna berg ")
    with pytest.raises(ClearingConflictError, match="another person"):
        check_second_approver("Anna Berg", "ANNA BERG")
    check_second_approver("anna", "ben")
    for reason, by, words in (
        ("", "anna", "reason"),
        (" ", "anna", "reason"),
        ("x" * 501, "anna", "reason"),
        ("x", " ", "by"),
    ):
        with pytest.raises(ClearingConflictError, match=words):
            check_reason_and_name(reason, by)
