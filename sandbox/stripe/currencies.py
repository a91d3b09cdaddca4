"""The provider's own map of currencies: exponents, smallest charge, amounts it rejects.

Differs from ISO 4217 on purpose: ISK and UGX are written with two decimals that must be zero, three-decimal
amounts end in zero (docs.stripe.com/currencies). Must not know: accounts, intents.
"""

from typing import Final

from sandbox.stripe.problems import ParameterProblem, PspProblem

ZERO_DECIMAL: Final = frozenset(
    {
        "bif",
        "clp",
        "djf",
        "gnf",
        "jpy",
        "kmf",
        "krw",
        "mga",
        "pyg",
        "rwf",
        "vnd",
        "vuv",
        "xaf",
        "xof",
        "xpf",
    }
)
THREE_DECIMAL: Final = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
WHOLE_MAJOR_UNITS: Final = frozenset({"isk", "ugx"})
TWO_DECIMAL: Final = frozenset(
    {
        "aed",
        "all",
        "amd",
        "aud",
        "bam",
        "bgn",
        "brl",
        "cad",
        "chf",
        "cny",
        "czk",
        "dkk",
        "eur",
        "gbp",
        "gel",
        "hkd",
        "huf",
        "ils",
        "inr",
        "isk",
        "mad",
        "mdl",
        "mkd",
        "mxn",
        "nok",
        "nzd",
        "pln",
        "ron",
        "rsd",
        "sar",
        "sek",
        "sgd",
        "thb",
        "try",
        "twd",
        "uah",
        "ugx",
        "usd",
        "zar",
    }
)
MINIMUM_CHARGE: Final = {
    "aud": 50,
    "bgn": 100,
    "cad": 50,
    "chf": 50,
    "czk": 1500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "huf": 17500,
    "jpy": 50,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "usd": 50,
}
MAXIMUM_AMOUNT: Final = 99_999_999  # eight digits
_TENTH: Final = 10
_HUNDRED: Final = 100


def known_currency(code: str, *, param: str = "currency") -> str:
    """The lower-case code. Raises ParameterProblem for one that the provider does not accept."""
    currency = code.lower()
    if currency not in ZERO_DECIMAL and currency not in THREE_DECIMAL and currency not in TWO_DECIMAL:
        raise ParameterProblem(f"Invalid currency: {code[:10]}", param=param)
    return currency


def exponent(currency: str) -> int:
    """Digits after the point in the provider's amounts of `currency`."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def check_amount(amount: int, currency: str, *, param: str = "amount", least: int = 1) -> int:
    """`amount` in the provider's minor units, if it may be used. Raises PspProblem."""
    if amount < least:
        raise ParameterProblem(
            f"This value must be greater than or equal to {least}.",
            code="parameter_invalid_integer",
            param=param,
        )
    if amount > MAXIMUM_AMOUNT:
        raise PspProblem(
            f"Amount must be no more than {MAXIMUM_AMOUNT}", code="amount_too_large", param=param
        )
    step = _HUNDRED if currency in WHOLE_MAJOR_UNITS else _TENTH if currency in THREE_DECIMAL else 1
    if amount % step:
        raise PspProblem(
            f"Invalid amount: {currency.upper()} amounts must be evenly divisible by {step}",
            code="invalid_charge_amount",
            param=param,
        )
    return amount


def check_charge(amount: int, currency: str) -> int:
    """`amount` if it is chargeable: also not below the currency's smallest charge. Raises PspProblem."""
    check_amount(amount, currency)
    smallest = MINIMUM_CHARGE.get(currency, 1)
    if amount < smallest:
        raise PspProblem(
            f"Amount must be at least {smallest} {currency} in its smallest unit",
            code="amount_too_small",
            param="amount",
        )
    return amount


def from_cents(cents: int, currency: str) -> int:
    """Hundredths of the major unit in the provider's minor units, half away from zero.

    25 is 25 EUR cents, 0 JPY.
    """
    return _rounded(cents * 10 ** exponent(currency), 100, currency)


def share_of(amount: int, basis_points: int, currency: str) -> int:
    """`basis_points` of `amount`, half away from zero, in steps the currency allows."""
    return _rounded(amount * basis_points, 10_000, currency)


def _rounded(numerator: int, denominator: int, currency: str) -> int:
    """Divide two non-negative integers to a step of the currency, half up; no fraction is ever held."""
    step = _HUNDRED if currency in WHOLE_MAJOR_UNITS else _TENTH if currency in THREE_DECIMAL else 1
    unit = denominator * step
    return (2 * numerator + unit) // (2 * unit) * step
