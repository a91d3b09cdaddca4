"""Conversion of what is charged into the currencies that the account settles in.

Owns: the rates, which move a little from day to day, the provider's margin in them, the rounding. Must not
know: accounts, balance transactions.
An account without settlement currencies settles each currency in itself.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from types import MappingProxyType
from typing import Final

from sandbox.stripe.currencies import exponent

# One euro in each currency: round figures of no day, for test money.
PER_EURO: Final = MappingProxyType(
    {
        "eur": Decimal(1),
        "chf": Decimal("0.94"),
        "gbp": Decimal("0.86"),
        "usd": Decimal("1.16"),
        "jpy": Decimal(172),
        "sek": Decimal("11.1"),
        "nok": Decimal("11.7"),
        "dkk": Decimal("7.46"),
        "pln": Decimal("4.26"),
        "czk": Decimal("24.4"),
        "huf": Decimal(390),
        "ron": Decimal("5.08"),
        "isk": Decimal(143),
    }
)
_DAY_S: Final = 86_400
_WEEK: Final = 7
_DAILY_STEP: Final = Decimal("0.001")
_DIGITS: Final = Context(prec=6, rounding=ROUND_HALF_UP)
_BASIS_POINTS: Final = 10_000


def settlement_currency(currency: str, settles_in: Sequence[str]) -> str:
    """The currency in which the account receives `currency`: itself where that settles, else its default."""
    return currency if not settles_in or currency in settles_in or currency not in PER_EURO else settles_in[0]


def exchange_rate(base: str, quote: str, *, margin_basis_points: int, now: int) -> Decimal:
    """One major unit of `base` in `quote` on the day of `now`, less the provider's margin; six digits."""
    middle = PER_EURO[quote] / PER_EURO[base]
    of_day = 1 + _DAILY_STEP * (now // _DAY_S % _WEEK - _WEEK // 2)
    kept = Decimal(_BASIS_POINTS - margin_basis_points) / _BASIS_POINTS
    return _DIGITS.create_decimal(middle * of_day * kept)


def converted(amount: int, rate: Decimal, *, base: str, quote: str) -> int:
    """`amount` of the provider's units of `base` in those of `quote`, half away from zero."""
    exact = (Decimal(amount) * rate).scaleb(exponent(quote) - exponent(base))
    return int(exact.to_integral_value(rounding=ROUND_HALF_UP))
