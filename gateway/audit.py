"""The proof over the whole system: captures, ledger, funded accounts and the PSP's own record.

Owns: the comparison of packages with each other and with the PSP, and what a finding says. Must not know how
anything came about: it reads what is stored and what the PSP lists, and changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from clearing.audit import AuditFinding, AuditReport, audit_ledger
from clearing.ledger import service as ledger_service
from clearing.ledger.journal_entry import PSP_RECEIVABLE
from gateway import audit_repository
from gateway.audit_repository import OpenWork
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id
from gateway.payments import unbooked_charge_repository
from gateway.payments.psp.port import Psp, PspOutcomeUnknown, PspTotals
from gateway.payments.unbooked_charge_repository import UnbookedTotals

_SHOWN: Final = 100  # findings of one kind that are listed
_DETAILS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "captured_is_price": "captured and receivable are not the session's price",
        "capture_matches_authorization": "capture and authorization disagree on whether money was captured",
        "authorization_has_capture": "captured, but no capture is recorded",
        "capture_is_cleared": "captured, but never sent to clearing",
        "price_is_captured": "completed at a price that nothing left will capture",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemAudit:
    """The proof: clearing's own report, what crosses packages, and what the PSP lists (None: left out)."""

    clearing: AuditReport
    findings: Sequence[AuditFinding]
    psp: Sequence[PspTotals] | None
    open_work: OpenWork

    @property
    def ok(self) -> bool:
        """Whether every figure agrees."""
        return self.clearing.ok and not self.findings

    @property
    def all_findings(self) -> Sequence[AuditFinding]:
        """Every finding, clearing's first."""
        return [*self.clearing.findings, *self.findings]


async def audit_system(pool: Pool, *, clock: Clock, psp: Psp | None) -> SystemAudit:
    """Recompute the proof from one snapshot of the database, then compare it with the PSP's record.

    `psp` None leaves the PSP out.
    """
    records = await psp.list_records() if psp is not None else None
    async with transaction(pool, isolation="repeatable_read") as connection:
        report = await audit_ledger(connection, now=clock.now())
        findings = await _against_itself(connection, report)
        open_work = await audit_repository.open_work(connection)
        if isinstance(records, PspOutcomeUnknown):
            findings.append(AuditFinding(check="psp_record", subject="psp", detail=records.reason))
        elif records is not None:
            findings += await _against_psp(connection, records, open_work)
    return SystemAudit(
        clearing=report,
        findings=findings,
        psp=None if records is None or isinstance(records, PspOutcomeUnknown) else records,
        open_work=open_work,
    )


async def _against_itself(connection: Connection, report: AuditReport) -> list[AuditFinding]:
    found = [
        AuditFinding(check=check, subject=format_id("ses", session_id), detail=_DETAILS[check])
        for check, sessions in (await audit_repository.find_failed_checks(connection)).items()
        for session_id in sessions[:_SHOWN]
    ]
    for one in await audit_repository.find_account_differences(connection):
        detail = (
            f"balance {one.balance_minor}, expected {one.balance_due}; "
            f"held {one.held_minor}, expected {one.held_due}"
        )
        subject = f"{one.party_id} {one.currency}"
        found.append(AuditFinding(check="funded_account", subject=subject, detail=detail))
    return found + await _against_ledger(connection, report)


async def _against_ledger(connection: Connection, report: AuditReport) -> list[AuditFinding]:
    """Every captured and cleared minor unit is in the ledger, per currency."""
    ledger = {line.currency: line.captured_minor for line in report.proof}
    gateway = await audit_repository.sum_cleared(connection)
    return [
        AuditFinding(
            check="captures_equal_postings",
            subject=currency,
            detail=f"captured {gateway.get(currency, 0)}, posted {ledger.get(currency, 0)} minor units",
        )
        for currency in sorted({*ledger, *gateway})
        if gateway.get(currency, 0) != ledger.get(currency, 0)
    ]


async def _against_psp(
    connection: Connection, records: Sequence[PspTotals], open_work: OpenWork
) -> list[AuditFinding]:
    """The PSP captured what we captured; with nothing under way, its balance is our receivable.

    Captures are compared in the currency of their charge. What the PSP converted and the books don't have yet
    is a finding of its own, so it is left out of the comparison of balances.
    """
    if not open_work.is_idle:
        return []
    theirs = {record.currency: record for record in records}
    ours = await audit_repository.sum_psp_records(connection)
    balances = {
        balance.currency: -balance.minor
        for balance in await ledger_service.list_balances(connection, prefix=PSP_RECEIVABLE)
    }
    converted = await ledger_service.sum_psp_conversions(connection)
    in_no_book = {one.currency: one for one in await unbooked_charge_repository.sum_by_currency(connection)}
    found = []
    for currency in sorted({*theirs, *ours, *balances, *converted, *in_no_book}):
        record = theirs.get(currency, PspTotals(currency=currency))
        captured, refunded = ours.get(currency, (0, 0))
        unposted = 0
        waiting = in_no_book.get(currency)
        if waiting is not None:
            captured, refunded = captured + waiting.captured, refunded + waiting.refunded
            unposted = waiting.unposted - waiting.fee
            if waiting.waiting:
                found.append(_in_no_book(waiting))
        if record.captured_minor != captured:
            detail = f"the PSP captured {record.captured_minor}, we captured {captured} minor units"
            found.append(AuditFinding(check="psp_captured", subject=currency, detail=detail))
        if record.refunded_minor != refunded:
            detail = f"the PSP refunded {record.refunded_minor}, we refunded {refunded} minor units"
            found.append(AuditFinding(check="psp_refunded", subject=currency, detail=detail))
        unbooked = record.converted_minor - converted.get(currency, 0)
        if unbooked:
            detail = (
                f"the PSP converted {record.converted_minor}, our ledger has {converted.get(currency, 0)} "
                "minor units; the worker's reconciliation books what is new every hour"
            )
            found.append(AuditFinding(check="psp_converted", subject=currency, detail=detail))
        balance = psp_balance_minor(record) - unbooked - unposted
        if balance != balances.get(currency, 0):
            detail = f"the PSP has {balance}, our ledger says {balances.get(currency, 0)} minor units"
            found.append(AuditFinding(check="psp_balance", subject=currency, detail=detail))
    return found


def _in_no_book(waiting: UnbookedTotals) -> AuditFinding:
    detail = (
        f"{waiting.waiting} charges at the PSP are in no book ({waiting.unposted} minor units): "
        "see networkcore exceptions list --kind unbooked_charge"
    )
    return AuditFinding(check="unbooked_charges", subject=waiting.currency, detail=detail)


def psp_balance_minor(record: PspTotals) -> int:
    """What the PSP should hold after its own movements."""
    incoming = record.captured_minor + record.topped_up_minor + record.other_minor + record.converted_minor
    return incoming - record.refunded_minor - record.fee_minor - record.transferred_minor
