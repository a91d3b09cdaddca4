"""Which instant a period may be closed at.

Owns: the rules, also when a second person is needed. Must not know: how a closing is stored.
"""

from dataclasses import dataclass
from datetime import datetime

from clearing.errors import ClearingConflictError


def check_ended(until: datetime, *, now: datetime) -> None:
    """A period is closed when it has ended. Raises ClearingConflictError for an instant still to come."""
    if until > now:
        raise ClearingConflictError(f"{until.isoformat()} is still to come; close a period when it has ended")


def check_order(until: datetime, *, previous: datetime | None) -> None:
    """Periods are closed in order. Raises ClearingConflictError for one before the last closing."""
    if previous is not None and previous > until:
        raise ClearingConflictError(f"the books are closed up to {previous.isoformat()} already")


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRequest:
    """Who asked to close the books up to an instant while `open_points` stood open, and who confirmed it."""

    closed_until: datetime
    requested_by: str
    requested_at: datetime
    open_points: int
    confirmed_by: str | None


def check_confirmation(request: CloseRequest, *, by: str) -> None:
    """Four eyes: who asked does not confirm. Raises ClearingConflictError."""
    if request.requested_by.casefold() == by.casefold():
        raise ClearingConflictError(
            f"{by!r} asked to close the books with {request.open_points} open points; "
            "another person must confirm"
        )
