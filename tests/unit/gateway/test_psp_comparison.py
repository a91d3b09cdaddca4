"""The PSP's record beside ours while work goes on: no false alarm, and no difference hidden behind it."""

from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.psp_comparison import OwnFigures, UnderWay, compare_with_psp
from gateway.payments.psp.movement_port import PspTotals

QUIET = OwnFigures(captured=10_000, refunded=1_000, debit=10_000, credit=1_300)
RECORD = PspTotals(currency="EUR", captured_minor=10_000, refunded_minor=1_000, fee_minor=300)


def failing(record: PspTotals, before: OwnFigures, after: OwnFigures) -> list[str]:
    return [
        one.check
        for one in compare_with_psp([record], before={"EUR": before}, after={"EUR": after})
        if not one.agrees
    ]


def test_with_nothing_under_way_the_comparison_is_exact() -> None:
    compared = compare_with_psp([RECORD], before={"EUR": QUIET}, after={"EUR": QUIET})
    assert [one.check for one in compared] == ["psp_captured", "psp_refunded", "psp_converted", "psp_balance"]
    assert all(one.low == one.high == one.theirs for one in compared)


@pytest.mark.parametrize(
    ("record", "checks"),
    [
        (replace(RECORD, captured_minor=10_001), ["psp_captured", "psp_balance"]),
        (replace(RECORD, captured_minor=9_999), ["psp_captured", "psp_balance"]),
        (replace(RECORD, refunded_minor=1_001), ["psp_refunded", "psp_balance"]),
        (replace(RECORD, fee_minor=301), ["psp_balance"]),
        (replace(RECORD, transferred_minor=1), ["psp_balance"]),
        (replace(RECORD, converted_minor=7), ["psp_converted"]),
    ],
)
def test_one_minor_unit_is_found(record: PspTotals, checks: list[str]) -> None:
    assert failing(record, QUIET, QUIET) == checks


def test_a_currency_that_only_one_side_has_differs() -> None:
    compared = compare_with_psp(
        [replace(RECORD, currency="CHF")], before={"EUR": QUIET}, after={"EUR": QUIET}
    )
    wrong = {(one.currency, one.check) for one in compared if not one.agrees}
    assert wrong == {
        (currency, check)
        for currency in ("CHF", "EUR")
        for check in ("psp_captured", "psp_refunded", "psp_balance")
    }


OPEN = replace(QUIET, under_way=UnderWay(captures=500))


@pytest.mark.parametrize("taken", [0, 200, 500])
def test_an_open_capture_may_or_may_not_be_with_the_psp(taken: int) -> None:
    assert failing(replace(RECORD, captured_minor=10_000 + taken), OPEN, OPEN) == []


@pytest.mark.parametrize("taken", [-1, 501])
def test_what_is_open_hides_no_more_than_its_amount(taken: int) -> None:
    assert failing(replace(RECORD, captured_minor=10_000 + taken), OPEN, OPEN) == [
        "psp_captured",
        "psp_balance",
    ]


def test_the_fee_of_an_open_capture_may_be_in_the_currency_that_it_was_converted_to() -> None:
    francs = PspTotals(currency="CHF", captured_minor=649, converted_minor=-649)
    euros = replace(RECORD, converted_minor=678, fee_minor=335)
    waiting = OwnFigures(under_way=UnderWay(captures=649))
    ours = {"CHF": waiting, "EUR": QUIET}

    def wrong(fee: int) -> list[tuple[str, str]]:
        records = [francs, replace(euros, fee_minor=fee)]
        compared = compare_with_psp(records, before=ours, after=ours)
        return [(one.currency, one.check) for one in compared if not one.agrees]

    converted = [("CHF", "psp_converted"), ("EUR", "psp_converted")]
    assert wrong(335) == converted
    assert wrong(300 + 679) == [*converted, ("EUR", "psp_balance")]


def test_each_open_amount_is_named() -> None:
    open_ = UnderWay(captures=1, refunds=2, uncleared=3, uncleared_fees=9, corrections=4, transfers=5)
    assert open_.named("EUR") == [
        "captures without an answer 1 EUR",
        "refunds without an answer 2 EUR",
        "captured and not cleared 3 EUR",
        "corrections not posted 4 EUR",
        "transfers without an outcome 5 EUR",
    ]


