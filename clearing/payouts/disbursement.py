"""Disbursements: their states, the outcomes of a rail, and the netting of what is due.

Owns: the transitions, what is netted, the reasons not to pay. Must not know: the rail, the database.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeGuard
from uuid import UUID

from clearing.errors import ClearingConflictError


class DisbursementState(StrEnum):
    """The state of a disbursement."""

    PLANNED = "planned"
    CANCELLED = "cancelled"
    REQUESTED = "requested"
    OUTCOME_UNKNOWN = "outcome_unknown"
    PAID = "paid"
    FAILED = "failed"
    RETURNED = "returned"


class DisbursementEvent(StrEnum):
    """What can happen to a disbursement."""

    CANCEL = "cancel"
    REQUEST = "request"
    CONFIRM = "confirm"
    REJECT = "reject"
    LOSE_ANSWER = "lose_answer"
    RETURN = "return"


_OURS: Final = re.compile(r"NC[0-9a-f]{32}")
_STATE = DisbursementState
_EVENT = DisbursementEvent
TRANSITIONS: Final = MappingProxyType(
    {
        (_STATE.PLANNED, _EVENT.REQUEST): _STATE.REQUESTED,
        # A hold, other bank details, deregistration: its payables are open again.
        (_STATE.PLANNED, _EVENT.CANCEL): _STATE.CANCELLED,
        (_STATE.REQUESTED, _EVENT.CONFIRM): _STATE.PAID,
        (_STATE.REQUESTED, _EVENT.REJECT): _STATE.FAILED,
        (_STATE.REQUESTED, _EVENT.LOSE_ANSWER): _STATE.OUTCOME_UNKNOWN,
        # After a worker died between intent and result the rail is called again, under the same key.
        (_STATE.REQUESTED, _EVENT.REQUEST): _STATE.REQUESTED,
        (_STATE.OUTCOME_UNKNOWN, _EVENT.REQUEST): _STATE.OUTCOME_UNKNOWN,
        (_STATE.OUTCOME_UNKNOWN, _EVENT.LOSE_ANSWER): _STATE.OUTCOME_UNKNOWN,
        (_STATE.OUTCOME_UNKNOWN, _EVENT.CONFIRM): _STATE.PAID,
        (_STATE.OUTCOME_UNKNOWN, _EVENT.REJECT): _STATE.FAILED,
        # Days after it was paid, the payee's bank returns it.
        (_STATE.PAID, _EVENT.RETURN): _STATE.RETURNED,
    }
)


def advance(state: DisbursementState, event: DisbursementEvent) -> DisbursementState:
    """The state after `event`. Raises ClearingConflictError if the event is not allowed."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise ClearingConflictError(f"cannot {event} a disbursement that is {state}")
    return following


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """The rail paid; `rail_reference` is its own id of the payment."""

    rail_reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The rail finally rejected and paid nothing: the payables are open again."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RailOutcomeUnknown:
    """The rail's answer is missing or unclear. Only its own record ends this; the key never changes."""

    detail: str


RailOutcome = Paid | Rejected | RailOutcomeUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Disbursement:
    """One payment to one party in one currency, netting its due payables.

    `amount_minor` > 0 is paid to `destination`; the rail identifies it by `end_to_end_id`.
    """

    id: UUID
    party_id: str
    currency: str
    period: date
    amount_minor: int
    destination: str
    end_to_end_id: str
    state: DisbursementState
    planned_at: datetime
    attempts: int = 0
    rail_reference: str | None = None
    failure: str | None = None
    rail: str = "psp"
    approvals_needed: int = 0


def end_to_end_id(disbursement_id: UUID) -> str:
    """The end-to-end id, shown in the party's bank line: `NC` and 32 hex digits (ISO 20022 Max35Text)."""
    return f"NC{disbursement_id.hex}"


def is_ours(identifier: str | None) -> TypeGuard[str]:
    """Whether a bank line's end-to-end id has the form of ours; any other is never looked up."""
    return identifier is not None and _OURS.fullmatch(identifier) is not None
