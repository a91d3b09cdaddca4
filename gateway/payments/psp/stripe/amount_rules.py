"""What Stripe can charge of a currency, as dated data: the step of its amounts and its least charge.

Owns: the rows with their source. Must not know: how an amount is written on the wire, how it is rounded.
"""

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Final

from gateway.payments.psp.rules import AmountRules, ChargeRule

# docs.stripe.com/currencies#minimum-and-maximum-charge-amounts, in minor units.
_LEAST: Final[Mapping[str, int]] = {
    "AED": 200,
    "ARS": 50,
    "AUD": 50,
    "BGN": 100,
    "BRL": 50,
    "CAD": 50,
    "CHF": 50,
    "COP": 50,
    "CZK": 1500,
    "DKK": 250,
    "EUR": 50,
    "GBP": 30,
    "HKD": 400,
    "HUF": 17_500,
    "IDR": 50,
    "ILS": 50,
    "INR": 50,
    "JPY": 50,
    "KRW": 50,
    "MXN": 1000,
    "MYR": 200,
    "NOK": 300,
    "NZD": 50,
    "PHP": 50,
    "PLN": 200,
    "RON": 200,
    "SEK": 300,
    "SGD": 50,
    "THB": 1000,
    "USD": 50,
    "ZAR": 50,
}
# Three-decimal amounts must end in 0 at Stripe, and the ariary is charged whole, though ISO 4217 gives it two
# decimals (sections on three-decimal and zero-decimal currencies).
_STEPS: Final[Mapping[str, int]] = {"BHD": 10, "JOD": 10, "KWD": 10, "OMR": 10, "TND": 10, "MGA": 100}

STRIPE_AMOUNTS: Final = AmountRules(
    max_minor=99_999_999,  # docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
    rules=MappingProxyType(
        {
            currency: ChargeRule(
                currency=currency,
                step_minor=_STEPS.get(currency, 1),
                least_minor=_LEAST.get(currency),
                source="docs.stripe.com/currencies",
                read_on=date(2026, 11, 22),
            )
            for currency in sorted({*_LEAST, *_STEPS})
        }
    ),
)
