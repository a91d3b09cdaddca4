"""What the books say: open differences, and the financial summary with its audit, each from one snapshot.

Owns: the snapshot. Must not know: HTTP, who may ask, how anything is compared, summed or audited.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clearing.audit import AuditReport, audit_ledger
from clearing.reconciliation.report import OpenDifference
from clearing.reconciliation.service import ReconciliationService
from clearing.reporting.summary import Summary, read_summary
from gateway.audit_run_repository import AuditRun, find_latest_run
from gateway.clock import Clock
from gateway.database import Pool, transaction


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

    async def list_differences(self, *, owner: str | None, limit: int) -> Sequence[OpenDifference]:
        """Open differences of an owner, or of all, up to `limit`."""
        found: list[OpenDifference] = []
        today = self.clock.now().date()
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            async for one in ReconciliationService().differences(connection, today=today):
                if owner in (None, one.owner):
                    found.append(one)
                if len(found) >= limit:
                    break
        return found

    async def read_summary(self, *, with_audit: bool) -> SummaryReport:
        """The summary with the last audit's result; `with_audit`: and an audit of the same snapshot."""
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            summary = await read_summary(connection)
            audit = await audit_ledger(connection, now=self.clock.now()) if with_audit else None
            last = await find_latest_run(connection)
        return SummaryReport(summary=summary, last_audit=last, audit=audit)
