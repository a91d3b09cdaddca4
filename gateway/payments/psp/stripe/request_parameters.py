"""The parameters of each request that changes something at Stripe, true to the pinned version.

Owns: which parameter says what, in every combination of a request. Must not know: how a request is sent, what
its answer means. A test compares each with the SDK's own types.
Source: docs.stripe.com/changelog (dahlia 2026-07-29, endive 2026-09-30): the types of payment method are no
longer written but allowed, and one that the account has not activated is dropped in silence.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from gateway.ids import format_id
from gateway.payments.psp.port import (
    CARD_PRESENT,
    HoldFeatures,
    PspCaptureRequest,
    PspChargeRequest,
    PspHoldRequest,
    PspRefundRequest,
    PspTopUpRequest,
    PspTransferRequest,
)

INTENTS: Final = "/v1/payment_intents"
CARD: Final = "card"
WITH_CHARGE: Final = ["latest_charge"]
WITH_FEE: Final = ["latest_charge.balance_transaction"]
# A statement shows the account's prefix (at most 10 characters), "* " and the suffix, 22 in all
# (docs.stripe.com/get-started/account/statement-descriptors).
_SUFFIX_LENGTH: Final = 10
_NOT_ON_A_STATEMENT: Final = re.compile(r"[^A-Za-z0-9 .,&/+-]+")
_LETTER: Final = re.compile(r"[A-Za-z]")
# Where no return URL is known: no method that redirects, so none is needed (docs.stripe.com/api, create).
_NO_REDIRECTS: Final[Mapping[str, Any]] = {
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}
}


def intent_path(psp_payment: str, verb: str = "") -> str:
    """Where a PaymentIntent is read, or one of its verbs is asked."""
    return f"{INTENTS}/{quote(psp_payment, safe='')}{verb}"


def hold_parameters(request: PspHoldRequest, amount: int) -> dict[str, Any]:
    """A PaymentIntent with manual capture, `amount` in Stripe's unit.

    A presented card is confirmed by the terminal (docs.stripe.com/terminal/payments/collect-card-payment).
    """
    at_terminal = request.payment_method == CARD_PRESENT
    parameters = {
        "amount": amount,
        "currency": request.currency.lower(),
        "capture_method": "manual",
        **(_at_terminal(request.features) if at_terminal else _online(request)),
        **named_parameters(request.description, request.receipt_email, request.statement_suffix),
        "transfer_group": format_id("ses", request.session_id),
        "metadata": {
            **request.metadata,
            "session": format_id("ses", request.session_id),
            "authorization": format_id("auth", request.authorization_id),
        },
        "expand": WITH_CHARGE,
    }
    if request.customer is not None:
        parameters["customer"] = request.customer
    return parameters


def _at_terminal(features: HoldFeatures) -> dict[str, Any]:
    types: dict[str, Any] = {"allowed_payment_method_types": [CARD_PRESENT]}
    if not features.increments:
        return types
    return types | {
        "payment_method_options": {CARD_PRESENT: {"request_incremental_authorization_support": True}}
    }


def _online(request: PspHoldRequest) -> dict[str, Any]:
    """A card that is confirmed at once: off session, or with the driver there and a way back."""
    parameters: dict[str, Any] = {"confirm": True, "payment_method": request.payment_method}
    if request.save_usage is not None:
        parameters["setup_future_usage"] = request.save_usage
    if request.off_session:
        parameters |= {"allowed_payment_method_types": [CARD], "off_session": True}
    elif request.return_url is not None:
        parameters |= {"allowed_payment_method_types": [CARD], "return_url": request.return_url}
    else:
        parameters |= _NO_REDIRECTS
    return parameters | card_options(request.features)


def card_options(features: HoldFeatures) -> dict[str, Any]:
    """What is asked of the card beyond the hold, as far as anything is."""
    wanted = {
        "request_incremental_authorization": features.increments,
        "request_overcapture": features.over_capture,
    }
    options = {name: "if_available" for name, asked in wanted.items() if asked}
    return {"payment_method_options": {CARD: options}} if options else {}


def charge_parameters(request: PspChargeRequest, amount: int) -> dict[str, Any]:
    """An off-session PaymentIntent that is captured at once (docs.stripe.com/payments/save-and-reuse)."""
    return {
        "amount": amount,
        "currency": request.currency.lower(),
        "confirm": True,
        "off_session": True,
        "customer": request.customer,
        "payment_method": request.payment_method,
        "allowed_payment_method_types": [CARD],
        **named_parameters(request.description, request.receipt_email, request.statement_suffix),
        "transfer_group": format_id("ses", request.session_id),
        "metadata": {
            **request.metadata,
            "session": format_id("ses", request.session_id),
            "residual_charge_for": format_id("auth", request.authorization_id),
        },
        "expand": WITH_FEE,
    }


def capture_parameters(request: PspCaptureRequest, amount: int) -> dict[str, Any]:
    """A capture of `amount`; what it leaves of the hold is released."""
    return {"amount_to_capture": amount, "metadata": dict(request.metadata), "expand": WITH_FEE}


def refund_parameters(request: PspRefundRequest, amount: int) -> dict[str, Any]:
    """A refund of a charge, in part or whole (docs.stripe.com/refunds)."""
    return {"charge": request.psp_charge, "amount": amount, "metadata": dict(request.metadata)}


def transfer_parameters(request: PspTransferRequest, amount: int) -> dict[str, Any]:
    """A transfer to a connected account; it is found by its group, for transfers can't be searched."""
    return {
        "amount": amount,
        "currency": request.currency.lower(),
        "destination": request.connected_account,
        "metadata": {"end_to_end_id": request.end_to_end_id},
        "transfer_group": request.end_to_end_id,
    }


def top_up_parameters(request: PspTopUpRequest, amount: int) -> dict[str, Any]:
    """A top-up of the platform's balance from its bank account."""
    return {
        "amount": amount,
        "currency": request.currency.lower(),
        "description": request.reference,
        "metadata": {"reference": request.reference, "top_up": format_id("fund", request.top_up_id)},
    }


def named_parameters(
    description: str | None, receipt_email: str | None, statement: str | None
) -> dict[str, Any]:
    """What the driver and the driver's bank read of the payment; a card charge takes a suffix only."""
    named = {
        "description": description,
        "receipt_email": receipt_email,
        "statement_descriptor_suffix": None if statement is None else statement_suffix(statement),
    }
    return {name: text for name, text in named.items() if text is not None}


def statement_suffix(text: str, *, longest: int = _SUFFIX_LENGTH) -> str | None:
    """A text as a statement can show it, None where nothing with a letter is left."""
    cut = " ".join(_NOT_ON_A_STATEMENT.sub(" ", text).split())[:longest].strip()
    return cut if _LETTER.search(cut) else None
