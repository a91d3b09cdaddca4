"""Stripe's objects as this house's values: amounts, payment states, declines, events.

Owns: Stripe's currency exponents and what each of its statuses means to us. Must not know: how Stripe is
called; it reads attributes of what the SDK returned and imports nothing of it.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from clearing.money import exponent
from gateway.errors import MalformedIdError
from gateway.ids import format_id, parse_id
from gateway.payments.psp import (
    CARD_PRESENT,
    Captured,
    ChargeOrder,
    Declined,
    DisputeNews,
    Held,
    HoldOrder,
    HoldOutcome,
    OutcomeUnknown,
    PspEvent,
    PspMovement,
    RequiresAction,
    ReversalNews,
    Voided,
)

# Where Stripe's smallest unit is not ISO 4217's (docs.stripe.com/currencies#special-cases): ISK and UGX are
# sent with two decimals that must be zero.
_STRIPE_EXPONENTS: Final[Mapping[str, int]] = {"ISK": 2, "UGX": 2}
_THREE_DECIMALS: Final = 3  # Stripe rounds these to ten: the last digit must be 0

# Decline codes after which another try with the same card may succeed (docs.stripe.com/declines/codes).
_RETRYABLE_DECLINES: Final = frozenset(
    {
        "approve_with_id",
        "authentication_required",
        "card_velocity_exceeded",
        "insufficient_funds",
        "issuer_not_available",
        "processing_error",
        "reenter_transaction",
        "try_again_later",
    }
)


# Balance transaction types as fields of a PspRecord, with the sign that makes them positive there.
_RECORD_FIELDS: Final[Mapping[str, tuple[str, int]]] = {
    "charge": ("captured_minor", 1),
    "payment": ("captured_minor", 1),
    "refund": ("refunded_minor", -1),
    "payment_refund": ("refunded_minor", -1),
    "refund_failure": ("refunded_minor", -1),
    "payment_refund_failure": ("refunded_minor", -1),
    "transfer": ("transferred_minor", -1),
    "topup": ("topped_up_minor", 1),
}

# A capture that is refused with one of these was too late: there is no hold to capture from.
HOLD_IS_GONE: Final = frozenset({"payment_intent_unexpected_state", "charge_expired_for_capture"})

_AT_TERMINAL: Final[Mapping[str, Any]] = {
    "payment_method_types": [CARD_PRESENT],
    "payment_method_options": {CARD_PRESENT: {"request_incremental_authorization_support": True}},
}
_DISPUTE_STATES: Final = {"won": "won", "lost": "lost", "warning_closed": "won"}


class _EventData(msgspec.Struct):
    object: dict[str, Any] = {}


class _EventEnvelope(msgspec.Struct):
    id: str
    type: str
    data: _EventData


class AmountNotRepresentableError(Exception):
    """Stripe has no such amount in this currency (three-decimal currencies end in 0)."""


def to_stripe_amount(minor: int, currency: str) -> int:
    """ISO minor units to Stripe's unit. Raises AmountNotRepresentableError."""
    iso = exponent(currency)
    if iso == _THREE_DECIMALS and minor % 10:
        raise AmountNotRepresentableError(
            f"{minor} {currency}: a three-decimal amount must end in 0 at Stripe"
        )
    return int(minor * 10 ** (_STRIPE_EXPONENTS.get(currency, iso) - iso))


def from_stripe_amount(amount: int, currency: str) -> int:
    """Stripe's unit to ISO minor units. Raises AmountNotRepresentableError when a remainder is left."""
    iso = exponent(currency)
    factor = 10 ** (_STRIPE_EXPONENTS.get(currency, iso) - iso)
    minor, rest = divmod(amount, factor)
    if rest:
        raise AmountNotRepresentableError(f"{amount} of {currency} at Stripe is not a whole ISO minor unit")
    return int(minor)


def hold_params(order: HoldOrder, amount: int) -> dict[str, Any]:
    """The parameters of a PaymentIntent with manual capture, `amount` in Stripe's unit.

    A presented card is confirmed by the terminal (docs.stripe.com/terminal/payments/collect-card-payment).
    """
    params: dict[str, Any] = {
        "amount": amount,
        "currency": order.currency.lower(),
        "capture_method": "manual",
        **(_AT_TERMINAL if order.payment_method == CARD_PRESENT else _online(order.payment_method)),
        "transfer_group": format_id("ses", order.session_id),
        "metadata": {
            **order.metadata,
            "session": format_id("ses", order.session_id),
            "authorization": format_id("auth", order.authorization_id),
        },
        "expand": ["latest_charge"],
    }
    if order.customer is not None:
        params["customer"] = order.customer
    if order.off_session:
        params["off_session"] = True
    return params


