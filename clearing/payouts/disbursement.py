"""Paying out: the states of a disbursement, the outcomes of a rail, and the netting of what is due.

Owns: which step may follow which, what is netted, when nothing is paid and why. Must not know: the rail, the
store.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeGuard
from uuid import UUID

from clearing.errors import CurrencyMismatchError, StateConflictError
from clearing.parties.party import Party
from clearing.payouts.steps import step_minor


class DisbursementState(StrEnum):
    """Where a payment to a party stands."""

    PLANNED = "planned"
    WITHDRAWN = "withdrawn"
    REQUESTED = "requested"
    OUTCOME_UNKNOWN = "outcome_unknown"
    PAID = "paid"
    FAILED = "failed"
    RETURNED = "returned"


class DisbursementEvent(StrEnum):
    """What can happen to it."""

    WITHDRAW = "withdraw"
    REQUEST = "request"
    CONFIRM = "confirm"
    REJECT = "reject"
    LOSE_TRACK = "lose_track"
    RETURN = "return"


_OURS: Final = re.compile(r"NC[0-9a-f]{32}")
_STATE = DisbursementState
_EVENT = DisbursementEvent
TRANSITIONS: Final = MappingProxyType(
    {
        (_STATE.PLANNED, _EVENT.REQUEST): _STATE.REQUESTED,
        # A hold, other bank details, a leaving: what may no longer be sent is open again.
        (_STATE.PLANNED, _EVENT.WITHDRAW): _STATE.WITHDRAWN,
        (_STATE.REQUESTED, _EVENT.CONFIRM): _STATE.PAID,
        (_STATE.REQUESTED, _EVENT.REJECT): _STATE.FAILED,
        (_STATE.REQUESTED, _EVENT.LOSE_TRACK): _STATE.OUTCOME_UNKNOWN,
        # A worker that died between intent and result asks again, under the same key.
        (_STATE.REQUESTED, _EVENT.REQUEST): _STATE.REQUESTED,
        (_STATE.OUTCOME_UNKNOWN, _EVENT.REQUEST): _STATE.OUTCOME_UNKNOWN,
        (_STATE.OUTCOME_UNKNOWN, _EVENT.LOSE_TRACK): _STATE.OUTCOME_UNKNOWN,
        (_STATE.OUTCOME_UNKNOWN, _EVENT.CONFIRM): _STATE.PAID,
        (_STATE.OUTCOME_UNKNOWN, _EVENT.REJECT): _STATE.FAILED,
        # Days after it was paid, the payee's bank sends it back.
        (_STATE.PAID, _EVENT.RETURN): _STATE.RETURNED,
    }
)


def advance(state: DisbursementState, event: DisbursementEvent) -> DisbursementState:
    """The state after `event`. Raises StateConflictError where the event is not allowed."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise StateConflictError(f"a disbursement that is {state} can't {event}")
    return following


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """The rail moved the money; `rail_reference` is its own id of the payment."""

    rail_reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The rail refused for good and moved nothing: the payables are open again."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeUnknown:
    """The rail did not answer, or not clearly. Only its own record ends this; the key never changes."""

    detail: str


RailOutcome = Paid | Rejected | OutcomeUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Disbursement:
    """One payment to one party.

    `amount_minor` > 0 of `currency` to `destination`, known to the rail by `end_to_end_id`.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DueSum:
    """What is due to one party in one currency on its local day `period`.

    The signed sum of `count` open payables; `sales_minor` of it without reserves, `held_minor` withheld by an
    attempt that failed, after so many `attempts` that day.
    """

    party_id: str
    currency: str
    period: date
    amount_minor: int
    count: int
    sales_minor: int = 0
    held_minor: int = 0
    attempts: int = 0


class HoldReason(StrEnum):
    """Why what is due is not paid today. Each is told to the party, with the date."""

    DEBT = "negative_balance_carried_forward"
    BELOW_MINIMUM = "below_minimum_payout"
    BELOW_STEP = "below_smallest_payment"
    NO_DESTINATION = "no_connected_account"
    ON_HOLD = "payout_hold"
    BANK_DETAILS = "bank_details_to_be_confirmed"


def hold_reason(due: DueSum, party: Party) -> HoldReason | None:
    """Why `due` waits, or None if it is to be paid.

    Debts first, then holds, then the party's minimum payout.
    """
    if due.amount_minor <= 0:
        return HoldReason.DEBT
    terms = party.payout_terms
    if party.payout_hold is not None or terms.held_on(due.period) is not None:
        return HoldReason.ON_HOLD
    if terms.bank_pending:
        return HoldReason.BANK_DETAILS
    paid_to = destination(party)
    if paid_to is None:
        return HoldReason.NO_DESTINATION
    if due.amount_minor < step_minor(paid_to[0], due.currency):
        return HoldReason.BELOW_STEP
    if terms.deregistered(due.period):
        return None
    # The minimum is agreed in the settlement currency; an older payable in another currency has none.
    if due.currency == party.settlement_currency and due.amount_minor < party.minimum_payout_minor:
        return HoldReason.BELOW_MINIMUM
    return None


def destination(party: Party) -> tuple[str, str] | None:
    """Where a party is paid: the rail ("bank" or "psp") and its IBAN or connected account.

    A confirmed bank account comes first.
    """
    bank = party.payout_terms.bank
    if bank is not None:
        return "bank", bank.iban
    return None if party.connected_account is None else ("psp", party.connected_account)


def net(amounts: Sequence[tuple[int, str]]) -> tuple[int, str]:
    """The signed sum of amounts of one currency: debts reduce what is paid. Raises CurrencyMismatchError."""
    currency = amounts[0][1]
    for _, other in amounts:
        if other != currency:
            raise CurrencyMismatchError(currency, other)
    return sum(minor for minor, _ in amounts), currency


def end_to_end_id(disbursement_id: UUID) -> str:
    """The id that travels with the money to the party's bank line.

    32 hex digits after `NC` (ISO 20022 Max35Text).
    """
    return f"NC{disbursement_id.hex}"


def is_ours(identifier: str | None) -> TypeGuard[str]:
    """Whether a bank line's end-to-end id has the form of ours: what has not is never looked up."""
    return identifier is not None and _OURS.fullmatch(identifier) is not None
