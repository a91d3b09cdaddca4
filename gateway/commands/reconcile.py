"""`networkcore reconcile`: the bank's files in and out, a comparison, what does not agree."""

import json
import os
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import click

from clearing.desks.bank_rail import BankAnswer, BankRail, RecordedFile
from clearing.desks.payout_desk import PayoutDesk
from clearing.desks.reconciler import Reconciler, RunResult
from clearing.errors import InvalidPaymentError
from clearing.iso20022 import camt
from clearing.iso20022.camt import BankLine
from clearing.parties.bank_details import BankDetails, PostalAddress
from clearing.reconciliation import report
from clearing.service import ClearingService
from gateway.clock import SystemClock
from gateway.commands import resolving
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


@command.command(name="statement")
@click.argument("file", type=_FILE)
def statement_command(*, file: Path) -> None:
    """Take in FILE, a camt.053 or camt.054: payments settle or return, lines wait for the comparison.

    The same file again, or files out of order, change nothing more.
    """

    async def work(connection: Connection) -> tuple[BankAnswer, int]:
        now = SystemClock().now()
        with file.open("rb") as stream:
            answer = await _rail().statement(connection, _lines(stream), now=now)
        with file.open("rb") as stream:
            return answer, await Reconciler().record_bank_lines(connection, camt.read(stream), now=now)

    answer, new = in_transaction(work)
    click.echo(f"{new} new lines, {answer.settled} payments settled, {answer.returned} returned")


@command.command(name="status-report")
@click.argument("file", type=_FILE)
def status_report_command(*, file: Path) -> None:
    """Take in FILE, a pain.002: what the bank says of a payment file of ours."""

    async def work(connection: Connection) -> BankAnswer:
        with file.open("rb") as stream:
            return await _rail().status_report(connection, stream, now=SystemClock().now())

    answer = in_transaction(work)
    click.echo(f"{answer.settled} payments settled, {answer.rejected} rejected")


@command.command(name="payment-file")
@click.option(
    "--debtor", required=True, type=_FILE, help="JSON of the paying account: name, iban, bic, address."
)
@click.option("--on", "day", required=True, help="Day of execution, such as 2026-11-24.")
@click.option("--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory.")
@click.option("--instant", is_flag=True, help="SEPA Instant for payments within SEPA.")
def payment_file_command(*, debtor: Path, day: str, output: Path, instant: bool) -> None:
    """Draw released bank payments into a pain.001 file and write every file that was not sent yet.

    Written again after a failure, a file is the same under the same name.
    """
    account, on = _debtor(debtor), _day(day)
    output.mkdir(parents=True, exist_ok=True)

    async def draw(connection: Connection) -> RecordedFile | None:
        rail = BankRail(ClearingService(), PayoutDesk(ClearingService()), debtor=account)
        return await rail.draw_file(connection, execution_date=on, now=SystemClock().now(), instant=instant)

    async def unsent(connection: Connection) -> list[RecordedFile]:
        return await _rail().files_to_send(connection)

    in_transaction(draw)
    for file in in_transaction(unsent):
        _write_whole(output / f"{file.message_id}.xml", file.content)
        in_transaction(partial(_mark_sent, file=file))
        click.echo(f"{output / file.message_id}.xml  sha256 {file.sha256}")


async def _mark_sent(connection: Connection, *, file: RecordedFile) -> None:
    await _rail().mark_sent(connection, file.message_id, now=SystemClock().now())


def _write_whole(path: Path, content: bytes) -> None:
    """A reader of the directory sees the whole file or none."""
    half = path.with_suffix(".part")
    with half.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    half.replace(path)


@command.command(name="report")
@click.option(
    "--format", "form", type=click.Choice(["csv", "json", "page"]), default="csv", show_default=True
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
def report_command(*, form: str, output: Path | None) -> None:
    """Write every difference that stands, with its age, owner and proposal."""
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
        target.write(report.page_head(await reconciler.counts(connection), at=now))
    row, end = {
        "csv": (report.csv_row, "\r\n"),
        "json": (report.json_line, "\n"),
        "page": (report.page_row, "\n"),
    }[form]
    count = 0
    async for difference in reconciler.differences(connection, today=now.date()):
        target.write(f"{row(difference)}{end}")
        count += 1
    if form == "page":
        target.write(report.page_foot(count))


def _rail() -> BankRail:
    clearing = ClearingService()
    return BankRail(clearing, PayoutDesk(clearing))


def _lines(stream: IO[bytes]) -> Any:
    return (line for line in camt.read(stream) if isinstance(line, BankLine))


def _debtor(path: Path) -> BankDetails:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return BankDetails(**{**told, "address": PostalAddress(**told["address"])})
    except (ValueError, KeyError, TypeError) as error:
        raise click.ClickException(
            f"{path}: expected name, iban, bic and address (street, building, post_code, town, country): "
            f"{error}"
        ) from None
    except InvalidPaymentError as error:
        raise click.ClickException(f"{path}: {error}") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.ClickException(f"--on {text!r}: expected a day such as 2026-11-24") from None


for _command in resolving.COMMANDS:
    command.add_command(_command)
