"""Differences by type, tolerances as data, merged lines, complete reports."""

import csv
import io
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.ledger.journal_entry import is_account
from clearing.reconciliation import report
from clearing.reconciliation.comparison import (
    Difference,
    DifferenceType,
    OpenGroup,
    OpenItem,
    ReconciliationPair,
    Tolerance,
    WithinTolerance,
    balance_difference,
    compare,
    fitting_candidates,
    merged,
)
from clearing.reconciliation.service import bundled_tolerances

TODAY = date(2026, 10, 20)
RIGHT = {"left_count": 0, "left_minor": 0, "right_count": 1, "right_minor": 605}


def group(**changes: Any) -> OpenGroup:
    fields: dict[str, Any] = {
        "pair": "book_psp",
        "reference": "ch_1",
        "currency": "EUR",
        "left_minor": 605,
        "left_count": 1,
        "right_minor": 0,
        "right_count": 0,
        "since": date(2026, 10, 1),
        "kinds": ["capture"],
        "detail": "",
        "matched": 0,
    }
    return OpenGroup(**{**fields, **changes})


def compared(*groups: OpenGroup) -> list[Difference | WithinTolerance]:
    return compare(groups, bundled_tolerances(), today=TODAY)


@pytest.mark.parametrize(
    ("changes", "expected", "owner"),
    [
        ({}, DifferenceType.MISSING_RIGHT, "payments"),
        ({**RIGHT, "right_minor": 5}, DifferenceType.MISSING_LEFT, "payments"),
        ({"right_minor": 604, "right_count": 1}, DifferenceType.AMOUNT, "finance"),
        ({**RIGHT, "matched": 2}, DifferenceType.DUPLICATE, "finance"),
        (
            {**RIGHT, "pair": "book_bank", "matched": 2, "kinds": ["return"]},
            DifferenceType.RETURNED,
            "partner_support",
        ),
        ({**RIGHT, "reference": "line:x", "since": TODAY}, DifferenceType.UNKNOWN_LINE, "finance"),
        ({"pair": "psp_bank"}, DifferenceType.MISSING_RIGHT, "psp"),
        (
            {"right_minor": 605, "right_count": 1, "right_fee_minor": 34, "left_fee_minor": 30},
            DifferenceType.FEE,
            "payments",
        ),
        (
            {**RIGHT, "kinds": ["stripe_fee"], "reference": "line:t", "since": TODAY},
            DifferenceType.FEE,
            "payments",
        ),
    ],
)
def test_each_way_to_disagree_has_its_type_and_owner(
    changes: dict[str, Any], expected: DifferenceType, owner: str
) -> None:
    (found,) = compared(group(**changes))
    assert isinstance(found, Difference)
    assert (found.type, found.owner) == (expected, owner)


def test_one_side_alone_is_no_difference_within_the_waiting_time() -> None:
    assert compared(group(since=date(2026, 10, 18))) == []
    assert len(compared(group(since=date(2026, 10, 17)))) == 1


def test_one_reference_in_two_currencies_is_a_difference_of_currency() -> None:
    left = group()
    right = group(currency="CHF", left_minor=0, left_count=0, right_minor=605, right_count=1)
    assert [one.type for one in compared(left, right) if isinstance(one, Difference)] == [
        "currency",
        "currency",
    ]


def test_a_fee_is_not_part_of_the_amount_and_its_proposal_books_the_excess() -> None:
    (found,) = compared(group(right_minor=605, right_count=1, left_fee_minor=30, right_fee_minor=34))
    assert isinstance(found, Difference)
    assert found.amount_minor == 4
    proposal = json.loads(found.proposal)
    assert (proposal["debit"], proposal["credit"], proposal["amount_minor"]) == (
        "platform:psp:expense",
        "psp:stripe:receivable",
        4,
    )
    assert "fee 30 in our books, 34 at the PSP" in found.detail


def test_a_movement_that_its_own_side_cancelled_is_no_difference_after_the_waiting_time() -> None:
    both = {"pair": "psp_bank", "left_minor": 0, "left_count": 2}
    (found,) = compared(group(**both))
    assert isinstance(found, WithinTolerance)
    assert found.cancelled
    assert compared(group(**both, since=TODAY)) == []


