"""What helps after a decline, by Stripe's decline code (docs.stripe.com/declines/codes).

Owns: the rows. Must not know: who reads it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.payments.psp.rules import DeclineAdvice

_ROWS: Final[Mapping[DeclineAdvice, tuple[str, ...]]] = {
    DeclineAdvice.TRY_AGAIN_LATER: (
        "approve_with_id",
        "issuer_not_available",
        "processing_error",
        "reenter_transaction",
        "try_again_later",
    ),
    DeclineAdvice.AUTHENTICATE: (
        "authentication_not_handled",
        "authentication_required",
        "mobile_device_authentication_required",
        "offline_pin_required",
        "online_or_offline_pin_required",
        "payment_intent_authentication_failure",
    ),
    DeclineAdvice.LOWER_AMOUNT_OR_LATER: (
        "card_velocity_exceeded",
        "insufficient_funds",
        "withdrawal_count_limit_exceeded",
    ),
    DeclineAdvice.CORRECT_CARD_DETAILS: (
        "expired_card",
        "incorrect_address",
        "incorrect_cvc",
        "incorrect_number",
        "incorrect_zip",
        "invalid_cvc",
        "invalid_expiry_month",
        "invalid_expiry_year",
        "invalid_number",
    ),
}
STRIPE_DECLINE_ADVICE: Final[Mapping[str, DeclineAdvice]] = MappingProxyType(
    {code: advice for advice, codes in _ROWS.items() for code in codes}
)
# Another try with the same card may succeed.
RETRYABLE_DECLINES: Final = frozenset(
    code
    for code, advice in STRIPE_DECLINE_ADVICE.items()
    if advice is not DeclineAdvice.CORRECT_CARD_DETAILS and code != "payment_intent_authentication_failure"
)
