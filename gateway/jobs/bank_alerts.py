"""What of the bank's files and the calendars needs a person, one sentence each.

Owns: these sentences. Must not know who shows them.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from clearing.calendar import ClosingDays
from clearing.reference_data import bundled_data
from gateway.jobs.bank_inbox import unread

_AHEAD: Final = timedelta(days=183)


def list_bank_alerts(*, inbox: Path | None, wall_now: datetime) -> list[str]:
    """Messages that lie unread; calendars that end within half a year."""
    found = list_calendar_alerts(bundled_data.closing_days(), today=wall_now.date())
    waiting = [] if inbox is None else unread(inbox, wall_now=wall_now)
    if waiting:
        found.append(
            f"{len(waiting)} messages of the bank lie unread, first {waiting[0]}: does a worker run?"
        )
    return found


def list_calendar_alerts(calendars: Sequence[ClosingDays], *, today: date) -> list[str]:
    """Calendars whose last year ends soon: a due day beyond it is rejected."""
    return [
        f"the closing days of {one.name!r} end with {one.last_year}: add the next year's"
        for one in calendars
        if date(one.last_year, 12, 31) - today < _AHEAD
    ]
