"""How long a hold at Stripe lasts by its card scheme, as dated data: the fallback where Stripe does not say.

Owns: the rows and their source. Must not know: SQL, the clock, what a hold is for. What Stripe itself names
as a hold's end (`capture_before`) always counts first.
"""

from datetime import date, timedelta
from typing import Final

from gateway.payments.psp.rules import ANY_SCHEME, HoldValidity

_SOURCE: Final = "docs.stripe.com/payments/place-a-hold-on-a-payment-method"
STRIPE_HOLD_VALIDITIES: Final = (
    HoldValidity(
        scheme="visa",
        merchant_initiated=False,
        lasts=timedelta(days=7),
        valid_from=date(2024, 1, 1),
        source=_SOURCE,
    ),
    HoldValidity(
        scheme="visa",
        merchant_initiated=True,
        lasts=timedelta(days=4, hours=18),
        valid_from=date(2024, 1, 1),
        source=_SOURCE,
    ),
    HoldValidity(
        scheme=ANY_SCHEME,
        merchant_initiated=False,
        lasts=timedelta(days=7),
        valid_from=date(2024, 1, 1),
        source=_SOURCE,
    ),
    HoldValidity(
        scheme=ANY_SCHEME,
        merchant_initiated=True,
        lasts=timedelta(days=7),
        valid_from=date(2024, 1, 1),
        source=_SOURCE,
    ),
)
