"""The proof over the whole system: captures, ledger, funded accounts and the PSP's own record.

Owns: the comparison of packages with each other and with the PSP, and what a finding says. Must not know how
anything came about: it reads what is stored and what the PSP lists, and changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from clearing.audit import AuditFinding, AuditReport, audit_ledger
from clearing.ledger import service as ledger_service
from clearing.ledger.journal_entry import PSP_RECEIVABLE
from clearing.reporting.disbursements import sum_transfers_under_way
from clearing.reporting.open_items import list_psp_differences
from gateway.acts.service import ActVerification, verify_acts
from gateway.audit import system_audit_repository
from gateway.audit.psp_comparison import OwnFigures, PspComparison, UnderWay, compare_with_psp
from gateway.audit.system_audit_repository import AccountDifference, OpenWork
from gateway.audit_run_repository import AuditRun, record_run
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id
from gateway.payments import unbooked_charge_repository
from gateway.payments.psp.failures import PspOutcomeUnknown
from gateway.payments.psp.port import Psp
from gateway.payments.unbooked_charge_repository import UnbookedTotals
from gateway.personal_data import retention_service
from gateway.personal_data.retention_repository import RetentionRun

PSP_RECORD: Final = "psp_record"
_SHOWN: Final = 100  # findings of one kind that are listed
DETAILS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "captured_is_price": "captured and receivable are not the session's price",
        "capture_matches_authorization": "capture and authorization disagree on whether money was captured",
        "authorization_has_capture": "captured, but no capture is recorded",
        "capture_is_cleared": "captured, but never sent to clearing",
        "price_is_captured": "completed at a price that nothing left will capture",
    }
)


class AuditResult(StrEnum):
    """What an audit, or one of its checks, came to."""

    AGREES = "agrees"
    DIFFERS = "differs"
    NOT_COMPARED = "not_compared"  # it should have been and could not
    LEFT_OUT = "left_out"  # by the choice of who asked


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """One check: what was compared, and what was left out and why. Amounts in the texts are minor units."""

    name: str
    subject: str
    result: AuditResult
    compared: str
    left_out: str = ""


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
        differences = await list_psp_differences(connection, limit=_SHOWN)
        retention = await retention_service.find_latest_run(connection)
        acts = await verify_acts(connection)
    findings += act_findings(acts)
    checks.append(act_check(acts))
    if records is None:
        checks.append(psp_not_compared("no key of the PSP is set") if psp_expected else psp_left_out())
    elif isinstance(records, PspOutcomeUnknown):
        checks.append(psp_not_compared(records.reason))
    else:
        compared = compare_with_psp(records, before=before, after=after)
        checks += [_psp_check(one, after.get(one.currency, OwnFigures())) for one in compared]
        findings += [
            AuditFinding(
                check=one.check,
                subject=one.currency,
                detail=one.detail + named_lines(differences.get(one.currency, ())),
            )
            for one in compared
            if not one.agrees
        ]
        findings += [in_no_book(one) for one in unbooked if one.waiting]
    return SystemAudit(
        clearing=report, findings=findings, checks=checks, open_work=open_work, retention=retention
    )


async def _against_itself(connection: Connection, report: AuditReport) -> list[AuditFinding]:
    found = [
        AuditFinding(check=check, subject=format_id("ses", session_id), detail=DETAILS[check])
        for check, sessions in (await system_audit_repository.find_failed_checks(connection)).items()
        for session_id in sessions[:_SHOWN]
    ]
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
    """Ours by currency, of one instant if the caller's transaction is repeatable read."""
    totals = await system_audit_repository.sum_psp_records(connection)
    accounts = {
        one.currency: one for one in await ledger_service.list_balances(connection, prefix=PSP_RECEIVABLE)
    }
    converted = await ledger_service.sum_psp_conversions(connection)
    unbooked = {one.currency: one for one in await unbooked_charge_repository.sum_by_currency(connection)}
    under_way = await system_audit_repository.sum_under_way(connection)
    transfers = await sum_transfers_under_way(connection)
    found = {}
    for currency in sorted({*totals, *accounts, *converted, *unbooked, *under_way, *transfers}):
        captured, refunded = totals.get(currency, (0, 0))
        account, waiting = accounts.get(currency), unbooked.get(currency)
        found[currency] = OwnFigures(
            captured=captured + (waiting.captured if waiting else 0),
            refunded=refunded + (waiting.refunded if waiting else 0),
            debit=account.debit_minor if account else 0,
            credit=account.credit_minor if account else 0,
            converted=converted.get(currency, 0),
            unposted=waiting.unposted - waiting.fee if waiting else 0,
            under_way=replace(under_way.get(currency, UnderWay()), transfers=transfers.get(currency, 0)),
        )
    return found


