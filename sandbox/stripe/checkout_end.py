"""The end of a Checkout Session: paid, or expired without a payment.

Owns: both ends and their events. Must not know: parameters, HTTP, what a card does.
Source: docs.stripe.com/api/checkout/sessions/object (`status`), docs.stripe.com/api/events/types.
"""

from typing import Final

from sandbox.stripe.hold_end import CANCELABLE, cancel
from sandbox.stripe.problems import Json, PspProblem
from sandbox.stripe.state import PspState, timer_id

CHECKOUT: Final = "checkout.session"
EXPIRE: Final = "expire_checkout"


def complete(state: PspState, intent: Json, account: str) -> None:
    """The PaymentIntent of a session is held or paid: the session is complete, once. Others have none."""
    session_id = intent.get("_checkout_session")
    session = None if session_id is None else state.get(CHECKOUT, session_id, account)
    if session is None or session["status"] != "open":
        return
    paid = intent["status"] == "succeeded"
    session |= {"status": "complete", "url": None, "payment_status": "paid" if paid else "unpaid"}
    state.records.remove(timer_id(EXPIRE, session["id"]))
    state.put(CHECKOUT, session, account)
    state.emit("checkout.session.completed", session, account)


def expire(state: PspState, session_id: str, account: str) -> Json:
    """End an open session; what its customer has begun to pay is canceled. Raises PspProblem."""
    session = state.get(CHECKOUT, session_id, account, param="session")
    if session["status"] != "open":
        raise PspProblem(
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a '
            f"status of `{session['status']}`."
        )
    session |= {"status": "expired", "url": None}
    state.records.remove(timer_id(EXPIRE, session_id))
    if session["payment_intent"] is not None:
        intent = state.get("payment_intent", session["payment_intent"], account)
        if intent["status"] in CANCELABLE:
            cancel(state, intent, "automatic", account)
    state.put(CHECKOUT, session, account)
    state.emit("checkout.session.expired", session, account)
    return session


def expire_due(state: PspState, session_id: str, account: str) -> None:
    """The session's last second has passed."""
    expire(state, session_id, account)
