"""A calendar that changed after sums were scheduled: which due dates move, and where to.

Owns: that decision. Must not know: the store. A capture's day is counted again from its sale; any other sum
moves only off a day that is closed now. What is due already is not moved: it is paid.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from clearing.calendar import Calendars, due_date
from clearing.parties.party import Party


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDue:
    """An open payable with its day; `sale_at` is set for what a capture owes."""

    lane: int
    subject_id: UUID
    kind: str
    reference: str
    party_id: str
    currency: str
    due_date: date
    sale_at: datetime | None


def moves(
    payables: Iterable[OpenDue], *, parties: Mapping[str, Party], calendars: Calendars
) -> Iterator[tuple[OpenDue, date]]:
    """Each payable whose day is another one by the present calendars and terms, with that day.

    Raises CalendarExhaustedError where the files end.
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
