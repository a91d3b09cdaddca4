"""The end of a hold: captured (all, part, above it, often), released, expired; and raised before that.

Owns: the bounds of each. Must not know: parameters, HTTP.
"""

from typing import Final

from sandbox.stripe.card_details import most_capturable, raised
from sandbox.stripe.charges import capture_charge
from sandbox.stripe.dispute_funds import dispute_if_configured
from sandbox.stripe.problems import CardProblem, Json, PspProblem, unexpected_state
from sandbox.stripe.state import PspState, timer_id

MAX_INCREMENTS: Final = 10
CANCELABLE: Final = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)


def capture_now(state: PspState, intent: Json, charge: Json, account: str) -> Json:
    """Capture the whole at once, as an automatic intent does."""
    charge = capture_charge(state, charge, intent["amount"], account)
    intent |= {"status": "succeeded", "amount_received": intent["amount"]}
    state.put("charge", charge, account)
    state.put("payment_intent", intent, account)
    state.emit("charge.succeeded", charge, account)
    state.emit("payment_intent.succeeded", intent, account)
    dispute_if_configured(state, charge, account)
    return intent


def capture(state: PspState, intent: Json, amount: int | None, account: str, *, final: bool) -> Json:
    """Capture `amount` of the hold (None: all of it). What remains of a final capture is released at once.

    Raises PspProblem in the wrong state or above what may be captured.
    """
    if intent["status"] != "requires_capture":
        raise unexpected_state("captured", intent, "requires_capture")
    charge = state.get("charge", intent["latest_charge"], account)
    if state.forced_decline is not None:
        decline = state.forced_decline
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
    return _settle(state, intent, capture_charge(state, charge, wanted, account), account, final=final)


def _settle(state: PspState, intent: Json, charge: Json, account: str, *, final: bool) -> Json:
    received = charge["amount_captured"]
    left = max(charge["amount"] - received, 0)
    if final or left == 0:
        charge |= {"amount_refunded": left, "_released": left}
        intent |= {"status": "succeeded", "amount_capturable": 0}
        state.records.remove(timer_id("expire_hold", intent["id"]))
    else:
        intent |= {"amount_capturable": left}
    intent["amount_received"] = received
    state.put("charge", charge, account)
    state.put("payment_intent", intent, account)
    state.emit("charge.captured", charge, account)
    if intent["status"] == "succeeded":
        state.emit("payment_intent.succeeded", intent, account)
        dispute_if_configured(state, charge, account)
    else:
        state.emit("payment_intent.amount_capturable_updated", intent, account)
    return intent


def cancel(state: PspState, intent: Json, reason: str | None, account: str) -> Json:
    """Cancel the intent; a hold is released in full. Raises PspProblem in the wrong state."""
    if intent["status"] not in CANCELABLE:
        raise unexpected_state("canceled", intent, ", ".join(CANCELABLE))
    if intent["status"] == "requires_capture":
        _release(state, intent, account, expired=reason == "automatic")
        state.records.remove(timer_id("expire_hold", intent["id"]))
    status = "succeeded" if intent["amount_received"] else "canceled"
    intent |= {
        "status": status,
        "amount_capturable": 0,
        "canceled_at": state.now if status == "canceled" else None,
        "cancellation_reason": reason if status == "canceled" else None,
        "next_action": None,
    }
    state.put("payment_intent", intent, account)
    state.emit(f"payment_intent.{status}", intent, account)
    return intent


def _release(state: PspState, intent: Json, account: str, *, expired: bool) -> None:
    charge = state.get("charge", intent["latest_charge"], account)
    left = charge["amount"] - charge["amount_captured"]
    charge |= {"amount_refunded": left, "_released": left, "refunded": charge["amount_captured"] == 0}
    state.put("charge", charge, account)
    state.emit("charge.expired" if expired else "charge.refunded", charge, account)


def increment(state: PspState, intent: Json, amount: int, account: str) -> Json:
    """Raise the hold to `amount` (the new total).

    Raises PspProblem, or CardProblem where the issuer says no.
    """
    if intent["status"] != "requires_capture":
        raise unexpected_state("incremented", intent, "requires_capture")
    charge = state.get("charge", intent["latest_charge"], account)
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
    if state.forced_decline is not None:
        decline = state.forced_decline
        raise CardProblem(decline.message, code=decline.code, decline_code=decline.decline_code)
    most = most_capturable(state, amount, granted=charge["_grants"]["overcapture"])
    charge = raised(charge, amount, most) | {"_increments": used + 1}
    intent |= {"amount": amount, "amount_capturable": amount - charge["amount_captured"]}
    state.put("charge", charge, account)
    state.put("payment_intent", intent, account)
    state.emit("charge.updated", charge, account)
    state.emit("payment_intent.amount_capturable_updated", intent, account)
    return intent


def expire_hold(state: PspState, intent_id: str, account: str) -> None:
    """The hold's last second has passed: the provider cancels the intent by itself."""
    intent = state.get("payment_intent", intent_id, account)
    if intent["status"] == "requires_capture":
        cancel(state, intent, "automatic", account)
