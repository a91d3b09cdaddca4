"""Stripe's answers as typed values: only the fields that are read, decoded straight from the bytes.

Owns: the shapes. Must not know: what a field means to us. Unknown fields are left alone; one that is read and
is missing or of another type is a decoding error, which says nothing about what happened at Stripe.
Source: docs.stripe.com/api, the objects of the same names.
"""

from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec

_T = TypeVar("_T")


class StripeBalanceTransaction(msgspec.Struct):
    """A balance transaction; `source` is an id or, expanded, the object.

    `exchange_rate` is decoded from its digits: the source's currency to `currency`, None where they are the
    same.
    """

    id: str
    amount: int
    fee: int
    currency: str
    type: str = ""
    source: str | dict[str, Any] | None = None
    created: int = 0
    description: str | None = None
    exchange_rate: Decimal | None = None


class StripeIncrement(msgspec.Struct):
    """Whether a hold may be raised."""

    status: str | None = None


class StripeOvercapture(msgspec.Struct):
    """How far above its hold a payment may be captured."""

    maximum_amount_capturable: int | None = None


class StripeCard(msgspec.Struct):
    """What a charge says of the card it was made on."""

    brand: str | None = None
    capture_before: int | None = None
    overcapture: StripeOvercapture | None = None
    incremental_authorization: StripeIncrement | None = None
    incremental_authorization_supported: bool | None = None


class StripePaymentMethodDetails(msgspec.Struct):
    """The card, online or at a terminal."""

    card: StripeCard | None = None
    card_present: StripeCard | None = None


class StripeCharge(msgspec.Struct):
    """An attempt of a PaymentIntent to move money."""

    id: str
    payment_method_details: StripePaymentMethodDetails | None = None
    balance_transaction: str | StripeBalanceTransaction | None = None
    amount: int = 0
    amount_captured: int = 0
    amount_refunded: int = 0


class StripePaymentFailure(msgspec.Struct):
    """Why a PaymentIntent's last attempt failed."""

    code: str | None = None
    decline_code: str | None = None


class StripePaymentIntent(msgspec.Struct):
    """A PaymentIntent."""

    id: str
    status: str
    amount: int
    currency: str
    amount_received: int = 0
    latest_charge: str | StripeCharge | None = None
    next_action: dict[str, Any] | None = None
    client_secret: str | None = None
    last_payment_error: StripePaymentFailure | None = None
    payment_method_types: list[str] = []
    created: int = 0
    metadata: dict[str, str] | None = None
    payment_method: str | None = None
    customer: str | None = None


class StripeCheckoutSession(msgspec.Struct):
    """A Checkout Session; `url` is null once it has ended, `payment_intent` until a customer confirms."""

    id: str
    status: str | None = None
    url: str | None = None
    payment_intent: str | StripePaymentIntent | None = None
    payment_method_types: list[str] = []


class StripeEvidenceDetails(msgspec.Struct):
    """Until when evidence is accepted (0 or null: none is), and how often it was submitted."""

    due_by: int | None = None
    submission_count: int = 0


class StripeDispute(msgspec.Struct):
    """A dispute; it has no movement of the balance, one, or two."""

    id: str
    status: str
    amount: int
    currency: str
    payment_intent: str | None = None
    reason: str | None = None
    balance_transactions: list[StripeBalanceTransaction] = []
    evidence_details: StripeEvidenceDetails | None = None
    is_charge_refundable: bool = False


class StripeRefund(msgspec.Struct):
    """A refund of a charge."""

    id: str
    amount: int
    currency: str
    status: str | None = None
    payment_intent: str | None = None
    failure_reason: str | None = None
    metadata: dict[str, str] | None = None


class StripeTransfer(msgspec.Struct):
    """A transfer to a connected account."""

    id: str


class StripeTopUp(msgspec.Struct):
    """Money brought into the balance."""

    id: str
    status: str | None = None
    failure_code: str | None = None
    metadata: dict[str, str] | None = None


class StripeObject(msgspec.Struct):
    """Any object's id, which is where the next page of a list starts."""

    id: str


class StripeList(msgspec.Struct, Generic[_T]):
    """One page of a list or a search."""

    data: list[_T]
    has_more: bool = False
