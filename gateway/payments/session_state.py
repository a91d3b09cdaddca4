"""The state of a charging session, as a pure state machine.

Owns: the events that move a session, and the only mapping between its states, which the public session shows
unchanged. Must not know: SQL, HTTP, the clock, the state of an authorization. The mapping is drawn in
docs/state_machines.md and its states repeated by a CHECK of gateway.session; a test compares the three.

A session without an active authorization is `cancelled`. It may be authorized again, and a CDR completes it
all the same: the CDR is the billing record, whatever became of the hold.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from gateway.schemas.api_schemas import SessionState


class SessionEvent(StrEnum):
    """What can happen to a session."""

    AUTHORIZATION_ENDED = "authorization_ended"  # failed, voided or expired, with nothing captured
    AUTHORIZED_AGAIN = "authorized_again"
    COMPLETED = "completed"
    CLEARED = "cleared"
    STOPPED = "stopped"  # clearing can't continue, or nobody can pay
    RETRIED = "retried"


_S = SessionState
_E = SessionEvent

SESSION_TRANSITIONS: Final[Mapping[tuple[SessionState, SessionEvent], SessionState]] = MappingProxyType(
    {
        (_S.ACTIVE, _E.AUTHORIZATION_ENDED): _S.CANCELLED,
        (_S.ACTIVE, _E.COMPLETED): _S.COMPLETED,
        (_S.CANCELLED, _E.AUTHORIZED_AGAIN): _S.ACTIVE,
        (_S.CANCELLED, _E.COMPLETED): _S.COMPLETED,
        (_S.COMPLETED, _E.CLEARED): _S.CLEARED,
        (_S.COMPLETED, _E.STOPPED): _S.EXCEPTION,
        (_S.EXCEPTION, _E.RETRIED): _S.COMPLETED,
        (_S.EXCEPTION, _E.CLEARED): _S.CLEARED,
        (_S.EXCEPTION, _E.STOPPED): _S.EXCEPTION,
    }
)

# A session that can still be authorized: no CDR has completed it.
OPEN_STATES: Final = frozenset({_S.ACTIVE, _S.CANCELLED})


def advance_session(state: SessionState, event: SessionEvent) -> SessionState:
    """The state after `event`. Raises ValueError where the mapping has no such row."""
    try:
        return SESSION_TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"{event} can't happen to a session that is {state}") from None
