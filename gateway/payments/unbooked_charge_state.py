"""The state of money at the PSP that is in no book, as a pure state machine.

Owns: its states, the events that move it, and the only mapping between them. Must not know: SQL, HTTP, the
clock, the PSP. The mapping is drawn in docs/state_machines.md and its states repeated by a CHECK of
gateway.unbooked_charge; a test compares the three.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class UnbookedState(StrEnum):
    """How far it has come; a CHECK of gateway.unbooked_charge repeats the states."""

    OPEN = "open"  # a person decides
    ADOPTING = "adopting"  # decided: it becomes the capture of its session, once that has a price
    ADOPTED = "adopted"
    REFUNDING = "refunding"  # decided: it is refunded
    REFUNDED = "refunded"
    LEFT = "left"  # decided: it is no session's; the reconciliation books it


class UnbookedEvent(StrEnum):
    """What can happen to it."""

    ADOPT = "adopt"  # decided, by a person or because nothing is to be decided
    REFUND = "refund"
    LEAVE = "leave"
    BOOKED = "booked"  # it is the capture of its session
    REFUNDED = "refunded"  # at the PSP: as decided, or without our asking
    NOT_POSSIBLE = "not_possible"  # what was decided can't be carried out: a person decides again
    REFUND_RETURNED = "refund_returned"  # by the card's bank


_S = UnbookedState
_E = UnbookedEvent

UNBOOKED_TRANSITIONS: Final[Mapping[tuple[UnbookedState, UnbookedEvent], UnbookedState]] = MappingProxyType(
    {
        (_S.OPEN, _E.ADOPT): _S.ADOPTING,
        (_S.OPEN, _E.REFUND): _S.REFUNDING,
        (_S.OPEN, _E.LEAVE): _S.LEFT,
        (_S.OPEN, _E.REFUNDED): _S.REFUNDED,
        (_S.ADOPTING, _E.ADOPT): _S.ADOPTING,
        (_S.ADOPTING, _E.REFUND): _S.REFUNDING,
        (_S.ADOPTING, _E.LEAVE): _S.LEFT,
        (_S.ADOPTING, _E.REFUNDED): _S.REFUNDED,
        (_S.ADOPTING, _E.BOOKED): _S.ADOPTED,
        (_S.ADOPTING, _E.NOT_POSSIBLE): _S.OPEN,
        (_S.REFUNDING, _E.REFUNDED): _S.REFUNDED,
        (_S.REFUNDING, _E.NOT_POSSIBLE): _S.OPEN,
        (_S.REFUNDED, _E.REFUND_RETURNED): _S.OPEN,
    }
)


def advance_charge(state: UnbookedState, event: UnbookedEvent) -> UnbookedState | None:
    """The state after `event`; None where it can't happen then."""
    return UNBOOKED_TRANSITIONS.get((state, event))
