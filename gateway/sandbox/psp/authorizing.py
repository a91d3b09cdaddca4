"""An attempt to authorize an intent on a card: success, refusal, or a question to the cardholder.

Owns: what each test card does, the failed attempt's record. Must not know: parameters, HTTP.
"""

from typing import Final

from gateway.sandbox.psp.capturing import capture_now
from gateway.sandbox.psp.card_details import details_of
from gateway.sandbox.psp.cards import (
    AUTHENTICATION_REQUIRED,
    MANDATE_REVOKED,
    Authentication,
    Decline,
    TestCard,
)
from gateway.sandbox.psp.charges import build_charge, refuse
from gateway.sandbox.psp.expansion import visible
from gateway.sandbox.psp.payment_methods import card_of
from gateway.sandbox.psp.problems import CardProblem, Json
from gateway.sandbox.psp.world import World

NOT_AUTHENTICATED: Final = Decline(
    code="payment_intent_authentication_failure",
    decline_code=None,
    message="The cardholder failed authentication; confirm again with this or another PaymentMethod.",
)


def authorize(world: World, intent: Json, method: Json, account: str, *, never_ask: bool) -> Json:
    """Try the method. The intent comes back staged as requires_action, requires_capture or succeeded.

    `never_ask`: the cardholder is not there (off session), so a card that must authenticate is refused.
    Raises CardProblem; the failed attempt stays on record.
    """
    card = card_of(method)
    if world.forced_decline is not None:
        return _decline(world, intent, method, account, world.forced_decline)
    if _mandate_revoked(world, intent):
        return _decline(world, intent, method, account, MANDATE_REVOKED)
    if _must_authenticate(card, method, intent):
        if never_ask:
            return _decline(world, intent, method, account, AUTHENTICATION_REQUIRED)
        return _ask(world, intent, method, account)
    if card.decline is not None:
        return _decline(world, intent, method, account, card.decline)
    return _approve(world, intent, method, account)


def _mandate_revoked(world: World, intent: Json) -> bool:
    mandate = world.peek("mandate", intent["_mandate"]) if intent.get("_mandate") else None
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


def _ask(world: World, intent: Json, method: Json, account: str) -> Json:
    """Leave the intent waiting for the cardholder."""
    return_url = intent.get("_return_url")
    secret = world.new_id("src_")
    action: Json = (
        {
            "type": "redirect_to_url",
            "redirect_to_url": {
                "return_url": return_url,
                "url": f"/_sandbox/payment_intents/{intent['id']}/authenticate",
            },
        }
        if return_url
        else {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "source": secret, "stripe_js": ""},
        }
    )
    intent |= {"status": "requires_action", "next_action": action, "payment_method": method["id"]}
    world.put("payment_intent", intent, account)
    world.emit("payment_intent.requires_action", intent, account)
    return intent


def _approve(world: World, intent: Json, method: Json, account: str) -> Json:
    charge = build_charge(world, intent, method)
    _keep_method(world, intent, method, account)
    intent |= {
        "latest_charge": charge["id"],
        "payment_method": method["id"],
        "next_action": None,
        "last_payment_error": None,
    }
    if intent["capture_method"] != "manual":
        return capture_now(world, intent, charge, account)
    intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
    world.put("charge", charge, account)
    world.put("payment_intent", intent, account)
    world.at(details_of(charge)["capture_before"], "expire_hold", intent["id"], account)
    world.emit("charge.succeeded", charge, account)
    world.emit("payment_intent.amount_capturable_updated", intent, account)
    return intent


def _keep_method(world: World, intent: Json, method: Json, account: str) -> None:
    """A method set up for later use joins the customer; one that belongs to nobody is spent."""
    if method["customer"] is not None:
        return
    if intent["setup_future_usage"] is not None and intent["customer"] is not None:
        kept = {**method, "customer": intent["customer"], "_set_up": True}
        world.put("payment_method", kept, account)
        world.emit("payment_method.attached", kept, account)
    else:
        world.put("payment_method", {**method, "_spent": True}, account)


def _decline(world: World, intent: Json, method: Json, account: str, decline: Decline) -> Json:
    """Record the failed attempt. Raises CardProblem always."""
    charge = refuse(build_charge(world, intent, method), decline)
    details_of(charge).pop("capture_before", None)
    world.put("charge", charge, account)
    world.emit("charge.failed", charge, account)
    return fail(world, intent | {"latest_charge": charge["id"]}, method, account, decline)


def fail(world: World, intent: Json, method: Json, account: str, decline: Decline) -> Json:
    """Return the intent to requires_payment_method and say why. Raises CardProblem always."""
    error = record_failure(world, intent, method, account, decline)
    raise CardProblem(
        decline.message,
        code=decline.code,
        decline_code=decline.decline_code,
        extra={
            "charge": intent["latest_charge"],
            "payment_intent": {**visible(intent, now=world.now), "last_payment_error": error},
            "payment_method": error["payment_method"],
        },
    )


def record_failure(world: World, intent: Json, method: Json, account: str, decline: Decline) -> Json:
    """Stage the intent as failed and announce it; the error object is handed back."""
    shown = visible(method, now=world.now)
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
    world.put("payment_intent", intent, account)
    world.emit("payment_intent.payment_failed", intent, account)
    return error


def answer_challenge(world: World, intent: Json, account: str, *, passed: bool) -> Json:
    """The cardholder's answer: go on with the payment, or fail it.

    A later refusal by the issuer is recorded, not raised.
    """
    method = world.get("payment_method", intent["payment_method"], account)
    if not passed:
        record_failure(world, intent, method, account, NOT_AUTHENTICATED)
        return intent
    intent["_authenticated"] = True
    try:
        return authorize(world, intent, method, account, never_ask=False)
    except CardProblem:
        return world.get("payment_intent", intent["id"], account)
