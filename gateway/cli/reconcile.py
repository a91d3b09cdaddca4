"""`networkcore reconcile`: bank files imported and written, the comparison, its differences.

Owns the options and what is printed. Must not know what is compared.
"""

import sys
from pathlib import Path
from typing import IO, Final

import click

from clearing.reconciliation import report
from clearing.reconciliation.report_service import open_lines
from clearing.reconciliation.service import ReconciliationService, RunResult
from clearing.reference_data.service import ReferenceDataService
from gateway.cli import bank_files, resolutions
from gateway.cli.clock import business_now
from gateway.cli.command_group import CommandGroup
from gateway.cli.transaction import in_transaction
from gateway.database import Connection

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIFFERENCES: Final = 1


@click.group(name="reconcile", cls=CommandGroup)
def command() -> None:
    """Compare books, PSP and bank; import and write bank files; resolve differences."""


@command.command(name="run")
def run_command() -> None:
    """Compare the records known now. Exit status 1 while differences are open."""

    async def work(connection: Connection) -> RunResult:
        return await ReconciliationService().run(connection, now=await business_now(connection))

    result = in_transaction(work, command="reconcile run")
    click.echo(f"{result.matched} matched, {result.differences} differences, {result.resolved} resolved")
    if result.differences:
        sys.exit(_DIFFERENCES)


@command.command(name="report")
@click.option(
    "--format", "form", type=click.Choice(["csv", "json", "page"]), default="csv", show_default=True
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
def report_command(*, form: str, output: Path | None) -> None:
    """Write the open items (differences, suspense, receivables) with age, owner and proposal."""
    target = sys.stdout if output is None else output.open("w", encoding="utf-8", newline="")
    try:
        in_transaction(
            lambda connection: _report(connection, form, target),
            command="reconcile report",
            isolation="repeatable_read",
        )
    finally:
        if output is not None:
            target.close()


async def _report(connection: Connection, form: str, target: IO[str]) -> None:
    now = await business_now(connection)
    reconciler = ReconciliationService()
    if form == "csv":
        target.write(f"{report.csv_header()}\r\n")
    elif form == "page":
        bank = await reconciler.list_bank_positions(connection)
        target.write(report.page_head(await reconciler.count_items(connection), bank, at=now))
    row, end = {
        "csv": (report.csv_row, "\r\n"),
        "json": (report.json_line, "\n"),
        "page": (report.page_row, "\n"),
    }[form]
    count = 0
    async for line in open_lines(connection, ReferenceDataService(), now=now):
        target.write(f"{row(line)}{end}")
        count += 1
    if form == "page":
        target.write(report.page_foot(count))


for _command in (*resolutions.COMMANDS, *bank_files.COMMANDS):
    command.add_command(_command)
