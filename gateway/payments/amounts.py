"""What a PSP can charge of a currency, as dated data: the step of its amounts and its least charge.

Owns: the rows with their source, and rounding to a step. Must not know: how a PSP writes an amount on the
wire (its adapter does), tariffs, SQL. All amounts are ISO 4217 minor units.

A hold is rounded up to the step and a capture down, so that what is captured never exceeds the price; what
the step leaves over is never asked for. A refund that brings what is kept down to a price is rounded up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Final

from clearing.money import exponent

_TEN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRule:
    """Amounts of `currency` are multiples of `step_minor`; a charge is at least `least_minor`.

    `least_minor` None: the PSP names none for this currency, its settlement currency's counts after exchange.
    """

    currency: str
    step_minor: int = 1
    least_minor: int | None = None
    source: str
    read_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountRules:
    """The rules of one PSP, by currency."""

    rules: Mapping[str, ChargeRule]

    def step(self, currency: str) -> int:
        """The step of amounts in `currency`, 1 where the PSP takes every minor unit."""
        rule = self.rules.get(currency)
        return 1 if rule is None else rule.step_minor

    def up(self, minor: int, currency: str) -> int:
        """The least chargeable amount that is no less than `minor` (0 or more)."""
        return minor + -minor % self.step(currency)

    def down(self, minor: int, currency: str) -> int:
        """The greatest chargeable amount that is no more than `minor` (0 or more)."""
        return minor - minor % self.step(currency)

    def least(self, currency: str) -> int:
        """The least charge; one major unit where the PSP names none, which is above it in most currencies."""
        rule = self.rules.get(currency)
        if rule is not None and rule.least_minor is not None:
            return rule.least_minor
        return int(_TEN ** exponent(currency))

    def hold(self, minor: int, currency: str, *, most_minor: int | None = None) -> int:
        """What to hold for a price of `minor`: at least the least charge, rounded up, within `most_minor`.

        The bound wins over the price and gives way to the least charge alone: less could not be held at all.
        """
        wanted = self.up(minor, currency)
        if most_minor is not None:
            wanted = min(wanted, self.down(most_minor, currency))
        return max(wanted, self.least(currency))


# docs.stripe.com/currencies#minimum-and-maximum-charge-amounts, in minor units.
_LEAST: Final[Mapping[str, int]] = {
    "AED": 200, "ARS": 50, "AUD": 50, "BGN": 100, "BRL": 50, "CAD": 50, "CHF": 50, "COP": 50, "CZK": 1500,
    "DKK": 250, "EUR": 50, "GBP": 30, "HKD": 400, "HUF": 17_500, "IDR": 50, "ILS": 50, "INR": 50, "JPY": 50,
    "KRW": 50, "MXN": 1000, "MYR": 200, "NOK": 300, "NZD": 50, "PHP": 50, "PLN": 200, "RON": 200,
    "SEK": 300, "SGD": 50, "THB": 1000, "USD": 50, "ZAR": 50,
}  # fmt: skip
# Three-decimal amounts must end in 0 at Stripe, and the ariary is charged whole, though ISO 4217 gives it two
# decimals (sections on three-decimal and zero-decimal currencies).
_STEPS: Final[Mapping[str, int]] = {"BHD": 10, "JOD": 10, "KWD": 10, "OMR": 10, "TND": 10, "MGA": 100}

STRIPE_AMOUNTS: Final = AmountRules(
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
    )
)
