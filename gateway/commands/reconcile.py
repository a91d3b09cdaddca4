"""`networkcore reconcile`: the bank's files in and out, a comparison, what does not agree."""

import sys
from pathlib import Path
from typing import IO, Final

import click

from clearing.desks import bank_position
from clearing.desks.open_report import open_lines
from clearing.desks.reconciler import Reconciler, RunResult
from clearing.reconciliation import report
from clearing.service import ClearingService
from gateway.clock import SystemClock
from gateway.commands import bank_files, resolving
from gateway.commands.in_transaction import in_transaction
from gateway.database import Connection

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIFFERENCES: Final = 1


@click.group(name="reconcile")
def command() -> None:
    """Compare books, PSP and bank; take the bank's files in, write its payment files."""


@command.command(name="run")
def run_command() -> None:
    """Compare what is known now; exit status 1 while differences stand."""

    async def work(connection: Connection) -> RunResult:
        return await Reconciler().run(connection, now=SystemClock().now())

    result = in_transaction(work)
    click.echo(f"{result.matched} matched, {result.differences} differences, {result.resolved} resolved")
    if result.differences:
        sys.exit(_DIFFERENCES)


@command.command(name="report")
@click.option(
    "--format", "form", type=click.Choice(["csv", "json", "page"]), default="csv", show_default=True
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
def report_command(*, form: str, output: Path | None) -> None:
    """Write what is open (differences, suspense, debts), with its age, owner and proposal."""
    target = sys.stdout if output is None else output.open("w", encoding="utf-8", newline="")
    try:
        in_transaction(lambda connection: _report(connection, form, target), isolation="repeatable_read")
    finally:
        if output is not None:
            target.close()


async def _report(connection: Connection, form: str, target: IO[str]) -> None:
    now = SystemClock().now()
    reconciler = Reconciler()
    if form == "csv":
        target.write(f"{report.csv_header()}\r\n")
    elif form == "page":
        bank = await bank_position.positions(connection)
        target.write(report.page_head(await reconciler.counts(connection), bank, at=now))
    row, end = {
        "csv": (report.csv_row, "\r\n"),
        "json": (report.json_line, "\n"),
        "page": (report.page_row, "\n"),
    }[form]
    count = 0
    async for line in open_lines(connection, ClearingService(), now=now):
        target.write(f"{row(line)}{end}")
        count += 1
    if form == "page":
        target.write(report.page_foot(count))


for _command in (*resolving.COMMANDS, *bank_files.COMMANDS):
    command.add_command(_command)
