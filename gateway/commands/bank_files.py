"""`networkcore reconcile statement|status-report|payment-file`: the bank's files by hand, one at a time.

Owns: the options and what is printed. Must not know what a message does or how a file is drawn: these are the
worker's own steps, for an installation that has no directory between itself and its bank.
"""

from datetime import date
from pathlib import Path
from typing import Final

import click

from clearing.desks.bank_intake import BankIntake, TakenMessage
from clearing.desks.bank_rail import BankRail
from clearing.desks.payout_desk import PayoutDesk
from clearing.service import ClearingService
from clearing.store import bank_files as store
from clearing.store.bank_files import RecordedFile
from gateway import objects
from gateway.clock import SystemClock
from gateway.commands.in_transaction import in_transaction
from gateway.database import Connection
from gateway.lanes import payout_news
from gateway.lanes.bank_files import read_account
from gateway.lanes.bank_outbox import Outbox

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_BY: Final = "command"


@click.command(name="statement")
@click.argument("file", type=_FILE)
def statement_command(*, file: Path) -> None:
    """Take in FILE, a camt.053 or camt.054: payments settle or return, lines wait for the comparison.

    The same file again, or files out of order, change nothing more.
    """
    told = _taken(file)
    click.echo(f"{told.new_lines} new lines, {told.settled} payments settled, {told.returned} returned")


@click.command(name="status-report")
@click.argument("file", type=_FILE)
def status_report_command(*, file: Path) -> None:
    """Take in FILE, a pain.002: what the bank says of a payment file of ours."""
    told = _taken(file)
    click.echo(f"{told.settled} payments settled, {told.rejected} rejected")


@click.command(name="payment-file")
@click.option(
    "--debtor", required=True, type=_FILE, help="JSON of the paying account: name, iban, bic, address."
)
@click.option("--on", "day", required=True, help="Day of execution, such as 2026-11-24.")
@click.option("--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory.")
@click.option("--instant", is_flag=True, help="SEPA Instant for payments within SEPA.")
def payment_file_command(*, debtor: Path, day: str, output: Path, instant: bool) -> None:
    """Draw released bank payments into a pain.001 file and write every file that was not sent yet.

    Written again after a failure, a file is the same under the same name. Nothing is drawn for a day on which
    its currency or the paying bank is closed.
    """
    account, on = read_account(debtor), _day(day)
    output.mkdir(parents=True, exist_ok=True)
    outbox = Outbox(output)

    async def draw(connection: Connection) -> None:
        rail = BankRail(ClearingService(), PayoutDesk(ClearingService()), debtor=account)
        now = SystemClock().now()
        drawing = await rail.draw(connection, execution_date=on, now=now, instant=instant)
        await payout_news.record_drawing(connection, drawing, now=now)

    async def hand_over(connection: Connection) -> RecordedFile | None:
        file = await store.take_unsent(connection, beside=[])
        if file is not None:
            outbox.put(f"{file.message_id}.xml", file.content)
            rail = BankRail(ClearingService(), PayoutDesk(ClearingService()))
            await rail.mark_sent(connection, file.message_id, now=SystemClock().now())
        return file

    in_transaction(draw)
    written = 0
    while (file := in_transaction(hand_over)) is not None:
        click.echo(f"{output / file.message_id}.xml  sha256 {file.sha256}")
        written += 1
    if not written:
        click.echo(f"no file: nothing that is released is to be paid by bank on {on}", err=True)


def _taken(file: Path) -> objects.BankMessage:
    """What the message did; a repeated one did nothing. Refused: one line, and it is kept as refused."""

    async def work(connection: Connection) -> TakenMessage:
        now = SystemClock().now()
        taken = await BankIntake(ClearingService()).take(
            connection, lambda: file.open("rb"), name=file.name, told_by=_BY, now=now
        )
        await payout_news.record_taken(connection, taken, now=now)
        return taken

    taken = in_transaction(work)
    told = payout_news.message_object(taken)
    if told.state == "refused":
        raise click.ClickException(f"{file}: {told.reason}")
    if taken.repeated:
        return told.model_copy(update={"new_lines": 0, "settled": 0, "rejected": 0, "returned": 0})
    return told


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.ClickException(f"--on {text!r}: expected a day such as 2026-11-24") from None


COMMANDS: Final = (statement_command, status_report_command, payment_file_command)
