"""`networkcore audit`: recomputes the books from the database and compares them with the PSP's record.

Owns the options and what is printed. Must not know how a figure is computed.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from clearing.audit import ProofLine
from clearing.money import to_major
from gateway.audit import AuditResult, SystemAudit, audit_system, record_audit
from gateway.cli.clock import read_clock
from gateway.cli.tables import open_console
from gateway.cli.transaction import open_pool
from gateway.payments.psp.stripe.adapter import StripePsp

_FAILED: Final = 1
_COLORS: Final = {
    AuditResult.AGREES: "green",
    AuditResult.DIFFERS: "red",
    AuditResult.NOT_COMPARED: "red",
    AuditResult.LEFT_OUT: "yellow",
}
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not tables.")
@click.option("--without-psp", is_flag=True, help="Do not compare the PSP's own record.")
def command(*, as_json: bool, without_psp: bool) -> None:
    """Recompute the books of DATABASE_URL and compare them with the PSP's record.

    Needs NETWORKCORE_PSP_API_KEY (and NETWORKCORE_PSP_BASE_URL for a sandbox), or --without-psp. What is
    under way is allowed for by its amount and named. Exit status 1, with the ids, if a figure differs, and
    also if one could not be compared.
    """
    result = asyncio.run(_run(None if without_psp else os.environ.get(_PSP_KEY), left_out=without_psp))
    if as_json:
        click.echo(json.dumps(audit_json(result)))
    else:
        show(result, open_console())
    if not result.ok:
        sys.exit(_FAILED)


async def _run(psp_key: str | None, *, left_out: bool) -> SystemAudit:
    psp = None
    if psp_key:
        psp = StripePsp(api_key=psp_key, webhook_secret="", base_url=os.environ.get(_PSP_URL))
    try:
        async with open_pool("audit", max_size=2) as pool:
            async with pool.acquire() as connection:
                clock = await read_clock(connection)
            result = await audit_system(pool, clock=clock, psp=psp, psp_expected=not left_out)
            await record_audit(pool, result, clock=clock)
            return result
    finally:
        if psp is not None:
            await psp.close()


def audit_json(result: SystemAudit) -> dict[str, Any]:
    """The audit as JSON-ready values; amounts are minor units."""
    return {
        "ok": result.ok,
        "result": result.result.value,
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
        "compared": [
            {
                "check": check.name,
                "subject": check.subject,
                "result": check.result.value,
                "compared": check.compared,
                "left_out": check.left_out or None,
            }
            for check in result.checks
        ],
        "unfinished": {
            "open_psp_requests": result.open_work.open_requests,
            "open_tasks": result.open_work.open_tasks,
            "exception_tasks": result.open_work.exception_tasks,
            "uncleared_sessions": result.open_work.uncleared_sessions,
        },
        "retention_at": None if result.retention is None else result.retention.finished_at.isoformat(),
        "checks": dict(result.clearing.checks),
        "findings": [
            {"check": finding.check, "subject": finding.subject, "detail": finding.detail}
            for finding in result.all_findings
        ],
    }


def show(result: SystemAudit, console: Console) -> None:
    """The books as a table, a column for each currency, so that no figure is cut; then the findings."""
    table = Table(title="Proof", caption="money in = what it became")
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
    waiting = result.open_work
    if not waiting.is_idle or waiting.exception_tasks or waiting.uncleared_sessions:
        console.print(
            f"under way: {waiting.open_requests} PSP requests, {waiting.open_tasks} tasks; "
            f"exceptions: {waiting.exception_tasks} tasks, {waiting.uncleared_sessions} sessions"
        )
    console.print(_checks_table(result))
    console.print(retention_sentence(result))
    console.print(_sentence(result))


def retention_sentence(result: SystemAudit) -> str:
    """When personal data whose time was over were removed last."""
    if result.retention is None:
        return "retention: it has not run yet"
    removed = sum(result.retention.removed.values())
    return f"retention: last run {result.retention.finished_at:%F %H:%M} UTC, {removed} rows removed"


def _sentence(result: SystemAudit) -> str:
    match result.result:
        case AuditResult.DIFFERS:
            return "[red]the books do not agree[/red]"
        case AuditResult.NOT_COMPARED:
            return "[red]what was compared agrees, but not everything was compared[/red]"
        case _ if any(check.result is AuditResult.LEFT_OUT for check in result.checks):
            return "[green]what was compared agrees[/green] (without the PSP's record)"
        case _:
            return "[green]every figure agrees[/green] (compared with the PSP's record)"


def _checks_table(result: SystemAudit) -> Table:
    """What each check compared, and what it left out and why."""
    table = Table("check", "", "result", "compared", "left out", title="Checks")
    for check in result.checks:
        table.add_row(
            check.name,
            check.subject,
            f"[{_COLORS[check.result]}]{check.result.value.replace('_', ' ')}[/]",
            check.compared,
            check.left_out or "nothing",
        )
    return table
