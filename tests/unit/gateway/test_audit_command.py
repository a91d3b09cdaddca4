"""The proof on a narrow terminal: each figure whole, each currency a column of its own."""

import re
from datetime import UTC, datetime
from io import StringIO

import pytest
from click.testing import CliRunner
from rich.console import Console

from clearing.audit import AuditReport, ProofLine
from clearing.daily_audit.checkpoint import seal
from gateway.audit.daily_audit import DailyAudit
from gateway.audit.psp_record import psp_left_out
from gateway.audit.system_audit import SystemAudit
from gateway.audit.system_audit_repository import OpenWork
from gateway.cli.audit import command, show


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


def daily(*, rests_on: bool, sealed: bool, left_out: bool) -> str:
    """What the command prints of a daily run."""
    night = datetime(2026, 11, 22, 3, tzinfo=UTC)
    first = seal("{}", sequence=16, sealed_at=night, shares=64, previous_hash=bytes(32))
    report = AuditReport(proof=[], findings=[], checks={}, batches=1, audited_at=night)
    idle = OpenWork(open_requests=0, open_tasks=0, exception_tasks=0, uncleared_sessions=0)
    checks = [psp_left_out()] if left_out else []
    audit = SystemAudit(clearing=report, findings=[], checks=checks, open_work=idle)
    printed = StringIO()
    show(
        audit,
        Console(file=printed, width=200),
        daily=DailyAudit(
            audit=audit,
            checkpoint=first if sealed else None,
            rests_on=first if rests_on else None,
        ),
    )
    return printed.getvalue()


def test_a_daily_run_never_says_that_every_figure_agrees() -> None:
    for rests_on in (True, False):
        for left_out in (True, False):
            text = daily(rests_on=rests_on, sealed=True, left_out=left_out)
            assert "every figure agrees" not in text
            assert ("without the PSP's record" in text) == left_out
            assert ("the rest as the checkpoint says" in text) == rests_on


def test_a_daily_run_prints_its_checkpoint_as_the_option_takes_it() -> None:
    line = next(
        one
        for one in daily(rests_on=True, sealed=True, left_out=False).splitlines()
        if one.startswith("checkpoint ")
    )
    assert re.fullmatch(r"checkpoint 16:[0-9a-f]{64}", line)
    assert "no checkpoint was sealed" in daily(rests_on=True, sealed=False, left_out=False)


@pytest.mark.parametrize("text", ["16", "16:abc", "x:" + 64 * "0", "16:" + 65 * "0"])
def test_a_malformed_checkpoint_is_rejected_in_one_line(text: str) -> None:
    result = CliRunner().invoke(command, ["--daily", "--checkpoint", text])
    assert result.exit_code == 2
    assert "is not NUMBER:HASH, the hash in 64 hex digits" in result.output
