"""The end of a hold: captured (all, part, above it, often), released, expired; and raised before that.

Owns: the bounds of each. Must not know: parameters, HTTP.
"""

from typing import Final

from gateway.sandbox.psp.card_details import most_capturable, raised
from gateway.sandbox.psp.charges import take
from gateway.sandbox.psp.disputing import dispute_if_asked
from gateway.sandbox.psp.problems import CardProblem, Json, PspProblem, unexpected_state
from gateway.sandbox.psp.world import World, timer_id

MAX_INCREMENTS: Final = 10
CANCELABLE: Final = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)


def capture_now(world: World, intent: Json, charge: Json, account: str) -> Json:
    """Capture the whole at once, as an automatic intent does."""
    charge = take(world, charge, intent["amount"], account)
    intent |= {"status": "succeeded", "amount_received": intent["amount"]}
    world.put("charge", charge, account)
    world.put("payment_intent", intent, account)
    world.emit("charge.succeeded", charge, account)
    world.emit("payment_intent.succeeded", intent, account)
    dispute_if_asked(world, charge, account)
    return intent


def capture(world: World, intent: Json, amount: int | None, account: str, *, final: bool) -> Json:
    """Capture `amount` of the hold (None: all of it). What remains of a final capture is given back at once.

    Raises PspProblem in the wrong state or above what may be captured.
    """
    if intent["status"] != "requires_capture":
        raise unexpected_state("captured", intent, "requires_capture")
    charge = world.get("charge", intent["latest_charge"], account)
    if world.forced_decline is not None:
        decline = world.forced_decline
        raise CardProblem(decline.message, code=decline.code, decline_code=decline.decline_code)
    if not final and not charge["_grants"]["multicapture"]:
        raise PspProblem(
            "final_capture=false needs multicapture, which is not available for this PaymentIntent.",
            param="final_capture",
        )
    most = charge["_grants"]["most"] - charge["amount_captured"]
    wanted = intent["amount_capturable"] if amount is None else amount
    if wanted > most:
        raise PspProblem(
            f"The amount to capture ({wanted}) is greater than the amount that can be captured ({most}).",
            code="amount_too_large",
            param="amount_to_capture",
        )
    return _settle(world, intent, take(world, charge, wanted, account), account, final=final)


def _settle(world: World, intent: Json, charge: Json, account: str, *, final: bool) -> Json:
    received = charge["amount_captured"]
    left = max(charge["amount"] - received, 0)
    if final or left == 0:
        charge |= {"amount_refunded": left, "_released": left}
        intent |= {"status": "succeeded", "amount_capturable": 0}
        world.records.remove(timer_id("expire_hold", intent["id"]))
    else:
        intent |= {"amount_capturable": left}
    intent["amount_received"] = received
    world.put("charge", charge, account)
    world.put("payment_intent", intent, account)
    world.emit("charge.captured", charge, account)
    if intent["status"] == "succeeded":
        world.emit("payment_intent.succeeded", intent, account)
        dispute_if_asked(world, charge, account)
    else:
        world.emit("payment_intent.amount_capturable_updated", intent, account)
    return intent


def cancel(world: World, intent: Json, reason: str | None, account: str) -> Json:
    """Give up the intent; a hold is released in full. Raises PspProblem in the wrong state."""
    if intent["status"] not in CANCELABLE:
        raise unexpected_state("canceled", intent, ", ".join(CANCELABLE))
    if intent["status"] == "requires_capture":
        _release(world, intent, account, expired=reason == "automatic")
        world.records.remove(timer_id("expire_hold", intent["id"]))
    status = "succeeded" if intent["amount_received"] else "canceled"
    intent |= {
        "status": status,
        "amount_capturable": 0,
        "canceled_at": world.now if status == "canceled" else None,
        "cancellation_reason": reason if status == "canceled" else None,
        "next_action": None,
    }
    world.put("payment_intent", intent, account)
    world.emit(f"payment_intent.{status}", intent, account)
    return intent


def _release(world: World, intent: Json, account: str, *, expired: bool) -> None:
    charge = world.get("charge", intent["latest_charge"], account)
    left = charge["amount"] - charge["amount_captured"]
    charge |= {"amount_refunded": left, "_released": left, "refunded": charge["amount_captured"] == 0}
    world.put("charge", charge, account)
    world.emit("charge.expired" if expired else "charge.refunded", charge, account)


def increment(world: World, intent: Json, amount: int, account: str) -> Json:
    """Raise the hold to `amount` (the new total).

    Raises PspProblem, or CardProblem where the issuer says no.
    """
    if intent["status"] != "requires_capture":
        raise unexpected_state("incremented", intent, "requires_capture")
    charge = world.get("charge", intent["latest_charge"], account)
    if not charge["_grants"]["incremental"]:
        raise PspProblem(
            "This hold cannot be incremented: ask for it at confirmation with "
            "payment_method_options[card][request_incremental_authorization]=if_available.",
            code="payment_intent_invalid_parameter",
        )
    if amount <= intent["amount"]:
        raise PspProblem(
            f"The amount must be greater than the authorized amount ({intent['amount']}).", param="amount"
        )
    used = charge.get("_increments", 0)
    if used >= MAX_INCREMENTS:
        raise PspProblem(
            f"An authorization can be incremented at most {MAX_INCREMENTS} times.", param="amount"
        )
    if world.forced_decline is not None:
        decline = world.forced_decline
        raise CardProblem(decline.message, code=decline.code, decline_code=decline.decline_code)
    most = most_capturable(world, amount, granted=charge["_grants"]["overcapture"])
    charge = raised(charge, amount, most) | {"_increments": used + 1}
    intent |= {"amount": amount, "amount_capturable": amount - charge["amount_captured"]}
    world.put("charge", charge, account)
    world.put("payment_intent", intent, account)
    world.emit("charge.updated", charge, account)
    world.emit("payment_intent.amount_capturable_updated", intent, account)
    return intent


def expire_hold(world: World, intent_id: str, account: str) -> None:
    """The hold's last second has passed: the provider cancels the intent by itself."""
    intent = world.get("payment_intent", intent_id, account)
    if intent["status"] == "requires_capture":
        cancel(world, intent, "automatic", account)
