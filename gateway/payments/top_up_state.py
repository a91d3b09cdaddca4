"""The state of a top-up as it is recorded here, as a pure state machine.

Owns: its states, the events that move it, and the only mapping between them. Must not know: SQL, HTTP, the
clock, the PSP. The mapping is drawn in docs/state_machines.md and its states repeated by a CHECK of
gateway.top_up; a test compares the three.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class RecordedTopUpState(StrEnum):
    """How far a top-up has come here: as the PSP has it, and before the PSP has answered."""

    REQUESTED = "requested"
    PENDING = "pending"  # on its way for days
    ARRIVED = "arrived"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REVERSED = "reversed"  # it had arrived, and the bank took it back


class TopUpEvent(StrEnum):
    """What can happen to a top-up."""

    ACCEPTED = "accepted"  # the PSP has it; one that it refuses is deleted
    ARRIVED = "arrived"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REVERSED = "reversed"


_S = RecordedTopUpState
_E = TopUpEvent

TOP_UP_TRANSITIONS: Final[Mapping[tuple[RecordedTopUpState, TopUpEvent], RecordedTopUpState]] = (
    MappingProxyType(
        {
            (_S.REQUESTED, _E.ACCEPTED): _S.PENDING,
            (_S.PENDING, _E.ARRIVED): _S.ARRIVED,
            (_S.PENDING, _E.FAILED): _S.FAILED,
            (_S.PENDING, _E.CANCELLED): _S.CANCELLED,
            (_S.ARRIVED, _E.REVERSED): _S.REVERSED,
        }
    )
)


def states_before(state: RecordedTopUpState) -> list[RecordedTopUpState]:
    """The states from which a top-up comes to this one."""
    return [before for (before, _), after in TOP_UP_TRANSITIONS.items() if after is state]
