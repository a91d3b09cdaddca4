"""The calendar ahead: what each party is to get on which day, with reserves withheld and released on the way.

Owns: the order in which sums become due, are held, paid and carried. Must not know: the store. It follows the
same rules as planning, so that a forecast is what is later paid, to the minor unit.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from clearing.parties.party import Party
from clearing.payouts.disbursement import DueSum, HoldReason, destination, hold_reason
from clearing.payouts.reserve import Reserve, withheld
from clearing.payouts.steps import comes_back_on, remainder


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRow:
    """Payables of one party, currency, day and state; `sales_minor` leaves reserves out."""

    party_id: str
    currency: str
    due_date: date
    state: str
    amount_minor: int
    sales_minor: int
    held_minor: int
    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarDay:
    """What a party is to get on a day.

    `planned_minor` is to be paid then, unless `hold` says why it waits.
    """

    party_id: str
    due_date: date
    currency: str
    amount_minor: int
    sessions: int
    state: str
    hold: HoldReason | None


@dataclass(slots=True)
class _Purse:
    """What waits for the next payment of one party and currency."""

    amount_minor: int = 0
    sales_minor: int = 0
    held_minor: int = 0
    sessions: int = 0


@dataclass(slots=True)
class _Ahead:
    """One party and currency: days to come, in order, and what is carried from one to the next."""

    party: Party
    currency: str
    today: date
    days: list[tuple[date, int, DueRow]] = field(default_factory=list)
    purse: _Purse = field(default_factory=_Purse)
    lines: list[CalendarDay] = field(default_factory=list)
    count: int = 0

    def add(self, row: DueRow) -> None:
        """Put a row in its place among the days."""
        self.count += 1
        heapq.heappush(self.days, (row.due_date, self.count, row))

    def walk(self, until: date) -> None:
        """Go through the days in order, paying what can be paid; all that is overdue is netted today."""
        while self.days:
            day = max(self.days[0][0], self.today)
            rows = []
            while self.days and self.days[0][0] <= day:
                rows.append(heapq.heappop(self.days)[2])
            self._day(day, rows, until)

    def _day(self, day: date, rows: Sequence[DueRow], until: date) -> None:
        waiting = [row for row in rows if row.state != "scheduled"]
        for row in waiting:
            self.purse.amount_minor += row.amount_minor
            self.purse.sales_minor += row.sales_minor
            self.purse.held_minor += row.held_minor
            self.purse.sessions += row.sessions
        reserve = withheld(
            sales_minor=self.purse.sales_minor,
            held_minor=self.purse.held_minor,
            reserve_bps=self.party.payout_terms.reserve_bps,
        )
        hold = hold_reason(self._due(day, reserve), self.party) if waiting else None
        self.lines += [
            self._line(row.due_date, row.state, row.amount_minor, row.sessions, hold) for row in rows
        ]
        if waiting and hold is None:
            self._pay(day, reserve, until)

    def _due(self, day: date, reserve: int) -> DueSum:
        return DueSum(
            party_id=self.party.id,
            currency=self.currency,
            period=max(day, self.today),
            amount_minor=self.purse.amount_minor - reserve,
            count=self.purse.sessions,
        )

    def _pay(self, day: date, reserve: int, until: date) -> None:
        """All that waits goes; what stays behind comes back within the view or after it."""
        minor = self.purse.amount_minor - reserve
        self.purse = _Purse()
        paid_on = max(day, self.today)
        if reserve:
            self.lines.append(self._line(day, "reserve", -reserve, 0, None))
            release = paid_on + timedelta(days=self.party.payout_terms.reserve_days)
            self._comes_back(release, reserve, "reserve_release", until)
        paid_to = destination(self.party)
        left = 0 if paid_to is None else remainder(minor, rail=paid_to[0], currency=self.currency)
        if left:
            self.lines.append(self._line(day, "remainder", -left, 0, None))
            self._comes_back(comes_back_on(paid_on), left, "remainder_release", until)

    def _comes_back(self, on: date, minor: int, state: str, until: date) -> None:
        if on <= until:
            self.add(self.release(on, minor, state=state))

    def release(self, on: date, minor: int, *, state: str = "reserve_release") -> DueRow:
        """What stayed behind, owed again on a day."""
        return DueRow(
            party_id=self.party.id, currency=self.currency, due_date=on, state=state,
            amount_minor=minor, sales_minor=0, held_minor=0, sessions=0,
        )  # fmt: skip

    def _line(self, day: date, state: str, minor: int, sessions: int, hold: HoldReason | None) -> CalendarDay:
        return CalendarDay(
            party_id=self.party.id,
            due_date=day,
            currency=self.currency,
            amount_minor=minor,
            sessions=sessions,
            state=state,
            hold=None if state == "scheduled" else hold,
        )


def calendar_ahead(
    rows: Iterable[DueRow],
    reserves: Iterable[Reserve],
    *,
    parties: Mapping[str, Party],
    today: date,
    until: date,
) -> list[CalendarDay]:
    """Amounts by party, currency and due date from overdue up to `until`, each with why it waits if it does.

    Lines of state `reserve` are what stays behind of that day's payment, `reserve_release` what comes back;
    `remainder` and `remainder_release` likewise, of what the rail can't move:
    a day's payment is the sum of all its lines and of those held before it.
    """
    purses: dict[tuple[str, str], _Ahead] = {}

    def of(party_id: str, currency: str) -> _Ahead:
        key = (party_id, currency)
        if key not in purses:
            purses[key] = _Ahead(party=parties[party_id], currency=currency, today=today)
        return purses[key]

    for row in rows:
        of(row.party_id, row.currency).add(row)
    for reserve in reserves:
        ahead = of(reserve.party_id, reserve.currency)
        ahead.add(ahead.release(reserve.release_on, reserve.amount_minor))
    lines: list[CalendarDay] = []
    for _, ahead in sorted(purses.items()):
        ahead.walk(until)
        lines += ahead.lines
    return lines
