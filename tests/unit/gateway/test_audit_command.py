"""The proof on a narrow terminal: each figure whole, each currency a column of its own."""

from datetime import UTC, datetime
from io import StringIO

from rich.console import Console

from clearing.audit import AuditReport, ProofLine
from gateway.audit import SystemAudit
from gateway.audit_repository import OpenWork
from gateway.cli.audit import show


def proof(currency: str) -> ProofLine:
    return ProofLine(
        currency=currency,
        captured_minor=123_456_789_01,
        received_minor=0,
        input_vat_minor=-60,
        output_vat_minor=2_02,
        platform_minor=36,
        paid_minor=0,
        open_minor=6_73,
        fx_sold_minor=67,
        fx_bought_minor=62,
        other_minor=0,
        difference_minor=1,
    )


def test_no_figure_of_the_proof_is_cut_off_on_eighty_columns() -> None:
    report = AuditReport(
        proof=[proof(currency) for currency in ("CHF", "EUR", "GBP")],
        findings=[],
        checks={},
        batches=1,
        audited_at=datetime(2026, 11, 22, tzinfo=UTC),
    )
    idle = OpenWork(open_requests=0, open_tasks=0, exception_tasks=0, uncleared_sessions=0)
    printed = StringIO()
    show(
        SystemAudit(clearing=report, findings=[], checks=[], open_work=idle),
        Console(file=printed, width=80),
    )
    text = printed.getvalue()
    assert "…" not in text
    assert text.count("123456789.01") == 3
    for word in ("captured", "received", "input VAT", "platform", "difference", "GBP", "-0.60", "0.01"):
        assert word in text
