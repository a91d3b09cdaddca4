"""A session that is authorized again: when it may be, and what becomes of it.

Owns: the rule that a session has one active authorization. Must not know: the database, HTTP, the PSP.
"""

from dataclasses import replace
from datetime import datetime

from gateway.payments.errors import SessionAlreadyAuthorizedError
from gateway.payments.records import AuthorizationRecord, SessionRecord
from gateway.payments.requests import AuthorizationRequest
from gateway.payments.session_state import OPEN_STATES, SessionEvent, advance_session
from gateway.payments.state_machine import FINAL_STATES, PaymentState
from gateway.schemas.api_schemas import SessionState


def reject_second_authorization(
    session: SessionRecord, current: AuthorizationRecord | None, request: AuthorizationRequest
) -> None:
    """A session has one active authorization at most, and belongs to the partner that opened it.

    Raises SessionAlreadyAuthorizedError.
    """
    active = current is not None and (
        current.state not in FINAL_STATES or current.state is PaymentState.CAPTURED
    )
    if active or session.state not in OPEN_STATES or session.demand_partner_id != request.party_id:
        raise SessionAlreadyAuthorizedError(f"session {request.session_ref} is authorized or ended already")


def reopened(session: SessionRecord, *, now: datetime) -> SessionRecord:
    """The session as the new authorization left it: one whose payment had ended is active again."""
    if session.state is not SessionState.CANCELLED:
        return session
    return replace(
        session, state=advance_session(session.state, SessionEvent.AUTHORIZED_AGAIN), updated_at=now
    )
