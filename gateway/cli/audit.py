"""`networkcore audit`: recomputes the books from the database and compares them with the PSP's record.

Owns the options and what is printed. Must not know how a figure is computed.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from clearing.audit import ProofLine
from clearing.daily_audit.checkpoint import DEFAULT_SHARES, MAX_SHARES, SealedCheckpoint
from clearing.money import to_major
from gateway.audit.checks import AuditResult
from gateway.audit.daily_audit import DailyAudit, audit_daily
from gateway.audit.psp_record import PSP_RECORD
from gateway.audit.system_audit import SystemAudit, audit_system, record_audit
from gateway.cli.clock import read_clock
from gateway.cli.tables import open_console
from gateway.cli.transaction import open_pool
from gateway.clock import Clock
from gateway.database import Pool
from gateway.payments.psp.stripe.adapter import StripePsp

_FAILED: Final = 1
_COLORS: Final = {
    AuditResult.AGREES: "green",
    AuditResult.DIFFERS: "red",
    AuditResult.NOT_COMPARED: "red",
    AuditResult.LEFT_OUT: "yellow",
}
_PSP_KEY: Final = "NETWORKCORE_PSP_API_KEY"
_KNOWN: Final = re.compile(r"(\d{1,18}):([0-9a-fA-F]{64})")
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
@click.option("--daily", is_flag=True, help="Go on from the last sealed checkpoint, and seal the next one.")
@click.option(
    "--shares",
    type=click.IntRange(1, MAX_SHARES),
    default=DEFAULT_SHARES,
    show_default=True,
    help="With --daily: in how many runs all older rows are proved again.",
)
@click.option(
    "--checkpoint",
    "known",
    metavar="NUMBER:HASH",
    callback=lambda _context, _option, text: _known_checkpoint(text),
    help="With --daily: a checkpoint as an earlier run printed it; one that differs is a finding.",
)
def command(
    *, as_json: bool, without_psp: bool, daily: bool, shares: int, known: tuple[int, str] | None
) -> None:
    """Recompute the books of DATABASE_URL and compare them with the PSP's record.

    Needs NETWORKCORE_PSP_API_KEY (and NETWORKCORE_PSP_BASE_URL for a sandbox), or --without-psp. What is
    under way is allowed for by its amount and named. With --daily, what is new is proved and a share of what
    is older; the table says what rests on the checkpoint. Exit status 1, with the ids, if a figure differs,
    and also if one could not be compared.
    """
    psp_key = None if without_psp else os.environ.get(_PSP_KEY)
    if daily:
        found = asyncio.run(_run_daily(psp_key, left_out=without_psp, shares=shares, known=known))
        result, checkpoints = found.audit, found
    else:
        result, checkpoints = asyncio.run(_run(psp_key, left_out=without_psp)), None
    if as_json:
        click.echo(json.dumps({**audit_json(result), **_checkpoints_json(checkpoints)}))
    else:
        show(result, open_console(), daily=checkpoints)
    if not result.ok:
        sys.exit(_FAILED)


def _known_checkpoint(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    found = _KNOWN.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is not NUMBER:HASH, the hash in 64 hex digits")
    return int(found[1]), found[2].lower()


async def _run(psp_key: str | None, *, left_out: bool) -> SystemAudit:
    async with _opened(psp_key) as (pool, clock, psp):
        began = clock.wall_now()
        result = await audit_system(pool, clock=clock, psp=psp, psp_expected=not left_out)
        await record_audit(pool, result, clock=clock, began_at=began)
        return result


async def _run_daily(
    psp_key: str | None, *, left_out: bool, shares: int, known: tuple[int, str] | None
) -> DailyAudit:
    async with _opened(psp_key) as (pool, clock, psp):
        began = clock.wall_now()
        result = await audit_daily(
            pool, clock=clock, psp=psp, psp_expected=not left_out, shares=shares, known=known
        )
        await record_audit(pool, result.audit, clock=clock, began_at=began, daily=True)
        return result


@asynccontextmanager
async def _opened(psp_key: str | None) -> AsyncIterator[tuple[Pool, Clock, StripePsp | None]]:
    psp = None
    if psp_key:
        psp = StripePsp(api_key=psp_key, webhook_secret="", base_url=os.environ.get(_PSP_URL))
    try:
        async with open_pool("audit", max_size=2) as pool:
            async with pool.acquire() as connection:
                clock = await read_clock(connection)
            yield pool, clock, psp
    finally:
        if psp is not None:
            await psp.close()


def _checkpoints_json(daily: DailyAudit | None) -> dict[str, Any]:
    """The checkpoints of a daily run; a full one has none."""
    if daily is None:
        return {}
    return {
        "went_on_from": _checkpoint_json(daily.rests_on),
        "sealed": _checkpoint_json(daily.checkpoint),
    }


def _checkpoint_json(one: SealedCheckpoint | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"number": one.sequence, "hash": one.hash.hex(), "sealed_at": one.sealed_at.isoformat()}


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


def show(result: SystemAudit, console: Console, *, daily: DailyAudit | None = None) -> None:
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
    if daily is not None:
        console.print(_checkpoint_line(daily), soft_wrap=True)
    console.print(retention_sentence(result))
    console.print(_sentence(result, daily))


def retention_sentence(result: SystemAudit) -> str:
    """When personal data whose time was over were removed last."""
    if result.retention is None:
        return "retention: it has not run yet"
    removed = sum(result.retention.removed.values())
    return f"retention: last run {result.retention.finished_at:%F %H:%M} UTC, {removed} rows removed"


def _sentence(result: SystemAudit, daily: DailyAudit | None) -> str:
    without_psp = any(
        check.name == PSP_RECORD and check.result is AuditResult.LEFT_OUT for check in result.checks
    )
    match result.result:
        case AuditResult.DIFFERS:
            return "[red]the books do not agree[/red]"
        case AuditResult.NOT_COMPARED:
            return "[red]what was compared agrees, but not everything was compared[/red]"
        case _ if daily is not None and daily.rests_on is not None:
            left_out = ", without the PSP's record" if without_psp else ""
            return f"[green]what was compared agrees[/green] (the rest as the checkpoint says{left_out})"
        case _ if without_psp:
            return "[green]what was compared agrees[/green] (without the PSP's record)"
        case _ if daily is not None:
            return "[green]what was compared agrees[/green] (all of the ledger and its sessions)"
        case _:
            return "[green]every figure agrees[/green] (compared with the PSP's record)"


def _checkpoint_line(daily: DailyAudit) -> str:
    """The checkpoint as `--checkpoint` takes it, to be kept outside of the database."""
    sealed = daily.checkpoint
    if sealed is None:
        return "no checkpoint was sealed"
    return f"checkpoint {sealed.sequence}:{sealed.hash.hex()}"


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
