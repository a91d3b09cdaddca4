"""Which instant a period may be closed at.

Owns: the rules. Must not know: how a closing is stored.
"""

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
