"""The proof over the whole system: captures, ledger, funded accounts and the PSP's own record.

Owns: the comparison of packages with each other and with the PSP, and what a finding says. Must not know how
anything came about: it reads what is stored and what the PSP lists, and changes nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from clearing.audit import AuditFinding, AuditReport, audit_ledger
from clearing.ledger import service as ledger_service
from clearing.reporting.open_items import list_psp_differences
from gateway.acts.service import verify_acts
from gateway.audit import system_audit_repository
from gateway.audit.checks import (
    SHOWN,
    AuditCheck,
    AuditResult,
    account_finding,
    act_check,
    act_findings,
    agrees_unless,
    session_findings,
)
from gateway.audit.psp_comparison import OwnFigures, compare_with_psp
from gateway.audit.psp_record import (
    PSP_RECORD,
    own_figures,
    psp_checks,
    psp_findings,
    psp_not_compared,
    without_record,
)
from gateway.audit.system_audit_repository import OpenWork
from gateway.audit_run_repository import AuditRun, record_run
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.payments import unbooked_charge_repository
from gateway.payments.psp.failures import PspOutcomeUnknown
from gateway.payments.psp.port import Psp
from gateway.personal_data import retention_service
from gateway.personal_data.retention_repository import RetentionRun


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemAudit:
    """The proof: clearing's own report, and what crosses packages or is compared with the PSP's record.

    `findings` are the differences beside clearing's own, `checks` says of every check whether it compared.
    `retention` is the last run that removed personal data whose time was over.
    """

    clearing: AuditReport
    findings: Sequence[AuditFinding]
    checks: Sequence[AuditCheck]
    open_work: OpenWork
    retention: RetentionRun | None = None

    @property
    def result(self) -> AuditResult:
        """A difference counts before what could not be compared; what was left out by choice is neither."""
        if not self.clearing.ok or self.findings:
            return AuditResult.DIFFERS
        results = {check.result for check in self.checks}
        return AuditResult.NOT_COMPARED if AuditResult.NOT_COMPARED in results else AuditResult.AGREES

    @property
    def ok(self) -> bool:
        """Whether every figure that was to be compared was, and agrees."""
        return self.result is AuditResult.AGREES

    @property
    def all_findings(self) -> Sequence[AuditFinding]:
        """Every finding, clearing's first."""
        return [*self.clearing.findings, *self.findings]


async def audit_system(
    pool: Pool, *, clock: Clock, psp: Psp | None, psp_expected: bool = False
) -> SystemAudit:
    """Recompute the proof from one snapshot of the database, then compare it with the PSP's record.

    `psp` None leaves the PSP out; with `psp_expected` that is something which could not be compared.
    """
    async with transaction(pool, isolation="repeatable_read") as connection:
        before = await _own_figures(connection)
    records = await psp.list_records() if psp is not None else None
    async with transaction(pool, isolation="repeatable_read") as connection:
        report = await audit_ledger(connection, now=clock.now())
        findings = await _against_itself(connection, report)
        checks = [_ledger_check(report), _gateway_check(findings)]
        open_work = await system_audit_repository.open_work(connection)
        after = await _own_figures(connection)
        unbooked = await unbooked_charge_repository.sum_by_currency(connection)
        differences = await list_psp_differences(connection, limit=SHOWN)
        retention = await retention_service.find_latest_run(connection)
        acts = await verify_acts(connection)
    findings += act_findings(acts)
    checks.append(act_check(acts))
    if records is None:
        checks.append(without_record(expected=psp_expected))
    elif isinstance(records, PspOutcomeUnknown):
        checks.append(psp_not_compared(records.reason))
    else:
        compared = compare_with_psp(records, before=before, after=after)
        checks += psp_checks(compared, after)
        findings += psp_findings(compared, differences=differences, unbooked=unbooked)
    return SystemAudit(
        clearing=report, findings=findings, checks=checks, open_work=open_work, retention=retention
    )


async def _against_itself(connection: Connection, report: AuditReport) -> list[AuditFinding]:
    found = session_findings(await system_audit_repository.find_failed_checks(connection))
    differing = await system_audit_repository.find_account_differences(connection)
    found += [account_finding(one) for one in differing]
    return found + await _against_ledger(connection, report)


async def _against_ledger(connection: Connection, report: AuditReport) -> list[AuditFinding]:
    """Every captured and cleared minor unit is in the ledger, per currency."""
    ledger = {line.currency: line.captured_minor for line in report.proof}
    gateway = await system_audit_repository.sum_cleared(connection)
    return [
        AuditFinding(
            check="captures_equal_postings",
            subject=currency,
            detail=f"captured {gateway.get(currency, 0)}, posted {ledger.get(currency, 0)} minor units",
        )
        for currency in sorted({*ledger, *gateway})
        if gateway.get(currency, 0) != ledger.get(currency, 0)
    ]


_FAILED: Final = frozenset({AuditResult.DIFFERS, AuditResult.NOT_COMPARED})


async def record_audit(
    pool: Pool, audited: SystemAudit, *, clock: Clock, began_at: datetime | None = None, daily: bool = False
) -> None:
    """Keep what was compared and what it came to, for status, metrics and people.

    Not if it agrees and left the PSP out by choice, which proves little.
    """
    left_out = any(
        check.name == PSP_RECORD and check.result is AuditResult.LEFT_OUT for check in audited.checks
    )
    if audited.ok and left_out:
        return
    names = {finding.check for finding in audited.all_findings}
    names |= {one.name for one in audited.checks if one.result in _FAILED}
    run = AuditRun(
        began_at=began_at,
        finished_at=clock.wall_now(),
        result=audited.result.value,
        checks=sorted(names),
        daily=daily,
        compared=[asdict(check) for check in audited.checks],
    )
    async with transaction(pool) as connection:
        await record_run(connection, run)


async def _own_figures(connection: Connection) -> dict[str, OwnFigures]:
    return await own_figures(
        connection,
        converted=await ledger_service.sum_psp_conversions(connection),
        under_way=await system_audit_repository.sum_under_way(connection),
        totals=await system_audit_repository.sum_psp_records(connection),
    )


def _ledger_check(report: AuditReport) -> AuditCheck:
    return AuditCheck(
        name="ledger",
        subject="all",
        result=agrees_unless(not report.ok),
        compared=f"{len(report.checks)} checks over {report.batches} batches, {len(report.proof)} currencies",
    )


def _gateway_check(findings: Sequence[AuditFinding]) -> AuditCheck:
    return AuditCheck(
        name="sessions",
        subject="all",
        result=agrees_unless(findings),
        compared="sessions, authorizations, captures and funded accounts with each other and the ledger",
    )
