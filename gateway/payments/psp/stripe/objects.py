"""Stripe's objects as this system's values: amounts, payment states, declines, events.

Owns: Stripe's currency exponents and what each of its statuses means to us. Must not know: how Stripe is
called.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from clearing.money import exponent
from gateway.errors import MalformedIdError
from gateway.ids import parse_id
from gateway.payments.psp.dispute_port import RefundState, RefundUpdate
from gateway.payments.psp.failures import Declined, PspMisconfigured, PspOutcomeUnknown
from gateway.payments.psp.payment_port import PspPayment, TopUpState
from gateway.payments.psp.port import (
    CARD_PRESENT,
    Captured,
    Held,
    HoldOutcome,
    PspEvent,
    RequiresAction,
    ToppedUp,
    Voided,
)
from gateway.payments.psp.stripe.amount_rules import STRIPE_AMOUNTS
from gateway.payments.psp.stripe.decline_advice import RETRYABLE_DECLINES
from gateway.payments.psp.stripe.event_types import event_kind, is_subscribed
from gateway.payments.psp.stripe.request_parameters import CARD
from gateway.payments.psp.stripe.responses import (
    StripeBalanceTransaction,
    StripeCard,
    StripeCharge,
    StripePaymentIntent,
    StripeRefund,
    StripeTopUp,
)

# Where Stripe's smallest unit is not ISO 4217's (docs.stripe.com/currencies#special-cases): ISK and UGX are
# sent with two decimals that must be zero, MGA without the two that ISO gives it.
_STRIPE_EXPONENTS: Final[Mapping[str, int]] = {"ISK": 2, "UGX": 2, "MGA": 0}


# A capture that is refused with one of these was too late: there is no hold to capture from.
HOLD_IS_GONE: Final = frozenset({"payment_intent_unexpected_state", "charge_expired_for_capture"})

_TOP_UP_STATES: Final = {
    "pending": TopUpState.PENDING,
    "succeeded": TopUpState.ARRIVED,
    "failed": TopUpState.FAILED,
    "canceled": TopUpState.CANCELLED,
    "reversed": TopUpState.REVERSED,
}
_FAILED_REFUNDS: Final = frozenset({"failed", "canceled"})
_OUR_REFUND: Final = "refund"  # the metadata by which a refund of ours is known

_METHOD_UPDATED: Final = "payment_method.automatically_updated"
_TEN: Final = 10


class _EventData(msgspec.Struct):
    object: dict[str, Any] = {}


class _EventEnvelope(msgspec.Struct):
    id: str
    type: str
    data: _EventData
    livemode: bool | None = None
    created: int = 0


class AmountNotRepresentableError(Exception):
    """Stripe has no such amount in this currency (three-decimal currencies end in 0, MGA is whole)."""


def to_stripe_amount(minor: int, currency: str) -> int:
    """ISO minor units to Stripe's unit. Raises AmountNotRepresentableError."""
    step = STRIPE_AMOUNTS.step(currency)
    if minor % step:
        raise AmountNotRepresentableError(f"{minor} {currency}: Stripe takes multiples of {step} only")
    shift = _shift(currency)
    return int(minor * _TEN**shift if shift >= 0 else minor // _TEN**-shift)


def from_stripe_amount(amount: int, currency: str) -> int:
    """Stripe's unit to ISO minor units. Raises AmountNotRepresentableError when a remainder is left."""
    shift = _shift(currency)
    if shift < 0:
        return amount * int(_TEN**-shift)
    minor, rest = divmod(amount, _TEN**shift)
    if rest:
        raise AmountNotRepresentableError(f"{amount} of {currency} at Stripe is not a whole ISO minor unit")
    return int(minor)


def fee_minor(amount: int, currency: str) -> int:
    """A fee of Stripe's in ISO minor units, a fraction of one rounded up: unlike a charge it may have one."""
    shift = _shift(currency)
    if shift < 0:
        return amount * int(_TEN**-shift)
    return int(-(-amount // _TEN**shift))


def _shift(currency: str) -> int:
    """How many more decimals Stripe writes than ISO 4217."""
    iso = exponent(currency)
    return _STRIPE_EXPONENTS.get(currency, iso) - iso


def hold_outcome(intent: StripePaymentIntent, *, at_terminal: bool) -> HoldOutcome:
    """What a just created or confirmed PaymentIntent means for a hold.

    A type of payment method that the account has not activated was dropped from it in silence.
    """
    state = state_of(intent)
    kind = CARD_PRESENT if at_terminal else CARD
    if kind not in intent.payment_method_types and not isinstance(state, Held | Captured | Voided):
        return PspMisconfigured(
            code="payment_method_unactivated", detail=f"the account has not activated {kind}", definite=True
        )
    if isinstance(state, Captured | Voided):  # a hold answered from an old key: it has changed since
        return PspOutcomeUnknown(reason="the payment has moved on since this hold was answered")
    return state


def state_of(intent: StripePaymentIntent) -> Held | RequiresAction | Declined | Captured | Voided:
    """A PaymentIntent's status as an outcome (docs.stripe.com/payments/paymentintents/lifecycle)."""
    status = intent.status
    if status == "requires_capture":
        return _held(intent)
    if status in {"requires_action", "requires_confirmation"}:
        action = intent.next_action or {"type": "authenticate"}
        return RequiresAction(
            psp_payment=intent.id,
            next_action=action,
            client_secret=intent.client_secret,
            redirect_url=(action.get("redirect_to_url") or {}).get("url"),
        )
    if status == "succeeded":
        return captured(intent)
    if status == "canceled":
        return Voided()
    failure = intent.last_payment_error
    if failure is None and CARD_PRESENT in intent.payment_method_types:
        action = {"type": "present_card", "payment_intent": intent.id}
        return RequiresAction(psp_payment=intent.id, next_action=action, client_secret=intent.client_secret)
    if status == "processing":
        # Its success would come days later, after the driver has left: only what is certain now is accepted.
        return Declined(code="payment_method_delayed", retryable=False, psp_payment=intent.id)
    said = None if failure is None else failure.decline_code or failure.code
    code = said or "payment_method_required"
    return Declined(code=code, retryable=code in RETRYABLE_DECLINES, psp_payment=intent.id)


def captured(intent: StripePaymentIntent) -> Captured:
    """A succeeded PaymentIntent as captured money, with the fee that Stripe kept."""
    charge = intent.latest_charge
    if charge is None:  # Stripe gives every succeeded one its charge
        raise msgspec.ValidationError(f"{intent.id} succeeded without a charge")
    kept = charge.balance_transaction if isinstance(charge, StripeCharge) else None
    currency = kept.currency.upper() if isinstance(kept, StripeBalanceTransaction) else None
    return Captured(
        psp_payment=intent.id,
        psp_charge=charge.id if isinstance(charge, StripeCharge) else charge,
        amount_minor=from_stripe_amount(intent.amount_received, intent.currency.upper()),
        fee_minor=fee_minor(kept.fee, currency)
        if isinstance(kept, StripeBalanceTransaction) and currency
        else None,
        fee_currency=currency,
    )


def psp_payment(intent: StripePaymentIntent) -> PspPayment:
    """A PaymentIntent as it stands, whoever made and captured it. Raises AmountNotRepresentableError.

    What a partial capture released counts as refunded at Stripe; here only money that was captured does.
    """
    currency = intent.currency.upper()
    charge = intent.latest_charge
    money = captured(intent) if intent.status == "succeeded" else None
    refunded = 0
    if money is not None and isinstance(charge, StripeCharge):
        refunded = max(charge.amount_refunded - (charge.amount - charge.amount_captured), 0)
    return PspPayment(
        psp_payment=intent.id,
        psp_charge=money.psp_charge if money else None,
        captured_minor=money.amount_minor if money else 0,
        refunded_minor=from_stripe_amount(refunded, currency),
        currency=currency,
        fee_minor=money.fee_minor if money else None,
        fee_currency=money.fee_currency if money else None,
        created_at=datetime.fromtimestamp(intent.created, tz=UTC),
        metadata=intent.metadata or {},
        payment_method=intent.payment_method,
        customer=intent.customer,
    )


def topped_up(topup: StripeTopUp) -> ToppedUp:
    """A top-up (docs.stripe.com/api/topups/object). One of a status that is not known is not booked."""
    state = _TOP_UP_STATES.get(topup.status or "", TopUpState.PENDING)
    ended = state not in {TopUpState.PENDING, TopUpState.ARRIVED}
    return ToppedUp(
        psp_topup=topup.id,
        state=state,
        code=topup.failure_code or f"topup_{topup.status}" if ended else None,
        top_up_id=_marked(topup.metadata, "fund", "top_up"),
    )


def since_filter(since: datetime | None, until: datetime | None = None) -> dict[str, Any]:
    """The parameters of a list of what was created since, and before `until`; whole seconds, rounded down."""
    created = {} if since is None else {"gte": int(since.timestamp())}
    if until is not None:
        created["lt"] = int(until.timestamp())
    return {"created": created} if created else {}


def request_amount(minor: int, currency: str) -> int | Declined:
    """An amount as Stripe counts it, or the rejection it would meet."""
    try:
        return to_stripe_amount(minor, currency)
    except AmountNotRepresentableError:
        return Declined(code="amount_not_representable", retryable=False)


def parse_event(body: bytes, *, livemode: bool) -> PspEvent:
    """An event's body: which payment, session, dispute or refund it speaks of; no figure of it is read.

    One of the other mode (test money on a live account, or the reverse) names nothing. Raises ValueError
    (msgspec's) when it is not an event.
    """
    event = msgspec.json.decode(body, type=_EventEnvelope)
    subject = event.data.object if event.livemode is livemode else {}
    kind = subject.get("object")
    paid = kind in {
        "payment_intent",
        "checkout.session",
    }  # a hosted page stands for its payment until it is held
    payment = subject.get("id") if paid else _id_in(subject, "payment_intent")
    return PspEvent(
        id=event.id,
        kind=event_kind(event.type),
        psp_type=event.type,
        created=event.created,
        relevant=is_subscribed(event.type),
        subject=_id_of(subject),
        psp_payment=payment if isinstance(payment, str) else None,
        session_id=_session_of(subject),
        refund_id=_marked(subject.get("metadata"), "ref", _OUR_REFUND),
        dispute=_named(subject, "dispute"),
        refund=_named(subject, "refund") if _may_be_news(subject) else None,
        psp_setup=_named(subject, "setup_intent"),
        detached_method=_id_of(subject) if event.type == "payment_method.detached" else None,
        psp_topup=_named(subject, "topup"),
        updated_method=_id_of(subject) if event.type == _METHOD_UPDATED else None,
        revoked_mandate=_named(subject, "mandate") if subject.get("status") == "inactive" else None,
        attached_method=_id_of(subject) if event.type == "payment_method.attached" else None,
        connected_account=_connected_account(subject),
    )


def _session_of(subject: Mapping[str, Any]) -> UUID | None:
    """The session that the object names, or the payment or charge in it where Stripe expanded them."""
    for holder in (subject, subject.get("payment_intent"), subject.get("charge")):
        found = _session_id(holder.get("metadata")) if isinstance(holder, dict) else None
        if found is not None:
            return found
    return None


def _id_in(subject: Mapping[str, Any], name: str) -> str | None:
    """The id of an object that another names: itself or, expanded, the object."""
    found = subject.get(name)
    return _id_of(found) if isinstance(found, dict) else found if isinstance(found, str) else None


def _connected_account(subject: Mapping[str, Any]) -> str | None:
    """The account that `account.updated` or `capability.updated` speaks of."""
    account = subject.get("account") if subject.get("object") == "capability" else _named(subject, "account")
    return account if isinstance(account, str) else None


def _named(subject: Mapping[str, Any], kind: str) -> str | None:
    """The id of an object of this kind. Raises ValueError where it has none."""
    if subject.get("object") != kind:
        return None
    identifier = _id_of(subject)
    if identifier is None:
        raise ValueError(f"a {kind} without an id")
    return identifier


def _may_be_news(refund: Mapping[str, Any]) -> bool:
    """Whether a refund needs to be read: one of ours that goes its way is answered by its own request."""
    metadata = refund.get("metadata")
    is_ours = isinstance(metadata, dict) and _OUR_REFUND in metadata
    return not is_ours or refund.get("status") in _FAILED_REFUNDS


def refund_update(refund: StripeRefund) -> RefundUpdate:
    """A refund (docs.stripe.com/api/refunds/object). Raises AmountNotRepresentableError."""
    currency = refund.currency.upper()
    state = RefundState.FAILED if refund.status in _FAILED_REFUNDS else RefundState.PENDING
    return RefundUpdate(
        psp_refund=refund.id,
        psp_payment=refund.payment_intent,
        state=RefundState.SUCCEEDED if refund.status == "succeeded" else state,
        is_ours=_OUR_REFUND in (refund.metadata or {}),
        amount_minor=from_stripe_amount(refund.amount, currency),
        currency=currency,
        refund_id=_refund_id(refund.metadata or {}),
    )


def _refund_id(metadata: Mapping[str, str]) -> UUID | None:
    """Our refund, as its request named it; None: it is another's, or the name is none."""
    try:
        return parse_id("ref", metadata[_OUR_REFUND])
    except (KeyError, MalformedIdError):
        return None


def _id_of(subject: Mapping[str, Any]) -> str | None:
    found = subject.get("id")
    return found if isinstance(found, str) else None


def _held(intent: StripePaymentIntent) -> Held:
    currency = intent.currency.upper()
    charge = intent.latest_charge
    details = charge.payment_method_details if isinstance(charge, StripeCharge) else None
    card = (details.card or details.card_present if details else None) or StripeCard()
    most = card.overcapture.maximum_amount_capturable if card.overcapture else None
    offered = card.incremental_authorization.status if card.incremental_authorization else None
    return Held(
        psp_payment=intent.id,
        amount_minor=from_stripe_amount(intent.amount, currency),
        capture_before=datetime.fromtimestamp(card.capture_before, tz=UTC) if card.capture_before else None,
        incrementable=offered == "available" or bool(card.incremental_authorization_supported),
        max_capture_minor=from_stripe_amount(most, currency) if most else None,
        scheme=card.brand,
        currency=currency,
    )


def _session_id(metadata: object) -> UUID | None:
    return _marked(metadata, "ses", "session")


def _marked(metadata: object, prefix: str, name: str) -> UUID | None:
    """The id of ours that an object carries under a name; None: none, or of another form."""
    text = metadata.get(name) if isinstance(metadata, dict) else None
    try:
        return parse_id(prefix, text) if isinstance(text, str) else None
    except MalformedIdError:
        return None
