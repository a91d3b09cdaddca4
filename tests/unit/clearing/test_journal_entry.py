"""The ledger's grammar: accounts, acceptable entries, reversal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import ClearingInvariantViolation
from clearing.ledger import journal_entry
from clearing.ledger.journal_entry import SESSION_TRANSIT, Deltas, Transfer
from tests.fakes import clearing_fixtures as world

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
    with pytest.raises(ClearingInvariantViolation):
        journal_entry.check([broken])


def test_transit_is_zero_per_currency_not_across_currencies() -> None:
    with pytest.raises(ClearingInvariantViolation, match="EUR"):
        journal_entry.check(
            [
                Transfer("psp:stripe:receivable", SESSION_TRANSIT, 5, "EUR"),
                Transfer(SESSION_TRANSIT, "vat:CH:output", 5, "CHF"),
            ]
        )


@given(lines=transfers)
def test_an_entry_and_its_reversal_leave_every_account_as_it_was(lines: list[Transfer]) -> None:
    deltas = Deltas()
    deltas.add(lines)
    deltas.add(journal_entry.reversal(lines))
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
        *(journal_entry.payable_account(party) for party in world.PARTIES.values()),
        journal_entry.funds_account("superapp"),
        journal_entry.output_vat_account("ES-CN"),
        journal_entry.input_vat_account("CH"),
        journal_entry.acquisition_vat_account("LI"),
        journal_entry.position_account("EUR", "CHF"),
        journal_entry.PSP_RECEIVABLE,
        journal_entry.SESSION_TRANSIT,
        journal_entry.PLATFORM_FEE,
        journal_entry.PSP_EXPENSE,
        journal_entry.TREASURY_FLOAT,
        journal_entry.DISPUTE_EXPENSE,
        journal_entry.SUSPENSE,
        journal_entry.PSP_TRANSIT,
        journal_entry.BANK_SETTLEMENT,
        journal_entry.BANK_EXPENSE,
        journal_entry.WRITE_OFF_EXPENSE,
        journal_entry.RECEIVABLE_EXPENSE,
    ]
    assert [path for path in built if not journal_entry.is_account(path)] == []
    assert not journal_entry.is_account("cpo:NL-ABC")
    assert not journal_entry.is_account("vat:nl:output")
