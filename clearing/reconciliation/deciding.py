"""A person's decision on money that does not agree: its states, its ways to book, and when two must agree.

Owns: which step may follow which, the limit above which two people decide, who may be the second. Must not
know: accounts, the store, HTTP.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from clearing.errors import InvalidAmountError, StateConflictError


class Resolution(StrEnum):
    """How something that does not agree is booked."""

    MATCH = "match"
    SUSPENSE = "suspense"
    FEE = "fee"
    WRITE_OFF = "write_off"
    OWN_FUNDS = "own_funds"
    PSP_PAYOUT = "psp_payout"
    COLLECTION = "collection"
    COMPENSATION = "compensation"
    DEBT_WRITE_OFF = "debt_write_off"


class DecisionState(StrEnum):
    """Where a decision stands; only a booked one has moved money."""

    PROPOSED = "proposed"
    BOOKED = "booked"
    REFUSED = "refused"


class DecisionEvent(StrEnum):
    """What can happen to it."""

    AGREE = "agree"
    REFUSE = "refuse"


TRANSITIONS: Final = MappingProxyType(
    {
        (DecisionState.PROPOSED, DecisionEvent.AGREE): DecisionState.BOOKED,
        (DecisionState.PROPOSED, DecisionEvent.REFUSE): DecisionState.REFUSED,
    }
)
# A difference may be settled in these ways; the others are for debts.
OF_DIFFERENCES: Final = (
    Resolution.MATCH, Resolution.SUSPENSE, Resolution.FEE, Resolution.WRITE_OFF, Resolution.OWN_FUNDS,
    Resolution.PSP_PAYOUT, Resolution.COLLECTION,
)  # fmt: skip
# Money leaves suspense in these ways.
OF_SUSPENSE: Final = (
    Resolution.FEE, Resolution.WRITE_OFF, Resolution.OWN_FUNDS, Resolution.PSP_PAYOUT, Resolution.COLLECTION,
)  # fmt: skip
_ALL: Final = "*"
_MOST_CHARACTERS: Final = 500


def advance(state: DecisionState, event: DecisionEvent) -> DecisionState:
    """The state after `event`. Raises StateConflictError where the event is not allowed."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise StateConflictError(f"a decision that is {state} can't {event}")
    return following


def limits(rows: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """Limits in minor units by currency, `*` for any other, from the rows of `limits.csv`."""
    return {row["currency"]: int(row["limit_minor"]) for row in rows}


def needs_second(
    resolution: Resolution, *, amount_minor: int, currency: str, known: Mapping[str, int]
) -> bool:
    """Whether a second person must agree: above the currency's limit, and for every debt written off.

    Raises InvalidAmountError when there is neither a limit for the currency nor one for all.
    """
    if resolution is Resolution.DEBT_WRITE_OFF:
        return True
    limit = known.get(currency, known.get(_ALL))
    if limit is None:
        raise InvalidAmountError(f"no limit is set for decisions in {currency}, nor one for all currencies")
    return abs(amount_minor) > limit


def check_second(proposed_by: str, by: str) -> None:
    """Raises StateConflictError when it is the same person; upper and lower case and spaces don't count."""
    if same_person(proposed_by, by):
        raise StateConflictError(f"{by} proposed it: somebody else must agree")


def check_words(reason: str, by: str) -> None:
    """Raises StateConflictError without a reason or a name: both stay in the record."""
    if not 0 < len(reason.strip()) <= _MOST_CHARACTERS:
        raise StateConflictError(f"reason: expected 1 to {_MOST_CHARACTERS} characters that say why")
    if not by.strip():
        raise StateConflictError("by: expected the name of the person who decides")


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person's; upper and lower case and spaces don't count."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
