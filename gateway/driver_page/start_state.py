"""How far the remote start of a driver's payment has come, as a pure state machine.

Owns: its states, the events that move it, and the only mapping between them. Must not know: SQL, HTTP, OCPI,
the clock. The mapping is drawn in docs/state_machines.md and its states repeated by a CHECK of
gateway.driver_payment; a test compares the three.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class StartState(StrEnum):
    """How far a remote start has come; a CHECK of gateway.driver_payment repeats the states."""

    NONE = "none"
    ASKED = "asked"  # about to be sent, or lost with its process
    SENT = "sent"  # the state of its OCPI command counts
    NOT_OFFERED = "not_offered"  # the operator takes no commands: the driver plugs in


class StartEvent(StrEnum):
    """What can happen to a remote start."""

    CLAIMED = "claimed"  # one process sends it: the hold is there, or its first sender was lost
    SENT = "sent"
    NOT_OFFERED = "not_offered"
    ASKED_AGAIN = "asked_again"  # by the driver, after the operator's refusal or silence


_S = StartState
_E = StartEvent

START_TRANSITIONS: Final[Mapping[tuple[StartState, StartEvent], StartState]] = MappingProxyType(
    {
        (_S.NONE, _E.CLAIMED): _S.ASKED,
        (_S.ASKED, _E.CLAIMED): _S.ASKED,
        (_S.ASKED, _E.SENT): _S.SENT,
        (_S.ASKED, _E.NOT_OFFERED): _S.NOT_OFFERED,
        (_S.SENT, _E.ASKED_AGAIN): _S.ASKED,
    }
)


# The operator may not have been asked yet: a process that sends the start claims it first.
NOT_SENT: Final = frozenset(state for state, event in START_TRANSITIONS if event is _E.CLAIMED)
