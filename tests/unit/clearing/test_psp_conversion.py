"""What the PSP converts by itself, as entries: worked examples, and rules that hold for any amounts."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import CurrencyMismatchError, InvalidAmountError
from clearing.fx import FxLock
from clearing.ledger.journal_entry import PSP_RECEIVABLE, JournalEntry, Transfer
from clearing.ledger.psp_conversion import OpenPosition, PspConversion, post_conversion

NOTHING = OpenPosition(base_minor=0, cost_minor=0)
# The worked examples' rates are the PSP's and the reference rate of a day that was made up.
JPY_EUR = FxLock(
    base="JPY", quote="EUR", rate=Decimal("0.0058"), source="ECB", rate_date=date(2026, 10, 13), markup_bps=0
)
CHF_EUR = FxLock(
    base="CHF", quote="EUR", rate=Decimal("1.06"), source="ECB", rate_date=date(2026, 10, 13), markup_bps=0
)


def converted(
    sold: int, bought: int, *, base: str = "JPY", rate: str = "0.005684", quote: str = "EUR"
) -> PspConversion:
    return PspConversion(
        movement_id="txn_1",
        source="ch_1",
        base=base,
        quote=quote,
        sold_minor=sold,
        bought_minor=bought,
        rate=Decimal(rate),
    )


def moved(entry: JournalEntry) -> dict[tuple[str, str], int]:
    """Credits minus debits by account and currency."""
    sums: dict[tuple[str, str], int] = {}
    for debit, credit, minor, currency in entry.transfers:
        sums[debit, currency] = sums.get((debit, currency), 0) - minor
        sums[credit, currency] = sums.get((credit, currency), 0) + minor
    return sums


def test_a_charge_in_yen_received_in_euro_names_what_the_psp_kept_of_it() -> None:
    """JPY 1500 at 0.0058 are EUR 8.70; the PSP credited 8.53, so 0.17 is the loss."""
    entry, after = post_conversion(converted(1500, 853), NOTHING, JPY_EUR)
    assert list(entry.transfers) == [
        Transfer("fx:JPY-EUR:position", PSP_RECEIVABLE, 1500, "JPY"),
        Transfer("fx:JPY-EUR:result", "fx:JPY-EUR:position", 17, "EUR"),
        Transfer(PSP_RECEIVABLE, "fx:JPY-EUR:position", 853, "EUR"),
    ]
    assert (entry.reference, entry.currency, entry.gross_minor) == ("ch_1", "JPY", 1500)
    assert after == OpenPosition(base_minor=-1500, cost_minor=-870)


def test_a_refund_in_francs_takes_euro_back_and_the_same_accounts_move_the_other_way() -> None:
    """CHF -10.00 at 1.06 are EUR -10.60; the PSP took 10.75, so 0.15 is the loss."""
    entry, after = post_conversion(converted(-1000, -1075, base="CHF", rate="1.075"), NOTHING, CHF_EUR)
    assert moved(entry) == {
        ("fx:CHF-EUR:position", "CHF"): 1000,
        (PSP_RECEIVABLE, "CHF"): -1000,
        (PSP_RECEIVABLE, "EUR"): 1075,
        ("fx:CHF-EUR:position", "EUR"): -1060,
        ("fx:CHF-EUR:result", "EUR"): -15,
    }
    assert after == OpenPosition(base_minor=1000, cost_minor=1060)


def test_what_parties_are_paid_in_the_other_currency_is_closed_at_its_cost() -> None:
    """A position of JPY 2000 credited as EUR 11.50: of 1500 sold, three quarters, 8.63, are its cost."""
    held = OpenPosition(base_minor=2000, cost_minor=1150)
    entry, after = post_conversion(converted(1500, 853), held, JPY_EUR)
    assert moved(entry)["fx:JPY-EUR:position", "EUR"] == 863
    assert moved(entry)["fx:JPY-EUR:result", "EUR"] == -10
    assert after == OpenPosition(base_minor=500, cost_minor=287)


def test_what_exceeds_the_position_is_valued_at_the_reference_rate() -> None:
    """JPY 500 at their cost of 3.00, JPY 1000 at 0.0058: EUR 5.80."""
    entry, after = post_conversion(
        converted(1500, 853), OpenPosition(base_minor=500, cost_minor=300), JPY_EUR
    )
    assert moved(entry)["fx:JPY-EUR:position", "EUR"] == 880
    assert after == OpenPosition(base_minor=-1000, cost_minor=-580)


def test_a_position_that_holds_nothing_keeps_no_remainder() -> None:
    _, after = post_conversion(converted(1500, 853), OpenPosition(base_minor=0, cost_minor=12), JPY_EUR)
    assert after == OpenPosition(base_minor=-1500, cost_minor=-870)


def test_without_a_reference_rate_the_psps_own_amount_counts() -> None:
    entry, _ = post_conversion(converted(1500, 853), NOTHING, None)
    assert ("fx:JPY-EUR:result", "EUR") not in moved(entry)


@pytest.mark.parametrize(("sold", "bought"), [(0, 853), (1500, -853), (-1500, 853)])
def test_amounts_of_two_signs_are_no_conversion(sold: int, bought: int) -> None:
    with pytest.raises(InvalidAmountError):
        converted(sold, bought)


def test_one_currency_is_no_conversion() -> None:
    with pytest.raises(CurrencyMismatchError):
        converted(1500, 853, quote="JPY")


steps = st.lists(
    st.tuples(st.integers(1, 10**9), st.integers(0, 10**9), st.sampled_from([1, -1])),
    min_size=1,
    max_size=12,
)


@given(
    steps=steps,
    lock=st.sampled_from([JPY_EUR, None]),
    held=st.integers(-(10**9), 10**9),
    cost=st.integers(-(10**9), 10**9),
)
def test_each_currency_sums_to_zero_and_the_balance_moves_by_what_the_psp_says(
    steps: list[tuple[int, int, int]], lock: FxLock | None, held: int, cost: int
) -> None:
    position = OpenPosition(base_minor=held, cost_minor=cost)
    for sold, bought, sign in steps:
        one = converted(sign * sold, sign * bought)
        entry, after = post_conversion(one, position, lock)
        sums = moved(entry)
        for currency in ("JPY", "EUR"):
            assert sum(minor for (_, unit), minor in sums.items() if unit == currency) == 0
        assert sums[PSP_RECEIVABLE, "JPY"] == sign * sold
        assert sums.get((PSP_RECEIVABLE, "EUR"), 0) == -sign * bought
        assert after.base_minor - position.base_minor == sums["fx:JPY-EUR:position", "JPY"]
        assert position.cost_minor - after.cost_minor == sums.get(("fx:JPY-EUR:position", "EUR"), 0)
        closed_whole = position.base_minor == sign * sold
        assert not closed_whole or after == NOTHING
        position = after
