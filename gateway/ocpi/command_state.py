"""A command sent to a CPO as a pure state machine: requested, answered, done or not.

Owns: the states and the only mapping between them. Must not know: SQL, HTTP, the clock.
Source: OCPI mod_commands: CommandResponse comes from the CPO at once, CommandResult from the charge point
later, and may overtake the response. After the timeout the result may never come, yet one that comes late
still counts.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class CommandState(StrEnum):
    """The state of a command."""

    REQUESTED = "requested"  # intent committed, the CPO not yet heard
    UNANSWERED = "unanswered"  # the CPO did not answer: it may have sent the command on, or not
    ACCEPTED = "accepted"  # the CPO has sent it on
    REJECTED = "rejected"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"


class CommandEvent(StrEnum):
    """What can happen to a command."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ANSWER_LOST = "answer_lost"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DEADLINE_PASSED = "deadline_passed"


_S = CommandState
_E = CommandEvent
TRANSITIONS: Final[Mapping[tuple[CommandState, CommandEvent], CommandState]] = MappingProxyType(
    {
        (_S.REQUESTED, _E.ACCEPTED): _S.ACCEPTED,
        (_S.REQUESTED, _E.REJECTED): _S.REJECTED,
        (_S.REQUESTED, _E.ANSWER_LOST): _S.UNANSWERED,
        (_S.REQUESTED, _E.SUCCEEDED): _S.SUCCEEDED,
        (_S.REQUESTED, _E.FAILED): _S.FAILED,
        (_S.REQUESTED, _E.DEADLINE_PASSED): _S.TIMED_OUT,
        (_S.UNANSWERED, _E.SUCCEEDED): _S.SUCCEEDED,
        (_S.UNANSWERED, _E.FAILED): _S.FAILED,
        (_S.UNANSWERED, _E.DEADLINE_PASSED): _S.TIMED_OUT,
        (_S.ACCEPTED, _E.SUCCEEDED): _S.SUCCEEDED,
        (_S.ACCEPTED, _E.FAILED): _S.FAILED,
        (_S.ACCEPTED, _E.DEADLINE_PASSED): _S.TIMED_OUT,
        (_S.TIMED_OUT, _E.SUCCEEDED): _S.SUCCEEDED,
        (_S.TIMED_OUT, _E.FAILED): _S.FAILED,
    }
)


def advance(state: CommandState, event: CommandEvent) -> CommandState | None:
    """The state after `event`, or None when it changes nothing any more."""
    return TRANSITIONS.get((state, event))


def states_before(event: CommandEvent) -> tuple[CommandState, ...]:
    """The states that `event` moves."""
    return tuple(state for state, happened in TRANSITIONS if happened is event)
