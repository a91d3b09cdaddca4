"""The proof over the whole house: captures, ledger, funded accounts and the PSP's own record.

Owns: the questions that cross rooms, and what a finding says. Must not know how anything came about: it reads
what is stored and asks the PSP, and changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from clearing.results import AuditReport, Finding
from clearing.service import ClearingService
from gateway.clock import Clock
from gateway.database import Connection, Pool, named_queries, transaction
from gateway.ids import format_id
from gateway.payments.psp import OutcomeUnknown, Psp, PspRecord

_audit = named_queries("gateway", "audit.sql")
_RECEIVABLE: Final = "psp:stripe:receivable"
_SHOWN: Final = 100  # findings of one kind that are listed; the count is of all


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """Work under way; the proof holds with and without it, the PSP's balance is compared only without."""

    open_calls: int
    open_tasks: int
    parked_tasks: int
    parked_sessions: int

    @property
    def quiet(self) -> bool:
        """Whether nothing is in the air."""
        return self.open_calls == 0 and self.open_tasks == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseAudit:
    """The whole proof: clearing's own report, what crosses rooms, and what the PSP says (None: not asked)."""

    clearing: AuditReport
    findings: Sequence[Finding]
    psp: Sequence[PspRecord] | None
    unfinished: Unfinished

    @property
    def ok(self) -> bool:
        """Whether every figure agrees."""
        return self.clearing.ok and not self.findings

    @property
    def all_findings(self) -> Sequence[Finding]:
        """Everything that is off, clearing's first."""
        return [*self.clearing.findings, *self.findings]


async def audit_house(pool: Pool, *, clearing: ClearingService, clock: Clock, psp: Psp | None) -> HouseAudit:
    """Recompute the proof from one snapshot of the database, then compare it with the PSP's record.

    `psp` None leaves the PSP out.
    """
    records = await psp.records() if psp is not None else None
    async with transaction(pool, isolation="repeatable_read") as connection:
        report = await clearing.audit(connection, now=clock.now())
        findings = await _across_rooms(connection, report)
        row = await anext(aiter(_audit.unfinished(connection)))
        unfinished = Unfinished(**dict(row))
        if isinstance(records, OutcomeUnknown):
            findings.append(Finding(check="psp_record", subject="psp", detail=records.reason))
        elif records is not None:
            findings += await _against_psp(connection, clearing, records, unfinished)
    return HouseAudit(
        clearing=report,
        findings=findings,
        psp=None if records is None or isinstance(records, OutcomeUnknown) else records,
        unfinished=unfinished,
    )


async def _across_rooms(connection: Connection, report: AuditReport) -> list[Finding]:
    found: list[Finding] = []
    questions: Mapping[str, tuple[Any, str]] = {
        "captured_is_price": (_audit.capture_above_price, "captured and owed are not the session's price"),
        "capture_matches_authorization": (
            _audit.capture_without_authorization,
            "capture and authorization disagree on whether money was taken",
        ),
        "authorization_has_capture": (
            _audit.captured_without_capture,
            "captured, but no capture is recorded",
        ),
        "capture_not_forgotten": (_audit.capture_forgotten, "captured, but never sent to clearing"),
        "price_not_forgotten": (_audit.price_forgotten, "completed at a price that nothing left will take"),
    }
    for check, (question, detail) in questions.items():
        rows = [row async for row in question(connection)]
        found += [
            Finding(check=check, subject=format_id("ses", row["session_id"]), detail=detail)
            for row in rows[:_SHOWN]
        ]
    async for row in _audit.account_off(connection):
        detail = (
            f"balance {row['balance_minor']}, expected {row['balance_due']}; "
            f"held {row['held_minor']}, expected {row['held_due']}"
        )
        subject = f"{row['party_id']} {row['currency']}"
        found.append(Finding(check="funded_account", subject=subject, detail=detail))
    return found + await _against_ledger(connection, report)


async def _against_ledger(connection: Connection, report: AuditReport) -> list[Finding]:
    """Every captured and cleared minor unit is in the ledger, per currency."""
    ledger = {line.currency: line.captured_minor for line in report.proof}
    gateway = {row["currency"]: row["minor"] async for row in _audit.cleared_totals(connection)}
    return [
        Finding(
            check="captures_equal_postings",
            subject=currency,
            detail=f"captured {gateway.get(currency, 0)}, posted {ledger.get(currency, 0)} minor units",
        )
        for currency in sorted({*ledger, *gateway})
        if gateway.get(currency, 0) != ledger.get(currency, 0)
    ]


async def _against_psp(
    connection: Connection, clearing: ClearingService, records: Sequence[PspRecord], unfinished: Unfinished
) -> list[Finding]:
    """The PSP captured what we captured; with nothing in the air, its balance is our receivable."""
    if not unfinished.quiet:
        return []
    theirs = {record.currency: record for record in records}
    ours = {row["currency"]: (row["minor"], row["refunded"]) async for row in _audit.psp_totals(connection)}
    balances = {
        balance.currency: -balance.minor
        for balance in await clearing.balances(connection, prefix=_RECEIVABLE)
    }
    found = []
    for currency in sorted({*theirs, *ours, *balances}):
        record = theirs.get(currency, PspRecord(currency=currency))
        captured, refunded = ours.get(currency, (0, 0))
        if record.captured_minor != captured:
            detail = f"the PSP captured {record.captured_minor}, we captured {captured} minor units"
            found.append(Finding(check="psp_captured", subject=currency, detail=detail))
        if record.refunded_minor != refunded:
            detail = f"the PSP refunded {record.refunded_minor}, we refunded {refunded} minor units"
            found.append(Finding(check="psp_refunded", subject=currency, detail=detail))
        balance = psp_balance_minor(record)
        if balance != balances.get(currency, 0):
            detail = f"the PSP holds {balance}, our ledger says {balances.get(currency, 0)} minor units"
            found.append(Finding(check="psp_balance", subject=currency, detail=detail))
    return found


def psp_balance_minor(record: PspRecord) -> int:
    """What the PSP should hold after its own movements."""
    incoming = record.captured_minor + record.topped_up_minor + record.other_minor
    return incoming - record.refunded_minor - record.fee_minor - record.transferred_minor
