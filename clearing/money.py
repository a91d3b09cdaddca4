"""Money: integer minor units of a currency, and the only place where anything is rounded.

Owns: ISO 4217 exponents, rounding modes, allocation of a whole into parts, net and VAT of a gross.
Must not know: who pays, what is bought, where a rate comes from. No float enters.
"""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from typing import Final

from clearing.errors import (
    ClearingInvariantViolation,
    InvalidAmountError,
    UnknownCurrencyError,
)

# ISO 4217 minor-unit exponents of the active currencies, and of the leva, which ended on 2025-12-31.
EXPONENTS: Final[dict[str, int]] = {
    "AED": 2,
    "AFN": 2,
    "ALL": 2,
    "AMD": 2,
    "ANG": 2,
    "AOA": 2,
    "ARS": 2,
    "AUD": 2,
    "AWG": 2,
    "AZN": 2,
    "BAM": 2,
    "BBD": 2,
    "BDT": 2,
    "BGN": 2,
    "BHD": 3,
    "BIF": 0,
    "BMD": 2,
    "BND": 2,
    "BOB": 2,
    "BRL": 2,
    "BSD": 2,
    "BTN": 2,
    "BWP": 2,
    "BYN": 2,
    "BZD": 2,
    "CAD": 2,
    "CDF": 2,
    "CHF": 2,
    "CLP": 0,
    "CNY": 2,
    "COP": 2,
    "CRC": 2,
    "CUP": 2,
    "CVE": 2,
    "CZK": 2,
    "DJF": 0,
    "DKK": 2,
    "DOP": 2,
    "DZD": 2,
    "EGP": 2,
    "ERN": 2,
    "ETB": 2,
    "EUR": 2,
    "FJD": 2,
    "FKP": 2,
    "GBP": 2,
    "GEL": 2,
    "GHS": 2,
    "GIP": 2,
    "GMD": 2,
    "GNF": 0,
    "GTQ": 2,
    "GYD": 2,
    "HKD": 2,
    "HNL": 2,
    "HTG": 2,
    "HUF": 2,
    "IDR": 2,
    "ILS": 2,
    "INR": 2,
    "IQD": 3,
    "IRR": 2,
    "ISK": 0,
    "JMD": 2,
    "JOD": 3,
    "JPY": 0,
    "KES": 2,
    "KGS": 2,
    "KHR": 2,
    "KMF": 0,
    "KPW": 2,
    "KRW": 0,
    "KWD": 3,
    "KYD": 2,
    "KZT": 2,
    "LAK": 2,
    "LBP": 2,
    "LKR": 2,
    "LRD": 2,
    "LSL": 2,
    "LYD": 3,
    "MAD": 2,
    "MDL": 2,
    "MGA": 2,
    "MKD": 2,
    "MMK": 2,
    "MNT": 2,
    "MOP": 2,
    "MRU": 2,
    "MUR": 2,
    "MVR": 2,
    "MWK": 2,
    "MXN": 2,
    "MYR": 2,
    "MZN": 2,
    "NAD": 2,
    "NGN": 2,
    "NIO": 2,
    "NOK": 2,
    "NPR": 2,
    "NZD": 2,
    "OMR": 3,
    "PAB": 2,
    "PEN": 2,
    "PGK": 2,
    "PHP": 2,
    "PKR": 2,
    "PLN": 2,
    "PYG": 0,
    "QAR": 2,
    "RON": 2,
    "RSD": 2,
    "RUB": 2,
    "RWF": 0,
    "SAR": 2,
    "SBD": 2,
    "SCR": 2,
    "SDG": 2,
    "SEK": 2,
    "SGD": 2,
    "SHP": 2,
    "SLE": 2,
    "SOS": 2,
    "SRD": 2,
    "SSP": 2,
    "STN": 2,
    "SVC": 2,
    "SYP": 2,
    "SZL": 2,
    "THB": 2,
    "TJS": 2,
    "TMT": 2,
    "TND": 3,
    "TOP": 2,
    "TRY": 2,
    "TTD": 2,
    "TWD": 2,
    "TZS": 2,
    "UAH": 2,
    "UGX": 0,
    "USD": 2,
    "UYU": 2,
    "UZS": 2,
    "VES": 2,
    "VND": 0,
    "VUV": 0,
    "WST": 2,
    "XAF": 0,
    "XCD": 2,
    "XOF": 0,
    "XPF": 0,
    "YER": 2,
    "ZAR": 2,
    "ZMW": 2,
}

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


_QUANTA: Final = tuple(Decimal(1).scaleb(-digits) for digits in range(31))  # 1, 0.1, 0.01, ...


def to_major(minor: int, currency: str) -> Decimal:
    """Minor units to a Decimal of major units, exactly."""
    return Decimal(minor).scaleb(-exponent(currency), context=EXACT)


def round_units(value: Decimal, *, rounding: Rounding) -> int:
    """`value` to a whole number in the named mode."""
    return int(value.quantize(_QUANTA[0], _DECIMAL_MODE[rounding], EXACT))


def to_minor(amount: Decimal, currency: str, *, rounding: Rounding) -> int:
    """A Decimal of major units to minor units in the named mode: 12.345 EUR half away is 1235."""
    if not amount.is_finite():
        raise InvalidAmountError(f"{amount} {currency} is not a finite amount")
    units = amount.scaleb(exponent(currency), EXACT)
    return int(units.quantize(_QUANTA[0], _DECIMAL_MODE[rounding], EXACT))


