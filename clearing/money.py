"""Money: integer minor units with a currency, and the only place where anything is rounded.

Owns: ISO 4217 exponents, rounding modes, allocation of a whole into parts, net and VAT of a gross.
Must not know: who pays, what is bought, where a rate comes from. No float enters; mixing currencies raises.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from typing import Final

from clearing.errors import CurrencyMismatchError, InvalidAmountError, UnknownCurrencyError

# ISO 4217 minor-unit exponents of the currencies this house settles, and of a few that test the rule.
EXPONENTS: Final[dict[str, int]] = {
    "BGN": 2, "BHD": 3, "CAD": 2, "CHF": 2, "CZK": 2, "DKK": 2, "EUR": 2, "GBP": 2, "HUF": 2, "ISK": 0,
    "JPY": 0, "KWD": 3, "MKD": 2, "NOK": 2, "PLN": 2, "RON": 2, "RSD": 2, "SEK": 2, "TRY": 2, "UAH": 2,
    "USD": 2,
}  # fmt: skip

MAX_MINOR: Final = 2**63 - 1  # a bigint column
# Wide enough that no intermediate product of bounded inputs is ever rounded by the context itself.
EXACT: Final = Context(prec=60)


class Rounding(StrEnum):
    """How a Decimal becomes a whole number of units. Every call names one."""

    HALF_AWAY = "half_away_from_zero"
    HALF_EVEN = "half_even"
    DOWN = "toward_zero"
    CEILING = "toward_positive"


_DECIMAL_MODE: Final = {
    Rounding.HALF_AWAY: ROUND_HALF_UP,  # decimal's HALF_UP is by magnitude: away from zero
    Rounding.HALF_EVEN: ROUND_HALF_EVEN,
    Rounding.DOWN: ROUND_DOWN,
    Rounding.CEILING: ROUND_CEILING,
}


def exponent(currency: str) -> int:
    """Digits after the decimal point of `currency` (ISO 4217). Raises UnknownCurrencyError."""
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise UnknownCurrencyError(currency) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    """A signed whole number of minor units of one currency, within a bigint."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        exponent(self.currency)
        if not -MAX_MINOR <= self.minor <= MAX_MINOR:
            raise InvalidAmountError(f"{self.minor} {self.currency} does not fit a 64-bit amount")

    def __add__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(minor=self.minor + other.minor, currency=self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(minor=self.minor - other.minor, currency=self.currency)

    def __neg__(self) -> "Money":
        return Money(minor=-self.minor, currency=self.currency)

    def __str__(self) -> str:
        return f"{self.decimal()} {self.currency}"

    def decimal(self) -> Decimal:
        """The amount in major units, with the currency's digits: 1234 EUR-cents is Decimal('12.34')."""
        return to_major(self.minor, self.currency)

    def _same(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise CurrencyMismatchError(self.currency, other.currency)


def to_major(minor: int, currency: str) -> Decimal:
    """Minor units to a Decimal of major units, exactly."""
    return Decimal(minor).scaleb(-exponent(currency), context=EXACT)


def round_units(value: Decimal, *, rounding: Rounding) -> int:
    """`value` to a whole number in the named mode."""
    return int(value.quantize(Decimal(1), rounding=_DECIMAL_MODE[rounding], context=EXACT))


def to_minor(amount: Decimal, currency: str, *, rounding: Rounding) -> int:
    """A Decimal of major units to minor units in the named mode: 12.345 EUR half away is 1235."""
    if not amount.is_finite():
        raise InvalidAmountError(f"{amount} {currency} is not a finite amount")
    return round_units(amount.scaleb(exponent(currency), context=EXACT), rounding=rounding)


def quantize(value: Decimal, *, digits: int, rounding: Rounding) -> Decimal:
    """`value` with `digits` decimals in the named mode."""
    return value.quantize(Decimal(1).scaleb(-digits), rounding=_DECIMAL_MODE[rounding], context=EXACT)


def allocate(total_minor: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Split a whole by integer weights so that the parts sum to it exactly (largest remainder).

    Ties go to the earlier part; a negative total mirrors the positive one. 15 at 80/8/12 is 12/1/2.
    Raises InvalidAmountError when a weight is negative or all are zero while there is something to split.
    """
    if any(weight < 0 for weight in weights):
        raise InvalidAmountError(f"a weight in {list(weights)} is negative")
    whole = sum(weights)
    if total_minor == 0:
        return tuple(0 for _ in weights)
    if whole == 0:
        raise InvalidAmountError(f"{total_minor} minor units can't be split by weights that sum to zero")
    sign = 1 if total_minor > 0 else -1
    shares = [divmod(abs(total_minor) * weight, whole) for weight in weights]
    left = abs(total_minor) - sum(quotient for quotient, _ in shares)
    by_remainder = sorted(range(len(weights)), key=lambda place: (-shares[place][1], place))
    lifted = set(by_remainder[:left])
    return tuple(sign * (quotient + (place in lifted)) for place, (quotient, _) in enumerate(shares))


def net_and_vat(gross_minor: int, rate_percent: Decimal) -> tuple[int, int]:
    """Split a VAT-inclusive amount: net = gross * 100 / (100 + rate), half away from zero; VAT is the rest.

    net + VAT reproduces the gross to the minor unit (Directive 2006/112/EC art. 78 fixes the taxable amount
    as the price without VAT).
    """
    if rate_percent < 0:
        raise InvalidAmountError(f"a VAT rate of {rate_percent} % is negative")
    net = round_units(
        EXACT.divide(Decimal(gross_minor) * 100, Decimal(100) + rate_percent), rounding=Rounding.HALF_AWAY
    )
    return net, gross_minor - net
