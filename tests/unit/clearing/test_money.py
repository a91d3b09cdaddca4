"""Money: exact to the unit, in integers, and every whole is the sum of its parts."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import (
    ClearingInvariantViolation,
    InvalidAmountError,
    UnknownCurrencyError,
)
from clearing.money import (
    Rounding,
    allocate,
    distribute,
    exponent,
    half_away,
    net_and_vat,
    proportion,
    quantize,
    to_major,
    to_minor,
    vat_on,
)

amounts = st.integers(-(10**15), 10**15)
rates = st.decimals("0", "30", places=2)


@pytest.mark.parametrize(
    ("currency", "digits"), [("EUR", 2), ("CHF", 2), ("JPY", 0), ("ISK", 0), ("KWD", 3), ("BHD", 3)]
)
def test_exponents_are_those_of_iso_4217(currency: str, digits: int) -> None:
    assert exponent(currency) == digits
    assert to_minor(to_major(12345, currency), currency, rounding=Rounding.HALF_AWAY) == 12345


def test_an_unknown_currency_is_rejected() -> None:
    with pytest.raises(UnknownCurrencyError, match="ISO 4217"):
        exponent("EURO")


@pytest.mark.parametrize(
    ("value", "mode", "expected"),
    [
        ("2.5", Rounding.HALF_AWAY, 3),
        ("-2.5", Rounding.HALF_AWAY, -3),
        ("2.5", Rounding.HALF_EVEN, 2),
        ("3.5", Rounding.HALF_EVEN, 4),
        ("2.9", Rounding.DOWN, 2),
        ("-2.9", Rounding.DOWN, -2),
        ("2.1", Rounding.CEILING, 3),
        ("-2.9", Rounding.CEILING, -2),
    ],
)
def test_each_mode_rounds_as_named(value: str, mode: Rounding, expected: int) -> None:
    assert quantize(Decimal(value), digits=0, rounding=mode) == expected
    assert to_minor(Decimal(value), "JPY", rounding=mode) == expected


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
def test_what_is_no_number_is_no_amount(value: str) -> None:
    with pytest.raises(InvalidAmountError):
        to_minor(Decimal(value), "EUR", rounding=Rounding.HALF_AWAY)


def test_vat_worked_by_hand() -> None:
    # Directive 2006/112/EC art. 78: the taxable amount is the price without VAT.
    assert net_and_vat(1210, Decimal(21)) == (1000, 210)
    assert net_and_vat(541, Decimal("8.1")) == (500, 41)  # 500.46 to 500
    assert net_and_vat(3, Decimal(21)) == (2, 1)
    assert vat_on(837, Decimal("8.1")) == 68  # 67.797
    assert vat_on(2511, Decimal("8.1")) == 203  # 203.391
    for rejected in (
        lambda: vat_on(1, Decimal(-1)),
        lambda: net_and_vat(1, Decimal(-1)),
        lambda: half_away(1, 0),
    ):
        with pytest.raises(InvalidAmountError):
            rejected()


@given(gross=amounts, rate=rates)
def test_net_and_vat_reproduce_the_gross_and_mirror_its_sign(gross: int, rate: Decimal) -> None:
    net, vat = net_and_vat(gross, rate)
    assert net + vat == gross
    assert net_and_vat(-gross, rate) == (-net, -vat)
    assert abs(net - Fraction(gross * 100) / (100 + Fraction(rate))) <= Fraction(1, 2)


@given(net=amounts, rate=rates)
def test_vat_on_a_net_is_within_half_a_unit(net: int, rate: Decimal) -> None:
    assert abs(vat_on(net, rate) - net * Fraction(rate) / 100) <= Fraction(1, 2)
    assert vat_on(-net, rate) == -vat_on(net, rate)


@given(numerator=st.integers(-(10**40), 10**40), denominator=st.integers(1, 10**20))
def test_half_away_is_exact_at_any_size(numerator: int, denominator: int) -> None:
    found, exact = half_away(numerator, denominator), Fraction(numerator, denominator)
    assert abs(found - exact) <= Fraction(1, 2)
    if abs(found - exact) == Fraction(1, 2):
        assert abs(found) > abs(exact)


@given(total=amounts, weights=st.lists(st.integers(0, 10_000), min_size=1, max_size=8).filter(any))
def test_an_allocation_is_whole_and_within_a_unit(total: int, weights: list[int]) -> None:
    parts = allocate(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(total * weight, sum(weights))) < 1
    assert allocate(-total, weights) == tuple(-part for part in parts)


def test_nothing_can_be_allocated_by_nothing() -> None:
    assert allocate(0, [0, 0]) == (0, 0)
    with pytest.raises(InvalidAmountError):
        allocate(1, [0, 0])
    with pytest.raises(InvalidAmountError):
        allocate(1, [2, -1])


@given(parts=st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=8).filter(sum), total=amounts)
def test_a_proportion_is_whole_within_a_unit_and_keeps_its_own_sum(parts: list[int], total: int) -> None:
    scaled = proportion(total, parts)
    whole = sum(parts)
    assert sum(scaled) == total
    for one, part in zip(scaled, parts, strict=True):
        assert abs(one - Fraction(part * total, whole)) <= 1
    assert proportion(whole, parts) == tuple(parts)


def test_a_proportion_of_parts_that_cancel_is_rejected() -> None:
    assert proportion(0, [5, -5]) == (0, 0)
    with pytest.raises(InvalidAmountError):
        proportion(1, [5, -5])


@given(exact=st.lists(st.decimals("-1000", "1000", places=6), min_size=1, max_size=8))
def test_a_distribution_rounds_each_part_by_less_than_a_unit(exact: list[Decimal]) -> None:
    rest = -sum(exact, Decimal(0)) % 1
    parts = [*exact, rest]
    total = int(sum(parts, Decimal(0)))
    found = distribute(total, parts)
    assert sum(found) == total
    assert all(abs(one - part) < 1 for one, part in zip(found, parts, strict=True))


def test_parts_that_are_not_the_whole_are_a_bug() -> None:
    with pytest.raises(ClearingInvariantViolation):
        distribute(10, [Decimal(1), Decimal(2)])
