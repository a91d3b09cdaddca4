"""What the books say: open differences, and the financial summary with its audit, each from one snapshot.

Owns: the snapshot. Must not know: HTTP, who may ask, how anything is compared, summed or audited.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from clearing.audit import AuditReport, audit_ledger
from clearing.reconciliation import report_service
from clearing.reconciliation.report import (
    BankPosition,
    DifferenceAge,
    DifferenceFilter,
    OpenDifference,
    OpenSum,
)
from clearing.reconciliation.service import ReconciliationService
from clearing.reporting.summary import Summary, read_summary
from gateway.audit_run_repository import AuditRun, find_latest_run
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.errors import RecordNotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationPosition:
    """Books, PSP and bank side by side, from one snapshot."""

    sums: Sequence[OpenSum]
    bank: Sequence[BankPosition]
    ages: Sequence[DifferenceAge]


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryReport:
    """The summary, what the last audit came to, and an audit of now where one was asked for."""

    summary: Summary
    last_audit: AuditRun | None
    audit: AuditReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinancialReportService:
    """Reads only."""

    pool: Pool
    clock: Clock

    async def list_differences(
        self, wanted: DifferenceFilter, *, after: UUID | None, limit: int
    ) -> Sequence[OpenDifference]:
        """Open differences in the order of their pair and reference, those after one, up to `limit`."""
        async with self.pool.acquire() as connection:
            return await report_service.list_differences(
                connection, wanted, today=self.clock.now().date(), after=after, limit=limit
            )

    async def get_difference(self, difference_id: UUID) -> OpenDifference:
        """One difference, open or resolved. Raises RecordNotFoundError."""
        async with self.pool.acquire() as connection:
            found = await report_service.find_difference(
                connection, difference_id, today=self.clock.now().date()
            )
        if found is None:
            raise RecordNotFoundError("There is no such difference")
        return found

    async def read_position(self) -> ReconciliationPosition:
        """What each side has open, the bank's balance beside ours, and differences by owner and age."""
        today = self.clock.now().date()
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            return ReconciliationPosition(
                sums=await report_service.sum_open_items(connection),
                bank=await ReconciliationService().list_bank_positions(connection),
                ages=await report_service.count_ages(connection, today=today),
            )

    async def read_summary(self, *, with_audit: bool) -> SummaryReport:
        """The summary with the last audit's result; `with_audit`: and an audit of the same snapshot."""
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            summary = await read_summary(connection)
            audit = await audit_ledger(connection, now=self.clock.now()) if with_audit else None
            last = await find_latest_run(connection)
        return SummaryReport(summary=summary, last_audit=last, audit=audit)
