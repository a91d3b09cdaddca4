"""The settlement SLA in figures: paid by the due date, late, overdue, unreconciled.

Owns: the queries. Must not know: who reads it, how it is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from clearing.connection import Connection, named_queries
from clearing.payouts import forecast_service
from clearing.payouts.forecast_accuracy import ForecastError
from clearing.receivables.ageing import AgedReceivable
from clearing.receivables.service import ReceivablesService
from clearing.reconciliation import bank_position_service
from clearing.reconciliation.report import BankPosition
from clearing.reference_data.service import ReferenceDataService

_QUERIES: Final[Any] = named_queries("settlement_sla")
WINDOW: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementSla:
    """One reading. Counts are of payables within the last 30 days, sums in minor units by currency."""

    on_time: int
    late: int
    overdue: int
    overdue_minor: Mapping[str, int]
    disbursements: Sequence[Mapping[str, Any]]
    differences: Sequence[Mapping[str, Any]]
    reconciled_at: datetime | None
    account_minor: Mapping[tuple[str, str], int]
    unsent_files: int
    awaiting_approval: int
    forecast_errors: Sequence[ForecastError] = ()
    receivables: Sequence[AgedReceivable] = ()
    suspense: Sequence[Mapping[str, Any]] = ()
    approval_requests_pending: int = 0
    bank: Sequence[BankPosition] = ()
    newest_rate: date | None = None

    @property
    def on_time_bps(self) -> int:
        """The share of due payables paid by the due date, in basis points; 10,000 if none was due."""
        due = self.on_time + self.late + self.overdue
        return 10_000 if due == 0 else self.on_time * 10_000 // due


async def read_settlement_sla(connection: Connection, *, now: datetime) -> SettlementSla:
    """Read it at business time; from one snapshot if the transaction is repeatable read."""
    punctuality = await _QUERIES.punctuality(connection, since=now - WINDOW, now=now)
    return SettlementSla(
        **dict(punctuality.items()),
        overdue_minor={
            row["currency"]: row["minor"] async for row in _QUERIES.overdue_sums(connection, now=now)
        },
        disbursements=[dict(row.items()) async for row in _QUERIES.disbursements(connection)],
        differences=[dict(row.items()) async for row in _QUERIES.differences(connection)],
        reconciled_at=await _QUERIES.reconciled_at(connection),
        account_minor={
            (row["class"], row["currency"]): row["minor"]
            async for row in _QUERIES.account_classes(connection)
        },
        unsent_files=await _QUERIES.unsent_files(connection),
        awaiting_approval=await _QUERIES.awaiting_approval(connection),
        forecast_errors=await forecast_service.list_errors(connection, now=now),
        receivables=await ReceivablesService(ReferenceDataService()).list_receivables(connection, now=now),
        suspense=[dict(row.items()) async for row in _QUERIES.suspense(connection)],
        approval_requests_pending=await _QUERIES.approval_requests_pending(connection),
        bank=await bank_position_service.list_positions(connection),
        newest_rate=await _QUERIES.newest_rate(connection),
    )