def _online(payment_method: str) -> dict[str, Any]:
    return {
        "confirm": True,
        "payment_method": payment_method,
        "payment_method_types": ["card"],
        "payment_method_options": {
            "card": {
                "request_incremental_authorization": "if_available",
                "request_overcapture": "if_available",
            }
        },
    }


def charge_params(order: ChargeOrder, amount: int) -> dict[str, Any]:
    """The parameters of an off-session PaymentIntent that is captured at once."""
    return {
        "amount": amount,
        "currency": order.currency.lower(),
        "confirm": True,
        "off_session": True,
        "customer": order.customer,
        "payment_method": order.payment_method,
        "payment_method_types": ["card"],
        "transfer_group": format_id("ses", order.session_id),
        "metadata": {
            **order.metadata,
            "session": format_id("ses", order.session_id),
            "collects_for": format_id("auth", order.authorization_id),
        },
        "expand": ["latest_charge.balance_transaction"],
    }


def decline_of(detail: Mapping[str, Any], *, code: str | None) -> Declined:
    """A card error's body as a decline; the issuer's decline_code says more than the error's code."""
    said = str(detail.get("decline_code") or code or "card_declined")
    payment = (detail.get("payment_intent") or {}).get("id")
    return Declined(code=said, retryable=said in _RETRYABLE_DECLINES, psp_payment=payment)


def hold_outcome(intent: Any) -> HoldOutcome:
    """What a just created or confirmed PaymentIntent means for a hold."""
    state = state_of(intent)
    if isinstance(state, Captured | Voided):  # a hold answered from an old key: its story went on
        return OutcomeUnknown(reason="the payment has moved on since this hold was answered")
    return state


def state_of(intent: Any) -> Held | RequiresAction | Declined | Captured | Voided:
    """A PaymentIntent's status as an outcome (docs.stripe.com/payments/paymentintents/lifecycle)."""
    status = intent.status
    if status == "requires_capture":
        return _held(intent)
    if status in {"requires_action", "requires_confirmation"}:
        action = intent.next_action.to_dict() if intent.next_action else {"type": "authenticate"}
        return RequiresAction(
            psp_payment=intent.id, next_action={**action, "client_secret": intent.client_secret}
        )
    if status == "succeeded":
        return captured(intent)
    if status == "canceled":
        return Voided()
    failure = intent.last_payment_error
    if failure is None and CARD_PRESENT in intent.payment_method_types:
        action = {"type": "present_card", "payment_intent": intent.id, "client_secret": intent.client_secret}
        return RequiresAction(psp_payment=intent.id, next_action=action)
    # The SDK has no attribute for a field that the answer left out: a failed challenge names no decline_code.
    said = getattr(failure, "decline_code", None) or getattr(failure, "code", None)
    code = said or "payment_method_required"
    return Declined(code=code, retryable=code in _RETRYABLE_DECLINES, psp_payment=intent.id)


def captured(intent: Any) -> Captured:
    """A succeeded PaymentIntent as money taken, with what Stripe kept of it."""
    charge = intent.latest_charge
    transaction: Any = getattr(charge, "balance_transaction", None)
    fee_currency: str | None = getattr(transaction, "currency", None)
    return Captured(
        psp_payment=intent.id,
        psp_charge=charge if isinstance(charge, str) else charge.id,
        amount_minor=from_stripe_amount(intent.amount_received, intent.currency.upper()),
        fee_minor=from_stripe_amount(transaction.fee, fee_currency.upper()) if fee_currency else None,
        fee_currency=fee_currency.upper() if fee_currency else None,
    )


def add_movement(sums: dict[str, dict[str, int]], movement: Any) -> None:
    """Add a balance transaction to the sums of its currency, in the fields of a PspRecord."""
    currency = movement.currency.upper()
    figures = sums.setdefault(currency, defaultdict(int))
    name, sign = _RECORD_FIELDS.get(movement.type, ("other_minor", 1))
    figures[name] += sign * from_stripe_amount(movement.amount, currency)
    figures["fee_minor"] += from_stripe_amount(movement.fee, currency)


