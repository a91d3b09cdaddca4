"""Stripe's event types that can change our state, by what they mean (docs.stripe.com/api/events/types).

Owns: the only list of what a webhook subscribes to and of what the poll reads. Must not know: what follows
from an event. A type that can change nothing here is not in it: it would only be stored.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.payments.psp.port import PspEventKind

_CHANGED: Final = PspEventKind.PAYMENT_CHANGED
# Of our own account: one webhook endpoint receives exactly these.
EVENT_KINDS: Final[Mapping[str, PspEventKind]] = MappingProxyType(
    {
        "payment_intent.amount_capturable_updated": _CHANGED,
        "payment_intent.requires_action": _CHANGED,
        "payment_intent.succeeded": PspEventKind.MONEY_CAPTURED,
        "payment_intent.payment_failed": _CHANGED,
        "payment_intent.canceled": PspEventKind.HOLD_ENDED,
        "checkout.session.completed": _CHANGED,
        "checkout.session.expired": _CHANGED,
        "charge.expired": PspEventKind.HOLD_ENDED,
        "charge.refunded": PspEventKind.HOLD_ENDED,  # also sent where a hold is canceled
        "charge.updated": _CHANGED,
        "refund.created": _CHANGED,
        "refund.updated": _CHANGED,
        "refund.failed": _CHANGED,
        "charge.dispute.created": _CHANGED,
        "charge.dispute.updated": _CHANGED,
        "charge.dispute.closed": _CHANGED,
        "charge.dispute.funds_withdrawn": _CHANGED,
        "charge.dispute.funds_reinstated": _CHANGED,
        "radar.early_fraud_warning.created": _CHANGED,
        "setup_intent.succeeded": _CHANGED,
        "setup_intent.setup_failed": _CHANGED,
        "payment_method.attached": _CHANGED,
        "payment_method.detached": _CHANGED,
        "payment_method.automatically_updated": _CHANGED,
        "mandate.updated": _CHANGED,
        "topup.succeeded": _CHANGED,
        "topup.failed": _CHANGED,
        "topup.canceled": _CHANGED,
        "topup.reversed": _CHANGED,
        "transfer.reversed": _CHANGED,
        "payout.paid": _CHANGED,
        "payout.failed": _CHANGED,
    }
)
ACCOUNT_EVENTS: Final = frozenset(EVENT_KINDS)
# What Stripe sends for every session.
FREQUENT_EVENTS: Final = frozenset(
    name
    for name in EVENT_KINDS
    if name.startswith(("checkout.session.", "payment_intent.", "payment_method.", "setup_intent."))
    or name in {"charge.expired", "charge.refunded", "charge.updated"}
)
# Listed one by one: however many sessions there are, a list of bounded length has all refunds and disputes.
EVENT_LISTS: Final = (sorted(ACCOUNT_EVENTS - FREQUENT_EVENTS), sorted(FREQUENT_EVENTS))
# Of connected accounts: a second endpoint, made with `connect`, receives exactly these.
CONNECT_EVENTS: Final = frozenset({"account.updated", "capability.updated"})


def event_kind(stripe_type: str) -> PspEventKind:
    """What an event of Stripe's type means to a payment of ours."""
    return EVENT_KINDS.get(stripe_type, PspEventKind.PAYMENT_CHANGED)


def is_subscribed(stripe_type: str) -> bool:
    """Whether an event of Stripe's type can change anything here; another one is not kept."""
    return stripe_type in ACCOUNT_EVENTS or stripe_type in CONNECT_EVENTS