class Market:
    """A PSP and our books, in which each movement passes its steps one by one."""

    STEPS: ClassVar = {  # by movement, what each step does: asked, with the PSP, answered, posted
        "capture": ("ask", "psp", "answer", "post"),
        "refund": ("ask", "psp", "answer", "post"),
        "transfer": ("ask", "psp", "post"),
    }

    def __init__(self) -> None:
        self.ours, self.theirs = OwnFigures(), PspTotals(currency="EUR")
        self.movements: list[tuple[str, int, int]] = []

    def step(self, index: int) -> None:
        kind, minor, place = self.movements[index]
        steps = self.STEPS[kind]
        if place == len(steps):
            return
        getattr(self, f"_{kind}_{steps[place]}")(minor)
        self.movements[index] = (kind, minor, place + 1)

    def _under_way(self, **changes: int) -> None:
        open_ = self.ours.under_way
        changed = {name: getattr(open_, name) + change for name, change in changes.items()}
        self.ours = replace(self.ours, under_way=replace(open_, **changed))

    def _capture_ask(self, minor: int) -> None:
        self._under_way(captures=minor)

    def _capture_psp(self, minor: int) -> None:
        self.theirs = replace(
            self.theirs,
            captured_minor=self.theirs.captured_minor + minor,
            fee_minor=self.theirs.fee_minor + minor // 50,
        )

    def _capture_answer(self, minor: int) -> None:
        self._under_way(captures=-minor, uncleared=minor, uncleared_fees=minor // 50)
        self.ours = replace(self.ours, captured=self.ours.captured + minor)

    def _capture_post(self, minor: int) -> None:
        self._under_way(uncleared=-minor, uncleared_fees=-(minor // 50))
        self.ours = replace(self.ours, debit=self.ours.debit + minor, credit=self.ours.credit + minor // 50)

    def _refund_ask(self, minor: int) -> None:
        self._under_way(refunds=minor)
        self.ours = replace(self.ours, refunded=self.ours.refunded + minor)

    def _refund_psp(self, minor: int) -> None:
        self.theirs = replace(self.theirs, refunded_minor=self.theirs.refunded_minor + minor)

    def _refund_answer(self, minor: int) -> None:
        self._under_way(refunds=-minor, corrections=minor)

    def _refund_post(self, minor: int) -> None:
        self._under_way(corrections=-minor)
        self.ours = replace(self.ours, credit=self.ours.credit + minor)

    def _transfer_ask(self, minor: int) -> None:
        self._under_way(transfers=minor)

    def _transfer_psp(self, minor: int) -> None:
        self.theirs = replace(self.theirs, transferred_minor=self.theirs.transferred_minor + minor)

    def _transfer_post(self, minor: int) -> None:
        self._under_way(transfers=-minor)
        self.ours = replace(self.ours, credit=self.ours.credit + minor)


@given(
    movements=st.lists(
        st.tuples(st.sampled_from(sorted(Market.STEPS)), st.integers(1, 5_000)), min_size=1, max_size=8
    ),
    steps=st.lists(st.integers(0, 7), max_size=40),
    read_at=st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)),
    wrong=st.integers(-3, 3),
)
def test_work_that_goes_on_while_the_record_is_read_is_no_difference(
    movements: list[tuple[str, int]], steps: list[int], read_at: tuple[int, int, int], wrong: int
) -> None:
    market = Market()
    market.movements = [(kind, minor, 0) for kind, minor in movements]
    first, listed, last = sorted(read_at)
    before = after = market.ours
    record = market.theirs
    for number in range(41):
        before = market.ours if number == first else before
        record = market.theirs if number == listed else record
        after = market.ours if number == last else after
        if number < len(steps):
            market.step(steps[number] % len(market.movements))
    assert failing(record, before, after) == []
    for index in range(len(market.movements)):
        for _ in range(4):
            market.step(index)
    quiet = replace(market.ours, under_way=UnderWay())
    assert market.ours == quiet
    found = failing(replace(market.theirs, other_minor=wrong), quiet, quiet)
    assert found == (["psp_balance"] if wrong else [])
