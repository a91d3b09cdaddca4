"""Rescheduling of due dates after a calendar or terms changed: which due dates move, and to which day.

Owns: that decision. Must not know: the database. The due date of a capture is computed again from its sale;
any other payable moves only from a day that is closed now. What is due already is not moved: it is paid.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from clearing.calendar import Calendars, due_date
from clearing.parties.party import Party


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDueDate:
    """An open payable with its due date; `sale_at` is set for the payable of a capture."""

    shard: int
    subject_id: UUID
    kind: str
    reference: str
    party_id: str
    currency: str
    due_date: date
    sale_at: datetime | None


def moved_due_dates(
    payables: Iterable[OpenDueDate], *, parties: Mapping[str, Party], calendars: Calendars
) -> Iterator[tuple[OpenDueDate, date]]:
    """Each payable whose due date differs by the present calendars and terms, with its new due date.

    Raises CalendarExhaustedError for a day after the last year of a calendar.
    """
    for payable in payables:
        party = parties[payable.party_id]
        if payable.kind == "capture" and payable.sale_at is not None:
            day = due_date(payable.sale_at, party, calendars)
        else:
            day = calendars.add_clearing_days(
                payable.due_date, 0, currency=payable.currency, country=party.country
            )
        if day != payable.due_date:
            yield payable, day
