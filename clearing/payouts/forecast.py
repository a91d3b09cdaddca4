"""The payout calendar: what each party is expected to be paid on which day, with reserves and remainders.

Owns: the order in which sums become due, are held, paid and carried forward. Must not know: the database. It
follows the rules of planning, so that a forecast is what is later paid, to the minor unit.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from clearing.parties.party import Party
from clearing.payouts.minimum_increment import carry_forward_date, unpayable_remainder_minor
from clearing.payouts.netting import DueSum, HoldReason, destination, hold_reason
from clearing.payouts.reserve import Reserve, withheld


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePayable:
    """Payables of one party, currency, due date and state; `sales_minor` is without reserves."""

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
    """One line of the calendar: an amount due on a day; `hold` is the reason if it is not paid then."""

    party_id: str
    due_date: date
    currency: str
    amount_minor: int
    sessions: int
    state: str
    hold: HoldReason | None


@dataclass(slots=True)
class _RunningBalance:
    """What is due for the next disbursement of one party and currency."""

    amount_minor: int = 0
    sales_minor: int = 0
    held_minor: int = 0
    sessions: int = 0


@dataclass(slots=True)
class _Projection:
    """One party and currency: the coming days in order, and the balance carried from one to the next."""

    party: Party
    currency: str
    today: date
    days: list[tuple[date, int, DuePayable]] = field(default_factory=list)
    balance: _RunningBalance = field(default_factory=_RunningBalance)
    lines: list[CalendarDay] = field(default_factory=list)
    count: int = 0

    def add(self, row: DuePayable) -> None:
        """Add a row to the days, in order."""
        self.count += 1
        heapq.heappush(self.days, (row.due_date, self.count, row))

    def project(self, until: date) -> None:
        """Go through the days in order and pay what can be paid; all that is overdue is netted today."""
        while self.days:
            day = max(self.days[0][0], self.today)
            rows = []
            while self.days and self.days[0][0] <= day:
                rows.append(heapq.heappop(self.days)[2])
            self._day(day, rows, until)

    def _day(self, day: date, rows: Sequence[DuePayable], until: date) -> None:
        unscheduled = [row for row in rows if row.state != "scheduled"]
        for row in unscheduled:
            self.balance.amount_minor += row.amount_minor
            self.balance.sales_minor += row.sales_minor
            self.balance.held_minor += row.held_minor
            self.balance.sessions += row.sessions
        reserve = withheld(
            sales_minor=self.balance.sales_minor,
            held_minor=self.balance.held_minor,
            reserve_bps=self.party.payout_terms.reserve_bps,
        )
        hold = hold_reason(self._due(day, reserve), self.party) if unscheduled else None
        self.lines += [
            self._line(row.due_date, row.state, row.amount_minor, row.sessions, hold) for row in rows
        ]
        if unscheduled and hold is None:
            self._pay(day, reserve, until)

    def _due(self, day: date, reserve: int) -> DueSum:
        return DueSum(
            party_id=self.party.id,
            currency=self.currency,
            period=max(day, self.today),
            amount_minor=self.balance.amount_minor - reserve,
            count=self.balance.sessions,
        )

    def _pay(self, day: date, reserve: int, until: date) -> None:
        """Pay the balance; its reserve and remainder become due again, in the calendar if by `until`."""
        minor = self.balance.amount_minor - reserve
        self.balance = _RunningBalance()
        paid_on = max(day, self.today)
        if reserve:
            self.lines.append(self._line(day, "reserve", -reserve, 0, None))
            release = paid_on + timedelta(days=self.party.payout_terms.reserve_days)
            self._add_release(release, reserve, "reserve_release", until)
        paid_to = destination(self.party)
        remainder = (
            0
            if paid_to is None
            else unpayable_remainder_minor(minor, rail=paid_to[0], currency=self.currency)
        )
        if remainder:
            self.lines.append(self._line(day, "remainder", -remainder, 0, None))
            self._add_release(carry_forward_date(paid_on), remainder, "remainder_release", until)

    def _add_release(self, on: date, minor: int, state: str, until: date) -> None:
        if on <= until:
            self.add(self.release(on, minor, state=state))

    def release(self, on: date, minor: int, *, state: str = "reserve_release") -> DuePayable:
        """A reserve or remainder that is due again on a day."""
        return DuePayable(
            party_id=self.party.id,
            currency=self.currency,
            due_date=on,
            state=state,
            amount_minor=minor,
            sales_minor=0,
            held_minor=0,
            sessions=0,
        )

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


def payout_calendar(
    rows: Iterable[DuePayable],
    reserves: Iterable[Reserve],
    *,
    parties: Mapping[str, Party],
    today: date,
    until: date,
) -> list[CalendarDay]:
    """Amounts by party, currency and due date from overdue up to `until`, with the reason of a hold.

    Lines of state `reserve` are withheld from that day's disbursement, `reserve_release` are due again;
    `remainder` and `remainder_release` likewise, for the part that the rail can't pay. A day's
    disbursement is the sum of all its lines and of those held before it.
    """
    projections: dict[tuple[str, str], _Projection] = {}

    def of(party_id: str, currency: str) -> _Projection:
        key = (party_id, currency)
        if key not in projections:
            projections[key] = _Projection(party=parties[party_id], currency=currency, today=today)
        return projections[key]

    for row in rows:
        of(row.party_id, row.currency).add(row)
    for reserve in reserves:
        projection = of(reserve.party_id, reserve.currency)
        projection.add(projection.release(reserve.release_on, reserve.amount_minor))
    lines: list[CalendarDay] = []
    for _, projection in sorted(projections.items()):
        projection.project(until)
        lines += projection.lines
    return lines
