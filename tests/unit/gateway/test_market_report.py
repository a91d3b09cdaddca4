"""What the demo prints: every table, and a verdict that can't be overlooked."""

from dataclasses import replace
from datetime import date

import pytest
from rich.console import Console

from sandbox.market.payout_phase import DayResult, Exchange, PayoutLine
from sandbox.market.proof import BookLine, Evidence, prove
from sandbox.market.report import money, show

EVIDENCE = Evidence(
    expected={"EUR": 1000},
    captured={"EUR": 1000},
    owed={},
    captured_at_psp={"EUR": 1000},
    expected_sessions=1,
    captured_sessions=1,
    captures_twice=0,
    unplanned_outcomes=(),
    books=(
        BookLine(
            currency="EUR",
            captured=1000,
            vat=160,
            platform=40,
            paid=800,
            open=0,
            fx_sold=0,
            fx_bought=0,
            difference=0,
        ),
    ),
    findings=(),
    paid={"EUR": 800},
    forecast={"DE-RHN 2026-11-02 EUR": 800},
    paid_by_date={"DE-RHN 2026-11-02 EUR": 800},
    overdue=0,
    psp_captured={"EUR": 1000},
    psp_fees={"EUR": 40},
    fees={"EUR": 40},
    psp_transferred={"EUR": 800},
    events={"superapp": (3, 3)},
    rejected_webhooks=0,
    figures={},
)
RESULT = DayResult(
    outcomes={("card", "captured"): 1, ("app", "released"): 2, ("plug_and_charge", "rejected"): 1},
    captures={"EUR": (1, 1000, 40)},
    vat={("DE", "EUR"): 160},
    shares={("DE-RHN", "EUR"): 800, ("platform", "EUR"): 40},
    exchanges=[Exchange(base="EUR", quote="CHF", sold=123456, bought=114000)],
    calendar=[
        PayoutLine(
            due=date(2026, 11, 2), party="DE-RHN", currency="EUR", amount=800, sessions=1, state="paid"
        )
    ],
    explained_title="ses_1 at Rheinufer",
    explained=["Energy: 18.5 kWh x 0.39 EUR/kWh = 7.215 EUR", "Total: 9.18 EUR [all of it]"],
    evidence=EVIDENCE,
)


def printed(result: DayResult, *, width: int) -> str:
    console = Console(width=width, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as capture:
        show(console, result, prove(result.evidence))
    return capture.get()


@pytest.mark.parametrize("width", [60, 80, 160])
def test_every_table_fits_any_terminal(width: int) -> None:
    text = printed(RESULT, width=width)
    assert all(len(line) <= width for line in text.splitlines())
    for part in ("Sessions", "Captured, once each", "VAT", "Exchange", "Shares", "Disbursement", "Webhooks"):
        assert part in text
    assert "1,234.56 EUR" in text
    assert "[all of it]" in text.replace("\n", " ")


def test_the_verdict_is_plain() -> None:
    assert "The proof holds" in printed(RESULT, width=100)
    wrong = replace(RESULT, evidence=replace(EVIDENCE, paid={"EUR": 799}))
    text = printed(wrong, width=100)
    assert "The proof FAILS" in text
    assert "The proof holds" not in text
    assert "EUR 7.99 against EUR 8.00" in text


def test_amounts_have_their_currency_s_own_decimals() -> None:
    assert money(1234567, "EUR") == "12,345.67"
    assert money(-5, "CHF") == "-0.05"
    assert money(1234, "ISK") == "1,234"
