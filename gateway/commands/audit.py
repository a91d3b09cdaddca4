"""`networkcore audit`: recomputes the proof from the database and compares it with the PSP's record."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from clearing.money import to_major
from clearing.results import ProofLine
from clearing.service import ClearingService
from gateway.audit import HouseAudit, audit_house
from gateway.clock import SystemClock
from gateway.config import load_database_url
from gateway.database import create_pool
from gateway.payments.stripe_psp import StripePsp

_FAILED: Final = 1
_PSP_KEY: Final = "NETWORKCORE_PSP_API_KEY"
_PSP_URL: Final = "NETWORKCORE_PSP_BASE_URL"
# A term of the proof, its figure, and whether it closes its side of the equation.
_TERMS: Final[tuple[tuple[str, Callable[[ProofLine], int], bool], ...]] = (
    ("captured", lambda line: line.captured_minor, False),
    ("+ received", lambda line: line.received_minor, False),
    ("+ input VAT", lambda line: line.input_vat_minor, False),
    ("+ FX bought", lambda line: line.fx_bought_minor, True),
    ("= VAT", lambda line: line.output_vat_minor, False),
    ("+ platform", lambda line: line.platform_minor, False),
    ("+ paid", lambda line: line.paid_minor, False),
    ("+ open", lambda line: line.open_minor, False),
    ("+ FX sold", lambda line: line.fx_sold_minor, False),
    ("+ other", lambda line: line.other_minor, True),
    ("difference", lambda line: line.difference_minor, False),
)


@click.command(name="audit")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@click.option("--without-psp", is_flag=True, help="Leave the PSP's own record out.")
def command(*, as_json: bool, without_psp: bool) -> None:
    """Recompute the proof from DATABASE_URL; exit status 1 and the offending ids if anything is off.

    With NETWORKCORE_PSP_API_KEY set (and NETWORKCORE_PSP_BASE_URL for a sandbox) the PSP's own balance
    movements are compared too.
    """
    dsn = load_database_url(os.environ)
    result = asyncio.run(_run(dsn, None if without_psp else os.environ.get(_PSP_KEY)))
    if as_json:
        click.echo(json.dumps(audit_json(result)))
    else:
        show(result, Console())
    if not result.ok:
        sys.exit(_FAILED)


async def _run(dsn: str, psp_key: str | None) -> HouseAudit:
    psp = None
    if psp_key:
        psp = StripePsp(api_key=psp_key, webhook_secret="", base_url=os.environ.get(_PSP_URL))
    pool = await create_pool(dsn, min_size=1, max_size=2, application="audit", statement_timeout_ms=3_600_000)
    try:
        return await audit_house(pool, clearing=ClearingService(), clock=SystemClock(), psp=psp)
    finally:
        await pool.close()
        if psp is not None:
            await psp.close()


def audit_json(result: HouseAudit) -> dict[str, Any]:
    """The proof as JSON-ready values; amounts are minor units."""
    return {
        "ok": result.ok,
        "proof": [
            {
                "currency": line.currency,
                "captured": line.captured_minor,
                "received": line.received_minor,
                "input_vat": line.input_vat_minor,
                "fx_bought": line.fx_bought_minor,
                "output_vat": line.output_vat_minor,
                "platform": line.platform_minor,
                "paid": line.paid_minor,
                "open": line.open_minor,
                "fx_sold": line.fx_sold_minor,
                "other": line.other_minor,
                "difference": line.difference_minor,
            }
            for line in result.clearing.proof
        ],
        "psp": None if result.psp is None else [record.currency for record in result.psp],
        "unfinished": {
            "open_calls": result.unfinished.open_calls,
            "open_tasks": result.unfinished.open_tasks,
            "parked_tasks": result.unfinished.parked_tasks,
            "parked_sessions": result.unfinished.parked_sessions,
        },
        "checks": dict(result.clearing.checks),
        "findings": [
            {"check": finding.check, "subject": finding.subject, "detail": finding.detail}
            for finding in result.all_findings
        ],
    }


def show(result: HouseAudit, console: Console) -> None:
    """The proof as a table, a column for each currency, so that no figure is cut; then the findings."""
    table = Table(title="Proof", caption="what came in = what it became")
    table.add_column("")
    lines = result.clearing.proof
    for line in lines:
        table.add_column(line.currency, justify="right", no_wrap=True)
    for name, minor, last in _TERMS:
        figures = (str(to_major(minor(line), line.currency)) for line in lines)
        table.add_row(name, *figures, end_section=last)
    console.print(table)
    for finding in result.all_findings:
        console.print(f"[red]{finding.check}[/red] {finding.subject}: {finding.detail}")
    waiting = result.unfinished
    if not waiting.quiet or waiting.parked_tasks or waiting.parked_sessions:
        console.print(
            f"under way: {waiting.open_calls} calls, {waiting.open_tasks} errands; "
            f"for a person: {waiting.parked_tasks} errands, {waiting.parked_sessions} sessions"
        )
    asked = "with the PSP's record" if result.psp is not None else "the PSP was not asked"
    console.print(
        "[green]every figure agrees[/green]" if result.ok else "[red]the books do not agree[/red]",
        f"({asked})",
    )
