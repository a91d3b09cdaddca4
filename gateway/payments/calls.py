"""Calls to the PSP as they were intended: the same key and the same fields at every try.

Owns: what a recorded call asks, what a session is called. Must not know: when a call is made, what its answer
leads to.
"""

from uuid import UUID

from gateway.ids import format_id
from gateway.payments.orders import InvalidOrderError
from gateway.payments.psp import HoldOrder
from gateway.payments.records import AuthorizationRecord, CallRecord


def session_name(cpo_id: str, session_ref: str) -> str:
    """The name under which a session of a CPO is found."""
    return f"{cpo_id}:{session_ref}"


def call_key(call_id: UUID) -> str:
    """The idempotency key of a call: from its row's id, so it never changes on retry."""
    return f"nc_{format_id('call', call_id)}"


def hold_order(authorization: AuthorizationRecord, call: CallRecord) -> HoldOrder:
    """The order of a hold as it was intended: the same fields at every try."""
    if authorization.payment_method is None:
        raise InvalidOrderError(f"authorization {format_id('auth', authorization.id)} has no payment method")
    return HoldOrder(
        idempotency_key=call_key(call.id),
        session_id=authorization.session_id,
        authorization_id=authorization.id,
        amount_minor=call.amount_minor,
        currency=authorization.currency,
        payment_method=authorization.payment_method,
        customer=authorization.customer,
        off_session=authorization.off_session,
        metadata={"party": authorization.party_id, "rail": authorization.rail},
    )