def movement_of(transaction: Any) -> PspMovement:
    """A balance transaction (docs.stripe.com/api/balance_transactions/object)."""
    currency = transaction.currency.upper()
    source = transaction.source
    return PspMovement(
        id=transaction.id,
        kind=transaction.type,
        source=source if isinstance(source, str) else getattr(source, "id", ""),
        amount_minor=from_stripe_amount(transaction.amount, currency),
        currency=currency,
        created_at=datetime.fromtimestamp(transaction.created, tz=UTC),
    )


def since_filter(since: datetime, limit: int) -> Any:
    """The parameters of a list of what was created since."""
    return {"created": {"gte": int(since.timestamp())}, "limit": min(limit, 100)}


def order_amount(minor: int, currency: str) -> int | Declined:
    """An amount as Stripe counts it, or the refusal it would meet."""
    try:
        return to_stripe_amount(minor, currency)
    except AmountNotRepresentableError:
        return Declined(code="amount_not_representable", retryable=False)


def parse_event(body: bytes) -> PspEvent:
    """An event's body: which payment and which session it speaks of, and a dispute's figures.

    Raises ValueError (msgspec's) when it is not an event.
    """
    event = msgspec.json.decode(body, type=_EventEnvelope)
    subject = event.data.object
    kind = subject.get("object")
    payment = subject.get("id") if kind == "payment_intent" else subject.get("payment_intent")
    return PspEvent(
        id=event.id,
        type=event.type,
        psp_payment=payment if isinstance(payment, str) else None,
        session_id=_session_id(subject.get("metadata")),
        dispute=_dispute(subject) if kind == "dispute" and subject.get("balance_transactions") else None,
        reversal=_reversal(subject) if kind == "refund" else None,
        failed_refund=str(subject["id"])
        if kind == "refund" and subject.get("status") in {"failed", "canceled"}
        else None,
    )


def _held(intent: Any) -> Held:
    currency = intent.currency.upper()
    details = getattr(intent.latest_charge, "payment_method_details", None)
    card = getattr(details, "card", None) or getattr(details, "card_present", None)
    seconds = getattr(card, "capture_before", None)
    over = getattr(card, "overcapture", None)
    most = getattr(over, "maximum_amount_capturable", None)
    increment = getattr(card, "incremental_authorization", None)
    return Held(
        psp_payment=intent.id,
        amount_minor=from_stripe_amount(intent.amount, currency),
        capture_before=datetime.fromtimestamp(seconds, tz=UTC) if seconds else None,
        incrementable=getattr(increment, "status", None) == "available"
        or bool(getattr(card, "incremental_authorization_supported", False)),
        max_capture_minor=from_stripe_amount(most, currency) if most else None,
        scheme=getattr(card, "brand", None),
    )


def _session_id(metadata: object) -> UUID | None:
    text = metadata.get("session") if isinstance(metadata, dict) else None
    try:
        return parse_id("ses", text) if isinstance(text, str) else None
    except MalformedIdError:
        return None


def _reversal(subject: Mapping[str, Any]) -> ReversalNews | None:
    """A refund that succeeded and does not carry our mark (docs.stripe.com/api/refunds/object)."""
    if subject.get("status") != "succeeded" or "refund" in (subject.get("metadata") or {}):
        return None
    currency = str(subject["currency"]).upper()
    return ReversalNews(
        psp_refund=str(subject["id"]),
        amount_minor=from_stripe_amount(int(subject["amount"]), currency),
        currency=currency,
    )


def _dispute(subject: Mapping[str, Any]) -> DisputeNews:
    """A dispute as Stripe tells it, with the fee its movements name (docs.stripe.com/api/disputes/object).

    Only one that has moved money: an inquiry, and a dispute whose funds are not withdrawn yet, took nothing.
    """
    currency = str(subject["currency"]).upper()
    movements = subject.get("balance_transactions") or []
    fee = sum(movement.get("fee", 0) for movement in movements if isinstance(movement, dict))
    return DisputeNews(
        psp_dispute=str(subject["id"]),
        state={"won": "won", "lost": "lost", "warning_closed": "won"}.get(
            str(subject.get("status")), "opened"
        ),
        amount_minor=from_stripe_amount(int(subject["amount"]), currency),
        fee_minor=from_stripe_amount(int(fee), currency),
        currency=currency,
        reason=str(subject.get("reason") or "general"),
    )
