"""The figures that a payment follows: question schedule, key lifetime, default estimate. Data, not code.

Owns: the numbers and their sources. Must not know: SQL, the PSP, the clock.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway.payments.amounts import STRIPE_AMOUNTS, AmountRules
from gateway.payments.orders import Estimate

# When an unanswered call is asked again, by attempts made so far; daily past the last.
ASK_AGAIN: Final = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(hours=1),
    timedelta(days=1),
)
# The PSP keeps an idempotency key for 24 h (docs.stripe.com/api/idempotent_requests); an hour of margin.
KEY_LIFETIME: Final = timedelta(hours=23)
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentPolicy:
    """What an operator may set. `call_grace` must be longer than the PSP adapter's own timeout."""

    call_grace: timedelta = timedelta(seconds=30)  # until an intended call is taken for lost
    default_energy_wh: int = 60_000  # a full charge of a common car, where the caller estimates nothing
    default_duration_s: int = 3_600
    amounts: AmountRules = STRIPE_AMOUNTS  # what the PSP can charge of each currency

    def default_estimate(self, *, max_power_w: int | None) -> Estimate:
        """What to expect where the caller does not say: a full charge, at the pace of a slow connector."""
        duration_s = self.default_duration_s
        if max_power_w:
            duration_s = max(duration_s, -(-self.default_energy_wh * 3600 // max_power_w))
        return Estimate(energy_wh=self.default_energy_wh, duration_s=duration_s)


def ask_again_after(attempts: int) -> timedelta:
    """How long to wait after `attempts` unanswered questions (1 or more)."""
    return ASK_AGAIN[min(max(attempts, 1), len(ASK_AGAIN)) - 1]
