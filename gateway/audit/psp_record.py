"""The PSP's record in an audit: our figures beside it, and what the comparison says.

Owns: which of our figures are read for it, the texts of its checks and findings. Must not know: how much
of the books an audit proves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from clearing.audit import AuditFinding
from clearing.ledger import service as ledger_service
from clearing.ledger.journal_entry import PSP_RECEIVABLE
from clearing.reporting.disbursements import sum_transfers_under_way
from gateway.audit.checks import AuditCheck, AuditResult, agrees_unless
from gateway.audit.psp_comparison import OwnFigures, PspComparison, UnderWay
from gateway.database import Connection
from gateway.payments import unbooked_charge_repository
from gateway.payments.unbooked_charge_repository import UnbookedTotals

PSP_RECORD: Final = "psp_record"


async def own_figures(
    connection: Connection,
    *,
    converted: Mapping[str, int],
    under_way: Mapping[str, UnderWay],
    totals: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, OwnFigures]:
    """Ours by currency, of one instant if the caller's transaction is repeatable read.

    `converted` is what the books have of the PSP's conversions, `totals` what was captured and refunded: None
    where these are not compared. All in minor units, by currency.
    """
    accounts = {
        one.currency: one for one in await ledger_service.list_balances(connection, prefix=PSP_RECEIVABLE)
    }
    unbooked = {one.currency: one for one in await unbooked_charge_repository.sum_by_currency(connection)}
    transfers = await sum_transfers_under_way(connection)
    found: dict[str, OwnFigures] = {}
    for currency in sorted({*(totals or ()), *accounts, *converted, *unbooked, *under_way, *transfers}):
        account, waiting = accounts.get(currency), unbooked.get(currency)
        captured, refunded = (totals or {}).get(currency, (0, 0))
        if totals is not None and waiting is not None:
            captured, refunded = captured + waiting.captured, refunded + waiting.refunded
        found[currency] = OwnFigures(
            captured=captured,
            refunded=refunded,
            debit=account.debit_minor if account else 0,
            credit=account.credit_minor if account else 0,
            converted=converted.get(currency, 0),
            unposted=waiting.unposted - waiting.fee if waiting else 0,
            under_way=replace(under_way.get(currency, UnderWay()), transfers=transfers.get(currency, 0)),
        )
    return found


def psp_checks(compared: Sequence[PspComparison], after: Mapping[str, OwnFigures]) -> list[AuditCheck]:
    """A check of each figure; work that was under way afterwards is named where it gave the figure bounds."""
    return [
        AuditCheck(
            name=one.check,
            subject=one.currency,
            result=agrees_unless(not one.agrees),
            compared=one.detail,
            left_out=""
            if one.low == one.high
            else "; ".join(after.get(one.currency, OwnFigures()).under_way.named(one.currency)),
        )
        for one in compared
    ]


def psp_findings(
    compared: Sequence[PspComparison],
    *,
    differences: Mapping[str, Sequence[str]],
    unbooked: Sequence[UnbookedTotals],
) -> list[AuditFinding]:
    """Each figure that differs with its lines in `differences`, by currency; then charges in no book."""
    differing = [
        AuditFinding(
            check=one.check,
            subject=one.currency,
            detail=one.detail + _named_lines(differences.get(one.currency, ())),
        )
        for one in compared
        if not one.agrees
    ]
    return [*differing, *(_in_no_book(one) for one in unbooked if one.waiting)]


def without_record(*, expected: bool) -> AuditCheck:
    """No PSP was asked: its record should have been compared, or was left out by the choice of who asked."""
    return psp_not_compared("no key of the PSP is set") if expected else psp_left_out()


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


def _named_lines(references: Sequence[str]) -> str:
    """The lines that the hourly comparison found to differ."""
    return f"; differing lines: {', '.join(references)}" if references else ""


def _in_no_book(waiting: UnbookedTotals) -> AuditFinding:
    """Charges that the PSP has and no book of ours."""
    detail = (
        f"{waiting.waiting} charges at the PSP are in no book ({waiting.unposted} minor units): "
        "see networkcore exceptions list --kind unbooked_charge"
    )
    return AuditFinding(check="unbooked_charges", subject=waiting.currency, detail=detail)
