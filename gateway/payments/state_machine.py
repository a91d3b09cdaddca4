"""The payment of one charging session as a pure state machine.

Owns: the states an authorization can be in, the events that move it, and the only mapping between them.
Must not know: SQL, the PSP, HTTP, the clock. The mapping is drawn in docs/state_machines.md and repeated by a
CHECK in gateway/sql/migrations/0001_schema.sql; a test compares the three.

An authorization is captured, voided or failed once and stays so: those three states have no way out. Between
a call to the PSP and its answer lies `outcome_unknown`, which only the PSP's own answer ends.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class PaymentState(StrEnum):
    """How far an authorization has come."""

    REQUIRES_AUTHORIZATION = "requires_authorization"  # intent committed, the PSP has not answered
    REQUIRES_ACTION = "requires_action"  # the cardholder must authenticate (SCA)
    AUTHORIZED = "authorized"  # funds are held, or the partner's account is debited against a hold
    CAPTURE_REQUESTED = "capture_requested"  # a capture or a void is committed, not answered
    CAPTURED = "captured"
    VOIDED = "voided"
    FAILED = "failed"
    OUTCOME_UNKNOWN = "outcome_unknown"  # sent, not answered: only the PSP's answer ends it


class PaymentEvent(StrEnum):
    """What can happen to an authorization."""

    HELD = "held"
    ACTION_REQUIRED = "action_required"
    DECLINED = "declined"
    END_REQUESTED = "end_requested"  # capture of an amount, or void of the whole
    CAPTURED = "captured"
    VOIDED = "voided"
    ANSWER_LOST = "answer_lost"
    EXPIRED = "expired"  # the PSP or the scheme ended the hold


class IllegalTransitionError(Exception):
    """The event can't happen in this state; a caller that meets it has raced and must read again."""

    def __init__(self, state: PaymentState, event: PaymentEvent) -> None:
        super().__init__(f"{event} can't happen to a payment that is {state}")
        self.state = state
        self.event = event


_S = PaymentState
_E = PaymentEvent

TRANSITIONS: Final[Mapping[tuple[PaymentState, PaymentEvent], PaymentState]] = MappingProxyType(
    {
        (_S.REQUIRES_AUTHORIZATION, _E.HELD): _S.AUTHORIZED,
        (_S.REQUIRES_AUTHORIZATION, _E.ACTION_REQUIRED): _S.REQUIRES_ACTION,
        (_S.REQUIRES_AUTHORIZATION, _E.DECLINED): _S.FAILED,
        (_S.REQUIRES_AUTHORIZATION, _E.ANSWER_LOST): _S.OUTCOME_UNKNOWN,
        (_S.REQUIRES_ACTION, _E.HELD): _S.AUTHORIZED,
        (_S.REQUIRES_ACTION, _E.DECLINED): _S.FAILED,
        (_S.REQUIRES_ACTION, _E.EXPIRED): _S.VOIDED,
        (_S.REQUIRES_ACTION, _E.END_REQUESTED): _S.CAPTURE_REQUESTED,
        (_S.AUTHORIZED, _E.END_REQUESTED): _S.CAPTURE_REQUESTED,
        (_S.AUTHORIZED, _E.EXPIRED): _S.VOIDED,
        (_S.CAPTURE_REQUESTED, _E.CAPTURED): _S.CAPTURED,
        (_S.CAPTURE_REQUESTED, _E.VOIDED): _S.VOIDED,
        (_S.CAPTURE_REQUESTED, _E.DECLINED): _S.FAILED,
        (_S.CAPTURE_REQUESTED, _E.ANSWER_LOST): _S.OUTCOME_UNKNOWN,
        (_S.OUTCOME_UNKNOWN, _E.HELD): _S.AUTHORIZED,
        (_S.OUTCOME_UNKNOWN, _E.ACTION_REQUIRED): _S.REQUIRES_ACTION,
        (_S.OUTCOME_UNKNOWN, _E.CAPTURED): _S.CAPTURED,
        (_S.OUTCOME_UNKNOWN, _E.VOIDED): _S.VOIDED,
        (_S.OUTCOME_UNKNOWN, _E.DECLINED): _S.FAILED,
        (_S.OUTCOME_UNKNOWN, _E.ANSWER_LOST): _S.OUTCOME_UNKNOWN,
    }
)

UNDECIDED_STATES: Final = frozenset({_S.REQUIRES_AUTHORIZATION, _S.CAPTURE_REQUESTED, _S.OUTCOME_UNKNOWN})
FINAL_STATES: Final = frozenset({_S.CAPTURED, _S.VOIDED, _S.FAILED})


def advance(state: PaymentState, event: PaymentEvent) -> PaymentState:
    """The state after `event`. Raises IllegalTransitionError where the mapping has no such row."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(state, event) from None