def quantize(value: Decimal, *, digits: int, rounding: Rounding) -> Decimal:
    """`value` with `digits` decimals in the named mode."""
    return value.quantize(_QUANTA[digits], _DECIMAL_MODE[rounding], EXACT)


def four_decimals(value: Decimal) -> Decimal:
    """`value` with four decimals, half away from zero: OCPI's number, and the digits of a price component."""
    return value.quantize(_QUANTA[4], ROUND_HALF_UP, EXACT)


def allocate(total_minor: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Split a whole by integer weights so that the parts sum to it exactly (largest remainder).

    Ties go to the earlier part; a negative total mirrors the positive one. 15 at 80/8/12 is 12/1/2.
    Raises InvalidAmountError when a weight is negative or all are zero while there is something to split.
    """
    if min(weights, default=0) < 0:
        raise InvalidAmountError(f"a weight in {list(weights)} is negative")
    whole = sum(weights)
    if total_minor == 0:
        return (0,) * len(weights)
    if whole == 0:
        raise InvalidAmountError(f"{total_minor} minor units can't be split by weights that sum to zero")
    left = size = abs(total_minor)
    parts: list[int] = []
    remainders: list[int] = []
    for weight in weights:
        quotient, remainder = divmod(size * weight, whole)
        parts.append(quotient)
        remainders.append(remainder)
        left -= quotient
    if left:
        # Sorting keeps the order of equals, also in reverse: a tie goes to the earlier part.
        for place in sorted(range(len(parts)), key=remainders.__getitem__, reverse=True)[:left]:
            parts[place] += 1
    return tuple(parts) if total_minor > 0 else tuple(-part for part in parts)


def distribute(total_minor: int, exact: Sequence[Decimal]) -> tuple[int, ...]:
    """Round exact parts that sum to a whole so that the rounded parts do too (largest remainder).

    Each part is floored; the units then missing go to the largest remainders, ties to the earlier part, so
    every part is within one unit of its exact value. Raises ClearingInvariantViolation when the exact parts
    don't sum to `total_minor`.
    """
    floors = [int(value.to_integral_value(rounding=ROUND_FLOOR)) for value in exact]
    missing = total_minor - sum(floors)
    if missing == 0:
        return tuple(floors)
    if not 0 < missing < len(exact):
        raise ClearingInvariantViolation(f"exact parts {list(exact)} don't sum to {total_minor}")
    shortfall = [EXACT.subtract(Decimal(floor), value) for floor, value in zip(floors, exact, strict=True)]
    for place in sorted(range(len(exact)), key=lambda place: (shortfall[place], place))[:missing]:
        floors[place] += 1
    return tuple(floors)


def proportion(total_minor: int, parts: Sequence[int]) -> tuple[int, ...]:
    """Scale signed parts so that they sum to `total_minor` exactly, each within one unit of its exact share.

    The parts' own sum must not be zero unless the total is. For the parts' own sum they come back unchanged.
    """
    whole = sum(parts)
    if total_minor == 0:
        return tuple(0 for _ in parts)
    if whole == 0:
        raise InvalidAmountError(f"{total_minor} minor units can't be spread over parts that sum to zero")
    shares = [divmod(part * total_minor, whole) for part in parts]
    left = total_minor - sum(quotient for quotient, _ in shares)
    # divmod gives the remainder the sign of the whole: its size is how much a part has lost.
    by_remainder = sorted(range(len(parts)), key=lambda place: (-abs(shares[place][1]), place))
    lifted = set(by_remainder[:left])
    return tuple(quotient + (place in lifted) for place, (quotient, _) in enumerate(shares))


def half_away(numerator: int, denominator: int) -> int:
    """A quotient of whole numbers, half away from zero, in integers alone: exact at any size.

    The divisor is positive.
    """
    if denominator <= 0:
        raise InvalidAmountError(f"can't divide {numerator} by {denominator}")
    if numerator < 0:
        return -((-2 * numerator + denominator) // (2 * denominator))
    return (2 * numerator + denominator) // (2 * denominator)


def vat_on(net_minor: int, rate_percent: Decimal) -> int:
    """VAT added to a net amount, half away from zero (Directive 2006/112/EC art. 78; Swiss MWSTG art. 24)."""
    if rate_percent < 0:
        raise InvalidAmountError(f"a VAT rate of {rate_percent} % is negative")
    per, of = rate_percent.as_integer_ratio()
    return half_away(net_minor * per, 100 * of)


def net_and_vat(gross_minor: int, rate_percent: Decimal) -> tuple[int, int]:
    """Split a VAT-inclusive amount: net = gross * 100 / (100 + rate), half away from zero; VAT is the rest.

    net + VAT reproduces the gross to the minor unit (Directive 2006/112/EC art. 78 fixes the taxable amount
    as the price without VAT).
    """
    if rate_percent < 0:
        raise InvalidAmountError(f"a VAT rate of {rate_percent} % is negative")
    per, of = rate_percent.as_integer_ratio()
    net = half_away(gross_minor * 100 * of, 100 * of + per)
    return net, gross_minor - net