def test_the_banks_balance_and_a_missing_statement_have_their_own_types() -> None:
    balance, gap = (
        balance_difference(
            reference="balance:EUR", currency="EUR", kind=kind, amount_minor=-5, since=TODAY, detail=""
        )
        for kind in (DifferenceType.BALANCE, DifferenceType.STATEMENT_GAP)
    )
    assert (balance.owner, gap.owner) == ("treasury", "treasury")
    assert json.loads(balance.proposal)["debit"] == "bank:settlement"
    assert "do" in json.loads(gap.proposal)


def test_tolerance_is_data_per_pair_and_currency() -> None:
    forint = group(pair="psp_bank", currency="HUF", left_minor=10050, right_minor=10000, right_count=1)
    assert isinstance(compared(forint)[0], WithinTolerance)
    rules = {("psp_bank", "*"): Tolerance(pair="psp_bank", currency="*", waiting_days=5, tolerance_minor=0)}
    assert isinstance(compare([forint], rules, today=TODAY)[0], Difference)


@given(
    pair=st.sampled_from(ReconciliationPair),
    left=st.integers(-(10**9), 10**9),
    right=st.integers(-(10**9), 10**9),
    counts=st.sampled_from([(1, 0), (0, 1), (1, 1), (2, 1)]),
    matched=st.integers(0, 2),
)
def test_no_difference_is_silent_and_each_proposal_balances(
    pair: ReconciliationPair, left: int, right: int, counts: tuple[int, int], matched: int
) -> None:
    one = group(
        pair=pair.value,
        left_minor=left if counts[0] else 0,
        right_minor=right if counts[1] else 0,
        left_count=counts[0],
        right_count=counts[1],
        matched=matched,
    )
    (found,) = compared(one)
    if isinstance(found, WithinTolerance):
        assert one.left_minor == one.right_minor
        return
    assert found.owner
    charge = found.type is DifferenceType.FEE
    assert found.amount_minor == one.left_minor - one.right_minor or charge
    proposal = json.loads(found.proposal)
    if "debit" in proposal:
        assert proposal["amount_minor"] == abs(found.amount_minor) > 0
        assert is_account(proposal["debit"])
        assert is_account(proposal["credit"])
        assert "revenue" not in found.proposal


def item(reference: str, minor: int) -> OpenItem:
    return OpenItem(source_id=reference, reference=reference, amount_minor=minor)


def test_two_items_merged_into_one_line_are_matched_only_when_named_and_equal() -> None:
    both = [item("NC1", -100), item("NC2", -250)]
    assert merged(-350, "salary run NC1 NC2", both) == both
    assert merged(-350, "salary run NC1", both) is None
    assert merged(-351, "NC1 NC2", both) is None
    assert merged(-100, "NC1", both) is None


def test_candidates_are_shown_only_when_one_set_fits() -> None:
    items = [item("a", 100), item("b", 250), item("c", 400)]
    assert fitting_candidates(650, items) == (items[1], items[2])
    assert fitting_candidates(999, items) is None
    assert fitting_candidates(100, [item("a", 100), item("b", 100)]) is None


DIFFERENCE = report.OpenDifference(
    pair="psp_bank",
    reference="=cmd()",
    currency="JPY",
    type="amount",
    amount_minor=-1234,
    since=date(2026, 10, 1),
    owner="finance",
    proposal='{"do": "look"}',
    detail="<b>Zürich</b>",
    first_seen_at=datetime(2026, 10, 2, tzinfo=UTC),
    age_days=19,
    candidates=("po_1", "po_2"),
)


def test_the_report_shows_the_same_in_each_form_and_runs_nothing() -> None:
    row = next(csv.reader(io.StringIO(report.csv_row(DIFFERENCE))))
    named = dict(zip(next(csv.reader(io.StringIO(report.csv_header()))), row, strict=True))
    assert (named["amount"], named["reference"], named["age_days"]) == ("-1234", "'=cmd()", "19")
    assert named["candidates"] == "po_1 po_2"
    as_json = json.loads(report.json_line(DIFFERENCE))
    assert (as_json["proposal"], as_json["candidates"]) == ({"do": "look"}, ["po_1", "po_2"])
    page = report.page_row(DIFFERENCE)
    assert "po_1 po_2" in page
    assert "<b>" not in page
    assert "&lt;b&gt;Zürich" in page
    head = report.page_head(
        [report.ItemCount(pair="psp_bank", side="left", items=3, open=1, oldest_open=None)],
        at=datetime.now(UTC),
    )
    assert "psp_bank" in head
    assert "No difference" in report.page_foot(0)
