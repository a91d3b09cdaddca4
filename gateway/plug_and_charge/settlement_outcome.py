"""Whether a Plug & Charge session has ended and how it was settled: rules over its payment.

Owns: the judgments and the public object of the settlement. Must not know: certificates, contracts, SQL,
HTTP.
"""

from datetime import datetime, timedelta
from typing import Final, Literal

from gateway.ids import format_id
from gateway.payments.state_machine import PaymentState
from gateway.payments.views import SessionView
from gateway.schemas.plug_and_charge import SettlementNoticeSchema

HELD: Final = frozenset({PaymentState.AUTHORIZED, PaymentState.CAPTURE_REQUESTED, PaymentState.CAPTURED})
_ENDED_WITHOUT_CAPTURE: Final = frozenset({PaymentState.VOIDED, PaymentState.FAILED})
# A hold that ended before any CDR came: a CDR may still come, for as long as a hold can be kept for it.
_CDR_GRACE: Final = timedelta(days=30)
SettlementOutcome = Literal["Settled", "Canceled", "Failed"]


def may_still_charge(view: SessionView) -> bool:
    """Whether the vehicle may be accepted now: its session is active and its payment is held."""
    return (
        view.session.state == "active" and view.authorization is not None and view.authorization.state in HELD
    )


def session_has_ended(view: SessionView) -> bool:
    """Whether no more energy may be delivered: the CDR has come, or the hold was voided or has failed."""
    return view.session.state != "active" or (
        view.authorization is not None and view.authorization.state in _ENDED_WITHOUT_CAPTURE
    )


def settlement_object(view: SessionView, *, now: datetime) -> SettlementNoticeSchema | None:
    """How an ended session was settled, in minor units; None while its capture is not decided.

    Settled: captured. Canceled: nothing to pay, the hold was voided. Failed: an amount was due and not
    captured.
    """
    outcome = _outcome(view, now=now)
    if outcome is None or view.authorization is None:
        return None
    session = view.session
    paid = view.capture if outcome == "Settled" else None
    captured_at = None if view.capture is None else view.capture.captured_at
    return SettlementNoticeSchema(
        id=format_id("auth", view.authorization.id),
        session=format_id("ses", session.id),
        session_ref=session.session_ref,
        evse_id=session.evse_id,
        status=outcome,
        amount=0 if paid is None else paid.amount_minor,
        currency=session.currency,
        receipt=None if paid is None else format_id("cap", paid.id),
        settled_at=captured_at or view.authorization.updated_at,
    )


def _outcome(view: SessionView, *, now: datetime) -> SettlementOutcome | None:
    if view.capture is not None:
        match view.capture.state:
            case "succeeded":
                return "Settled"
            case "failed":
                return "Failed"
            case _:
                return None
    if view.authorization is None or view.authorization.state not in _ENDED_WITHOUT_CAPTURE:
        return None
    if view.session.state in {"active", "cancelled"}:
        return "Canceled" if now - view.authorization.updated_at > _CDR_GRACE else None
    if (view.session.price_minor or 0) > 0:  # a lost hold is renewed first; the session fails only after that
        return "Failed" if view.session.state == "exception" else None
    return "Canceled"
