"""The promise in figures: paid by the due date, late, unreconciled, untold.

Owns: the questions. Must not know: who asks, how it is shown. It only reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from clearing.desks import bank_position, forecast_desk
from clearing.desks.debt_desk import DebtDesk
from clearing.desks.forecast_desk import ForecastError
from clearing.payouts.ageing import AgedDebt
from clearing.reconciliation.report import BankPosition
from clearing.service import ClearingService
from gateway.database import Connection, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "promise.sql")
WINDOW: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One look. Counts are of payables within the last 30 days, sums in minor units by currency."""

    on_time: int
    late: int
    overdue: int
    overdue_minor: Mapping[str, int]
    payments: Sequence[Mapping[str, Any]]
    differences: Sequence[Mapping[str, Any]]
    reconciled_at: datetime | None
    oldest_event_at: datetime | None
    account_minor: Mapping[tuple[str, str], int]
    unsent_files: int
    awaiting_release: int
    forecast_errors: Sequence[ForecastError] = ()
    debts: Sequence[AgedDebt] = ()
    suspense: Sequence[Mapping[str, Any]] = ()
    decisions_waiting: int = 0
    bank: Sequence[BankPosition] = ()
    newest_rate: date | None = None

    @property
    def ten_thousandths_on_time(self) -> int:
        """The share paid by the due date, of all that was due, in hundredths of a percent; none due: all."""
        due = self.on_time + self.late + self.overdue
        return 10_000 if due == 0 else self.on_time * 10_000 // due


async def read_promise(connection: Connection, *, now: datetime) -> Promise:
    """Read it at business time; on one snapshot if the transaction is repeatable read."""
    punctual = await _QUERIES.punctuality(connection, since=now - WINDOW, now=now)
    return Promise(
        **dict(punctual.items()),
        overdue_minor={
            row["currency"]: row["minor"] async for row in _QUERIES.overdue_sums(connection, now=now)
        },
        payments=[dict(row.items()) async for row in _QUERIES.payments(connection)],
        differences=[dict(row.items()) async for row in _QUERIES.differences(connection)],
        reconciled_at=await _QUERIES.reconciled_at(connection),
        oldest_event_at=await _QUERIES.oldest_event(connection),
        account_minor={
            (row["class"], row["currency"]): row["minor"]
            async for row in _QUERIES.account_classes(connection)
        },
        unsent_files=await _QUERIES.unsent_files(connection),
        awaiting_release=await _QUERIES.awaiting_release(connection),
        forecast_errors=await forecast_desk.errors(connection, now=now),
        debts=await DebtDesk(ClearingService()).debts(connection, now=now),
        suspense=[dict(row.items()) async for row in _QUERIES.suspense(connection)],
        decisions_waiting=await _QUERIES.decisions_waiting(connection),
        bank=await bank_position.positions(connection),
        newest_rate=await _QUERIES.newest_rate(connection),
    )
