"""What a PSP can charge and how long its holds and keys last: values that each adapter fills with its data.

Owns: rounding to a currency's step, the least charge, the end of a hold by its card scheme. Must not know:
any provider, the wire, tariffs, SQL, the clock. All amounts are ISO 4217 minor units.

A hold is rounded up to the step and a capture down, so that what is captured never exceeds the price; what
the step leaves over is never charged. A refund that brings what is kept down to a price is rounded up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from clearing.money import exponent

ANY_SCHEME: Final = "*"
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
    """The rules of one PSP, by currency. No single amount may exceed `max_minor`."""

    rules: Mapping[str, ChargeRule]
    max_minor: int

    def step(self, currency: str) -> int:
        """The step of amounts in `currency`, 1 where the PSP accepts every minor unit."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldValidity:
    """From `valid_from` on, a hold of `scheme` lasts for `lasts`; merchant-initiated ones may end sooner."""

    scheme: str
    merchant_initiated: bool
    lasts: timedelta
    valid_from: date
    source: str


class DeclineAdvice(StrEnum):
    """What helps after a decline; for every other code, another payment method."""

    TRY_AGAIN_LATER = "try_again_later"
    AUTHENTICATE = "authenticate"
    LOWER_AMOUNT_OR_LATER = "lower_amount_or_later"
    CORRECT_CARD_DETAILS = "correct_card_details"
    OTHER_PAYMENT_METHOD = "other_payment_method"


@dataclass(frozen=True, slots=True, kw_only=True)
class PspRules:
    """The rules of one PSP. Past `key_lifetime` it has forgotten a request: look it up, don't repeat it."""

    amounts: AmountRules
    hold_validities: Sequence[HoldValidity]
    key_lifetime: timedelta
    decline_advice: Mapping[str, DeclineAdvice] = field(default_factory=dict)

    def advice(self, decline_code: str | None) -> DeclineAdvice:
        """What helps after a decline with this code."""
        return self.decline_advice.get(decline_code or "", DeclineAdvice.OTHER_PAYMENT_METHOD)

    def hold_ends(self, *, scheme: str | None, merchant_initiated: bool, held_at: datetime) -> datetime:
        """When a hold made at `held_at` (aware) ends by its scheme's rule in force that day.

        The fallback where the PSP itself does not name the end.
        """
        in_force = [
            row
            for row in self.hold_validities
            if row.valid_from <= held_at.date()
            and row.merchant_initiated is merchant_initiated
            and row.scheme in {scheme or ANY_SCHEME, ANY_SCHEME}
        ]
        if not in_force:  # before the first row: the shortest of all, so that nothing is captured too late
            return held_at + min(row.lasts for row in self.hold_validities)
        best = max(in_force, key=lambda row: (row.scheme != ANY_SCHEME, row.valid_from))
        return held_at + best.lasts
