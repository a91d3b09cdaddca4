"""Which days a party's documents cover.

Owns: the end of a period by its cadence. Must not know: which documents there are, the repository.
"""

from calendar import monthrange
from datetime import date, timedelta
from typing import assert_never

from clearing.parties.party import DocumentCadence

_SUNDAY = 6


def period_end(cadence: DocumentCadence, day: date) -> date:
    """The last day of the period that `day` lies in: weeks end on Sunday (ISO 8601)."""
    match cadence:
        case DocumentCadence.SESSION | DocumentCadence.DAILY:
            return day
        case DocumentCadence.WEEKLY:
            return day + timedelta(days=_SUNDAY - day.weekday())
        case DocumentCadence.MONTHLY:
            return day.replace(day=monthrange(day.year, day.month)[1])
        case _ as unreachable:
            assert_never(unreachable)
