"""An attempt to authorize an intent on a card: success, rejection, or a question to the cardholder.

Owns: what each test card does, the failed attempt's record. Must not know: parameters, HTTP.
"""

from typing import Final

from sandbox.stripe.card_details import details_of
from sandbox.stripe.cards import AUTHENTICATION_REQUIRED, MANDATE_REVOKED, Authentication, Decline, TestCard
from sandbox.stripe.charges import build_charge, decline_charge
from sandbox.stripe.checkout_end import complete
from sandbox.stripe.expansion import visible
from sandbox.stripe.hold_end import capture_now
from sandbox.stripe.payment_methods import card_of
from sandbox.stripe.problems import CardProblem, Json
from sandbox.stripe.state import PspState

NOT_AUTHENTICATED: Final = Decline(
    code="payment_intent_authentication_failure",
    decline_code=None,
    message="The cardholder failed authentication; confirm again with this or another PaymentMethod.",
)


def authorize(state: PspState, intent: Json, method: Json, account: str, *, never_challenge: bool) -> Json:
    """Try the method. The intent comes back staged as requires_action, requires_capture or succeeded.

    `never_challenge`: the cardholder is not there (off session), so a card that must authenticate is
    declined. Raises CardProblem; the failed attempt stays on record.
    """
    card = card_of(method)
    if state.forced_decline is not None:
        return _decline(state, intent, method, account, state.forced_decline)
    if _mandate_revoked(state, intent):
        return _decline(state, intent, method, account, MANDATE_REVOKED)
    if _must_authenticate(card, method, intent):
        if never_challenge:
            return _decline(state, intent, method, account, AUTHENTICATION_REQUIRED)
        return _request_authentication(state, intent, method, account)
    if card.decline is not None:
        return _decline(state, intent, method, account, card.decline)
    return _approve(state, intent, method, account)


def _mandate_revoked(state: PspState, intent: Json) -> bool:
    mandate = state.peek("mandate", intent["_mandate"]) if intent.get("_mandate") else None
    return mandate is not None and mandate["status"] != "active"


def _must_authenticate(card: TestCard, method: Json, intent: Json) -> bool:
    if intent.get("_authenticated") or intent.get("_present"):
        return False  # at a terminal the card itself answers
    match card.authentication:
        case Authentication.NEVER:
            return False
        case Authentication.ALWAYS:
            return True
        case Authentication.UNLESS_SET_UP:
            return not method.get("_set_up")


def _request_authentication(state: PspState, intent: Json, method: Json, account: str) -> Json:
    """Leave the intent waiting for the cardholder."""
    return_url = intent.get("_return_url")
    secret = state.new_id("src_")
    action: Json = (
        {
            "type": "redirect_to_url",
            "redirect_to_url": {
                "return_url": return_url,
                "url": f"{state.public_url}/_sandbox/payment_intents/{intent['id']}/authenticate",
            },
        }
        if return_url
        else {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "source": secret, "stripe_js": ""},
        }
    )
    intent |= {"status": "requires_action", "next_action": action, "payment_method": method["id"]}
    state.put("payment_intent", intent, account)
    state.emit("payment_intent.requires_action", intent, account)
    return intent


def _approve(state: PspState, intent: Json, method: Json, account: str) -> Json:
    charge = build_charge(state, intent, method)
    _save_method(state, intent, method, account)
    intent |= {
        "latest_charge": charge["id"],
        "payment_method": method["id"],
        "next_action": None,
        "last_payment_error": None,
    }
    if intent["capture_method"] != "manual":
        intent = capture_now(state, intent, charge, account)
        complete(state, intent, account)
        return intent
    intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
    state.put("charge", charge, account)
    state.put("payment_intent", intent, account)
    state.at(details_of(charge)["capture_before"], "expire_hold", intent["id"], account)
    state.emit("charge.succeeded", charge, account)
    state.emit("payment_intent.amount_capturable_updated", intent, account)
    complete(state, intent, account)
    return intent


def _save_method(state: PspState, intent: Json, method: Json, account: str) -> None:
    """A method set up for later use is attached to the customer.

    One without a customer can't be used again.
    """
    if method["customer"] is not None:
        return
    if intent["setup_future_usage"] is not None and intent["customer"] is not None:
        kept = {**method, "customer": intent["customer"], "_set_up": True}
        state.put("payment_method", kept, account)
        state.emit("payment_method.attached", kept, account)
    else:
        state.put("payment_method", {**method, "_spent": True}, account)


def _decline(state: PspState, intent: Json, method: Json, account: str, decline: Decline) -> Json:
    """Record the failed attempt. Raises CardProblem always."""
    charge = decline_charge(build_charge(state, intent, method), decline)
    details_of(charge).pop("capture_before", None)
    state.put("charge", charge, account)
    state.emit("charge.failed", charge, account)
    return fail(state, intent | {"latest_charge": charge["id"]}, method, account, decline)


def fail(state: PspState, intent: Json, method: Json, account: str, decline: Decline) -> Json:
    """Return the intent to requires_payment_method with the reason. Raises CardProblem always."""
    error = record_failure(state, intent, method, account, decline)
    raise CardProblem(
        decline.message,
        code=decline.code,
        decline_code=decline.decline_code,
        extra={
            "charge": intent["latest_charge"],
            "payment_intent": {**visible(intent, now=state.now), "last_payment_error": error},
            "payment_method": error["payment_method"],
        },
    )


def record_failure(state: PspState, intent: Json, method: Json, account: str, decline: Decline) -> Json:
    """Stage the intent as failed and announce it; the error object is returned."""
    shown = visible(method, now=state.now)
    error: Json = {
        "type": "card_error",
        "code": decline.code,
        "message": decline.message,
        "payment_method": shown,
    }
    error["doc_url"] = f"https://stripe.com/docs/error-codes/{decline.code.replace('_', '-')}"
    if decline.decline_code is not None:
        error["decline_code"] = decline.decline_code
    if intent["latest_charge"] is not None:
        error["charge"] = intent["latest_charge"]
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "next_action": None,
        "last_payment_error": error,
    }
    state.put("payment_intent", intent, account)
    state.emit("payment_intent.payment_failed", intent, account)
    return error


def answer_challenge(state: PspState, intent: Json, account: str, *, passed: bool) -> Json:
    """The cardholder's answer: go on with the payment, or fail it.

    A later rejection by the issuer is recorded, not raised.
    """
    method = state.get("payment_method", intent["payment_method"], account)
    if not passed:
        record_failure(state, intent, method, account, NOT_AUTHENTICATED)
        return intent
    intent["_authenticated"] = True
    try:
        return authorize(state, intent, method, account, never_challenge=False)
    except CardProblem:
        return state.get("payment_intent", intent["id"], account)
