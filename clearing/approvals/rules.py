"""The rules of four-eyes approval: states of a request, ways to resolve, when a second person must approve.

Owns: the transitions, the comparison with the limit, who may be the second person. Must not know: accounts,
the database, HTTP.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from clearing.errors import ClearingConflictError, InvalidAmountError


class Resolution(StrEnum):
    """How a difference, a suspense item or a receivable is booked."""

    MATCH = "match"
    SUSPENSE = "suspense"
    FEE = "fee"
    WRITE_OFF = "write_off"
    OWN_FUNDS = "own_funds"
    PSP_PAYOUT = "psp_payout"
    RECEIVABLE_PAYMENT = "receivable_payment"
    SET_OFF = "set_off"
    RECEIVABLE_WRITE_OFF = "receivable_write_off"


class ApprovalState(StrEnum):
    """The state of an approval request; only a booked one has moved money."""

    PENDING = "pending"
    BOOKED = "booked"
    REJECTED = "rejected"


class ApprovalEvent(StrEnum):
    """What can happen to a request."""

    APPROVE = "approve"
    REJECT = "reject"


TRANSITIONS: Final = MappingProxyType(
    {
        (ApprovalState.PENDING, ApprovalEvent.APPROVE): ApprovalState.BOOKED,
        (ApprovalState.PENDING, ApprovalEvent.REJECT): ApprovalState.REJECTED,
    }
)
# The resolutions of a difference; the others are for receivables.
OF_DIFFERENCES: Final = (
    Resolution.MATCH,
    Resolution.SUSPENSE,
    Resolution.FEE,
    Resolution.WRITE_OFF,
    Resolution.OWN_FUNDS,
    Resolution.PSP_PAYOUT,
    Resolution.RECEIVABLE_PAYMENT,
)
# The resolutions of a suspense item.
OF_SUSPENSE: Final = (
    Resolution.FEE,
    Resolution.WRITE_OFF,
    Resolution.OWN_FUNDS,
    Resolution.PSP_PAYOUT,
    Resolution.RECEIVABLE_PAYMENT,
)
_ALL: Final = "*"
_MOST_CHARACTERS: Final = 500


def advance(state: ApprovalState, event: ApprovalEvent) -> ApprovalState:
    """The state after `event`. Raises ClearingConflictError if the event is not allowed."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise ClearingConflictError(f"cannot {event} an approval request that is {state}")
    return following


def limits(rows: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """Limits in minor units by currency, `*` for any other, from the rows of `limits.csv`."""
    return {row["currency"]: int(row["limit_minor"]) for row in rows}


def requires_approval(
    resolution: Resolution, *, amount_minor: int, currency: str, known: Mapping[str, int]
) -> bool:
    """Whether a second person must approve: above the currency's limit, and every write-off of a receivable.

    Raises InvalidAmountError if there is neither a limit for the currency nor one for all.
    """
    if resolution is Resolution.RECEIVABLE_WRITE_OFF:
        return True
    limit = known.get(currency, known.get(_ALL))
    if limit is None:
        raise InvalidAmountError(f"no approval limit is set for {currency}, nor one for all currencies")
    return abs(amount_minor) > limit


def check_second_approver(proposed_by: str, by: str) -> None:
    """Raises ClearingConflictError if both are the same person, whatever the case and spaces of the names."""
    if same_person(proposed_by, by):
        raise ClearingConflictError(f"{by} proposed it: another person must approve it")


def check_reason_and_name(reason: str, by: str) -> None:
    """Raises ClearingConflictError without a reason or a name: both are recorded."""
    if not 0 < len(reason.strip()) <= _MOST_CHARACTERS:
        raise ClearingConflictError(
            f"reason: expected 1 to {_MOST_CHARACTERS} characters that state the reason"
        )
    if not by.strip():
        raise ClearingConflictError("by: expected the name of the person")


def same_person(one: str, other: str) -> bool:
    """Whether two names are the same person's, whatever their case and spaces."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
