"""Whether a Plug & Charge session is over, and how it was settled, read from its payment.

Owns: the two judgments. Must not know: certificates, contracts, SQL, HTTP.
"""

from datetime import datetime, timedelta
from typing import Final, Literal

from gateway import objects
from gateway.ids import format_id
from gateway.payments.orders import SessionView
from gateway.payments.payment import PaymentState

_HELD: Final = frozenset({PaymentState.AUTHORIZED, PaymentState.CAPTURE_REQUESTED, PaymentState.CAPTURED})
_GONE: Final = frozenset({PaymentState.VOIDED, PaymentState.FAILED})
# A hold that is gone while no CDR came: one may still come, for as long as a hold is kept for it.
_CDR_PATIENCE: Final = timedelta(days=30)
Status = Literal["Settled", "Canceled", "Failed"]


def may_still_charge(view: SessionView) -> bool:
    """Whether an acceptance told now would be true: the session runs and its payment is held."""
    return (
        view.session.state == "active"
        and view.authorization is not None
        and view.authorization.state in _HELD
    )


def session_is_over(view: SessionView) -> bool:
    """Whether no more energy may flow: the CDR is here, or the hold was given back or lost."""
    return view.session.state != "active" or (
        view.authorization is not None and view.authorization.state in _GONE
    )


def settlement_object(view: SessionView, *, now: datetime) -> objects.PlugAndChargeSettlement | None:
    """How a session that is over was settled, minor units; None while its money is not taken yet.

    Settled: captured. Canceled: nothing to pay, the hold went back. Failed: there was, and it was not had.
    """
    status = _status(view, now=now)
    if status is None or view.authorization is None:
        return None
    session, capture = view.session, view.capture
    took = capture is not None and status == "Settled"
    return objects.PlugAndChargeSettlement(
        id=format_id("auth", view.authorization.id),
        session=format_id("ses", session.id),
        session_ref=session.session_ref,
        evse_id=session.evse_id,
        status=status,
        amount=capture.amount_minor if capture is not None and took else 0,
        currency=session.currency,
        receipt=format_id("cap", capture.id) if capture is not None and took else None,
        settled_at=(capture.captured_at if capture is not None else None) or view.authorization.updated_at,
    )


def _status(view: SessionView, *, now: datetime) -> Status | None:
    if view.capture is not None:
        match view.capture.state:
            case "succeeded":
                return "Settled"
            case "failed":
                return "Failed"
            case _:
                return None
    if view.authorization is None or view.authorization.state not in _GONE:
        return None
    if view.session.state == "active":
        return "Canceled" if now - view.authorization.updated_at > _CDR_PATIENCE else None
    if (view.session.price_minor or 0) > 0:  # a hold that was lost is secured again before it is given up
        return "Failed" if view.session.state == "parked" else None
    return "Canceled"
