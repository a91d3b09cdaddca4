"""Stripe's event types, by what they mean to a payment (docs.stripe.com/api/events/types).

Owns: the only mapping from Stripe's names to ours. Must not know: what follows from an event.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.payments.psp.port import PspEventKind

# A type that is not listed says only that something about the payment may have changed.
EVENT_KINDS: Final[Mapping[str, PspEventKind]] = MappingProxyType(
    {
        "payment_intent.canceled": PspEventKind.HOLD_ENDED,
        "charge.expired": PspEventKind.HOLD_ENDED,
        "charge.refunded": PspEventKind.HOLD_ENDED,  # also sent where a hold is canceled
    }
)


def event_kind(stripe_type: str) -> PspEventKind:
    """What an event of Stripe's type means to a payment of ours."""
    return EVENT_KINDS.get(stripe_type, PspEventKind.PAYMENT_CHANGED)
