"""Stripe Checkout: a page of Stripe's own on which a driver's hold is made, by Checkout Sessions.

Owns: paths and parameters of Checkout Sessions, and what each of their states means for a hold. Must not
know: our database, whose page it is. A session has no PaymentIntent before its customer confirms, so until
then the session stands for the payment; afterwards the PaymentIntent is what is captured or canceled.
Source: docs.stripe.com/api/checkout/sessions; payments/place-a-hold-on-a-payment-method (Checkout).
"""

from typing import Any, Final
from urllib.parse import quote

from clearing.language import Language, texts
from gateway.ids import format_id
from gateway.payments.psp.failures import Declined, PspMisconfigured, PspOutcomeUnknown
from gateway.payments.psp.port import (
    Captured,
    FeaturesRefused,
    Held,
    PaymentStatus,
    PspHoldRequest,
    PspVoidRequest,
    RequiresAction,
    Voided,
)
from gateway.payments.psp.stripe.errors import PAGE_NOT_OPEN
from gateway.payments.psp.stripe.objects import state_of
from gateway.payments.psp.stripe.request_parameters import CARD, card_options, named_parameters
from gateway.payments.psp.stripe.responses import StripeCheckoutSession, StripePaymentIntent
from gateway.payments.psp.stripe.wire import StripeWire

_SESSIONS: Final = "/v1/checkout/sessions"
_PREFIX: Final = "cs_"
_WITH_PAYMENT: Final = ["payment_intent.latest_charge.balance_transaction"]
HOSTED_PAGE_ACTION: Final = "hosted_page"  # the type of the action that the driver has to take
_OPEN: Final = "open"


def is_hosted_page(psp_payment: str) -> bool:
    """Whether an id of a payment is that of a Checkout Session."""
    return psp_payment.startswith(_PREFIX)


class StripeHostedPages:
    """Checkout Sessions in mode `payment`, with manual capture."""

    def __init__(self, wire: StripeWire) -> None:
        self._wire = wire

    async def open(
        self, request: PspHoldRequest, amount: int
    ) -> RequiresAction | Declined | FeaturesRefused | PspMisconfigured | PspOutcomeUnknown:
        """Create a session for `amount` of Stripe's unit; the driver has to pay on its page."""
        made = await self._wire.ask(
            _SESSIONS, StripeCheckoutSession, page_parameters(request, amount), key=request.idempotency_key
        )
        if not isinstance(made, StripeCheckoutSession):
            return made
        if CARD not in made.payment_method_types:
            return await self._wire.report(
                PspMisconfigured(
                    code="payment_method_unactivated",
                    detail="the account has not activated card",
                    definite=True,
                )
            )
        return _to_pay(made)

    async def inspect(self, psp_payment: str) -> PaymentStatus:
        """What became of a session: still to be paid, ended without a payment, or what its payment is."""
        found = await self._read(psp_payment)
        if isinstance(found, Declined | PspOutcomeUnknown):
            return found
        if found.status == _OPEN:
            return _to_pay(found)
        if found.status == "expired":
            return Voided()
        intent = found.payment_intent
        state = state_of(intent) if isinstance(intent, StripePaymentIntent) else None
        if isinstance(state, Held | Captured | Voided):
            return state
        return PspOutcomeUnknown(reason=f"a Checkout Session that is {found.status} without a hold")

    async def end(self, request: PspVoidRequest) -> str | Voided | Declined | PspOutcomeUnknown:
        """Expire the session, so that nobody can pay on its page; a payment's id: that is to be canceled.

        An id of a payment is answered as it is.
        """
        if not is_hosted_page(request.psp_payment):
            return request.psp_payment
        found = await self._read(request.psp_payment)
        if isinstance(found, StripeCheckoutSession) and found.status == _OPEN:
            path, key = _path(request.psp_payment, "/expire"), f"{request.idempotency_key}_expire"
            ended = await self._wire.post(path, StripeCheckoutSession, {}, key=key)
            if isinstance(ended, StripeCheckoutSession):
                return Voided()
            if not isinstance(ended, Declined) or ended.code != PAGE_NOT_OPEN:
                return ended
            found = await self._read(request.psp_payment)  # it was paid, or has expired, in the meantime
        if isinstance(found, Declined | PspOutcomeUnknown):
            return found
        intent = found.payment_intent
        if found.status == "complete" and intent is not None:
            return intent.id if isinstance(intent, StripePaymentIntent) else intent
        if found.status == "expired":
            return Voided()
        return PspOutcomeUnknown(reason=f"a Checkout Session that is {found.status}")

    async def _read(self, psp_payment: str) -> StripeCheckoutSession | Declined | PspOutcomeUnknown:
        return await self._wire.get(_path(psp_payment), StripeCheckoutSession, {"expand": _WITH_PAYMENT})


def page_parameters(request: PspHoldRequest, amount: int) -> dict[str, Any]:
    """The parameters of a session whose payment is the same hold as that of a card.

    One currency, one price, no discount, no other wallet than a card's: what is held is what was shown. The
    session's own metadata names the hold as well, so that its events do.
    """
    language = _language(request.locale)
    said = texts("gateway.payments.psp", language)
    metadata = {
        **request.metadata,
        "session": format_id("ses", request.session_id),
        "authorization": format_id("auth", request.authorization_id),
    }
    parameters: dict[str, Any] = {
        "mode": "payment",
        "ui_mode": "hosted_page",
        "success_url": request.return_url,
        "cancel_url": request.return_url,
        "locale": language.value,
        "client_reference_id": metadata["authorization"],
        "allowed_payment_method_types": [CARD],
        "adaptive_pricing": {"enabled": False},
        "wallet_options": {"link": {"display": "never"}},
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": request.currency.lower(),
                    "unit_amount": amount,
                    "product_data": {"name": said["item"]},
                },
            }
        ],
        "custom_text": {"submit": {"message": said["held"]}},
        "payment_intent_data": {
            "capture_method": "manual",
            **named_parameters(request.description, request.receipt_email, request.statement_suffix),
            "transfer_group": metadata["session"],
            "metadata": metadata,
        },
        **card_options(request.features),
        "metadata": metadata,
    }
    if request.page_until is not None:
        parameters["expires_at"] = int(request.page_until.timestamp())
    return parameters


def _to_pay(session: StripeCheckoutSession) -> RequiresAction:
    return RequiresAction(
        psp_payment=session.id, next_action={"type": HOSTED_PAGE_ACTION}, redirect_url=session.url
    )


def _language(locale: str | None) -> Language:
    try:
        return Language(locale or "")
    except ValueError:
        return Language.ENGLISH


def _path(psp_payment: str, verb: str = "") -> str:
    return f"{_SESSIONS}/{quote(psp_payment, safe='')}{verb}"