def _ledger_check(report: AuditReport) -> AuditCheck:
    return AuditCheck(
        name="ledger",
        subject="all",
        result=AuditResult.AGREES if report.ok else AuditResult.DIFFERS,
        compared=f"{len(report.checks)} checks over {report.batches} batches, {len(report.proof)} currencies",
    )


def _gateway_check(findings: Sequence[AuditFinding]) -> AuditCheck:
    return AuditCheck(
        name="sessions",
        subject="all",
        result=AuditResult.DIFFERS if findings else AuditResult.AGREES,
        compared="sessions, authorizations, captures and funded accounts with each other and the ledger",
    )


def account_finding(one: AccountDifference) -> AuditFinding:
    """A funded account that is not what its movements make it."""
    detail = (
        f"balance {one.balance_minor}, expected {one.balance_due}; "
        f"held {one.held_minor}, expected {one.held_due}"
    )
    return AuditFinding(check="funded_account", subject=f"{one.party_id} {one.currency}", detail=detail)


def act_check(acts: ActVerification) -> AuditCheck:
    """What the hash chain of the administrative acts came to."""
    left_out = ""
    if acts.unsealed and acts.unsealed_since is not None:
        left_out = f"{acts.unsealed} acts not sealed yet, since {acts.unsealed_since:%Y-%m-%d %H:%M} UTC"
    return AuditCheck(
        name="administrative_acts",
        subject="all",
        result=AuditResult.DIFFERS if acts.broken else AuditResult.AGREES,
        compared=f"{acts.sealed} administrative acts with their hash chain",
        left_out=left_out,
    )


def act_findings(acts: ActVerification) -> list[AuditFinding]:
    """Each administrative act that is not what was sealed."""
    return [
        AuditFinding(
            check="administrative_acts",
            subject=f"act_{act_id}",
            detail="the act was changed or removed after it was sealed",
        )
        for act_id in acts.broken
    ]


def psp_not_compared(reason: str) -> AuditCheck:
    """The PSP's record should have been compared, and could not be."""
    return AuditCheck(
        name=PSP_RECORD,
        subject="all",
        result=AuditResult.NOT_COMPARED,
        compared="nothing",
        left_out=f"captures, refunds, conversions and balance at the PSP: {reason}",
    )


def psp_left_out() -> AuditCheck:
    """The PSP's record was left out by the choice of who asked."""
    return AuditCheck(
        name=PSP_RECORD,
        subject="all",
        result=AuditResult.LEFT_OUT,
        compared="nothing",
        left_out="captures, refunds, conversions and balance at the PSP: as asked",
    )


def _psp_check(one: PspComparison, ours: OwnFigures) -> AuditCheck:
    return AuditCheck(
        name=one.check,
        subject=one.currency,
        result=AuditResult.AGREES if one.agrees else AuditResult.DIFFERS,
        compared=one.detail,
        left_out="" if one.low == one.high else "; ".join(ours.under_way.named(one.currency)),
    )


def named_lines(references: Sequence[str]) -> str:
    """The lines that the hourly comparison found to differ."""
    return f"; differing lines: {', '.join(references)}" if references else ""


def in_no_book(waiting: UnbookedTotals) -> AuditFinding:
    """Charges that the PSP has and no book of ours."""
    detail = (
        f"{waiting.waiting} charges at the PSP are in no book ({waiting.unposted} minor units): "
        "see networkcore exceptions list --kind unbooked_charge"
    )
    return AuditFinding(check="unbooked_charges", subject=waiting.currency, detail=detail)
