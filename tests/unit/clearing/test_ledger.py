"""The ledger's grammar: accounts, acceptable entries, reversal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import InvariantViolation
from clearing.journal import ledger
from clearing.journal.ledger import SESSION_TRANSIT, Deltas, Transfer
from tests.fakes import clearing_world as world

amounts = st.integers(1, 10**12)
accounts = st.sampled_from(
    ["cpo:NL-ABC:payable", "vat:NL:output", "platform:fee:revenue", "psp:stripe:receivable"]
)
transfers = st.lists(
    st.builds(Transfer, accounts, accounts, amounts, st.sampled_from(["EUR", "CHF"])), max_size=20
)


@pytest.mark.parametrize(
    "broken",
    [
        Transfer("psp:stripe:receivable", SESSION_TRANSIT, 5, "EUR"),
        Transfer(SESSION_TRANSIT, "vat:NL:output", 5, "EUR"),
        Transfer("suspense", "suspense", 5, "EUR"),
        Transfer("suspense", "vat:NL:output", 0, "EUR"),
        Transfer("suspense", "vat:NL:output", -1, "EUR"),
        Transfer("suspense", "vat:NL:output", 2**63, "EUR"),
    ],
)
def test_an_unacceptable_entry_is_an_invariant_violation(broken: Transfer) -> None:
    with pytest.raises(InvariantViolation):
        ledger.check([broken])


def test_transit_is_zero_per_currency_not_across_currencies() -> None:
    with pytest.raises(InvariantViolation, match="EUR"):
        ledger.check(
            [
                Transfer("psp:stripe:receivable", SESSION_TRANSIT, 5, "EUR"),
                Transfer(SESSION_TRANSIT, "vat:CH:output", 5, "CHF"),
            ]
        )


@given(lines=transfers)
def test_an_entry_and_its_reversal_leave_every_account_as_it_was(lines: list[Transfer]) -> None:
    deltas = Deltas()
    deltas.add(lines)
    deltas.add(ledger.reversal(lines))
    assert all(debit == credit for debit, credit in deltas.sums.values())


@given(lines=transfers)
def test_debits_equal_credits_per_currency(lines: list[Transfer]) -> None:
    deltas = Deltas()
    deltas.add(lines)
    for currency in ("EUR", "CHF"):
        sums = [minor for (_, unit), minor in deltas.sums.items() if unit == currency]
        assert sum(debit for debit, _ in sums) == sum(credit for _, credit in sums)


def test_every_account_that_is_built_is_in_the_chart() -> None:
    built = [
        *(ledger.payable_account(party) for party in world.PARTIES.values()),
        ledger.funds_account("superapp"),
        ledger.output_vat_account("ES-CN"),
        ledger.input_vat_account("CH"),
        ledger.acquisition_vat_account("LI"),
        ledger.position_account("EUR", "CHF"),
        ledger.PSP_RECEIVABLE, ledger.SESSION_TRANSIT, ledger.PLATFORM_FEE, ledger.PSP_EXPENSE,
        ledger.TREASURY_FLOAT, ledger.DISPUTE_EXPENSE, ledger.DRIVER_RECEIVABLE, ledger.SUSPENSE,
        ledger.PSP_TRANSIT, ledger.BANK_SETTLEMENT, ledger.BANK_EXPENSE, ledger.WRITE_OFF_EXPENSE,
        ledger.DEBT_EXPENSE,
    ]  # fmt: skip
    assert [path for path in built if not ledger.is_account(path)] == []
    assert not ledger.is_account("cpo:NL-ABC")
    assert not ledger.is_account("vat:nl:output")
