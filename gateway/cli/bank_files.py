"""`networkcore reconcile import-statement|import-status-report|payment-file`: the bank's files by hand.

Owns: the options and what is printed. Must not know what a message does or how a file is made: these are the
worker's own steps, for an installation that shares no directory with its bank.
"""

from datetime import date
from pathlib import Path
from typing import Final

import click

from clearing.bank_transfers import record_service
from clearing.bank_transfers.message_importer import ImportedMessage
from clearing.bank_transfers.payment_file import RecordedFile
from clearing.services import build_clearing
from gateway.cli.clock import business_now
from gateway.cli.transaction import in_transaction
from gateway.database import Connection
from gateway.jobs.bank_files import read_account
from gateway.jobs.bank_outbox import Outbox
from gateway.schemas import api_schemas
from gateway.webhooks import payout_events

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_BY: Final = "command"


@click.command(name="import-statement")
@click.argument("file", type=_FILE)
def import_statement_command(*, file: Path) -> None:
    """Import a bank statement, FILE: a camt.053 or camt.054.

    Disbursements are settled or returned by it. Importing a file twice, or files out of order, does no harm.
    """
    found = _imported(file, command="reconcile import-statement")
    click.echo(
        f"{found.new_lines} new lines, {found.settled} disbursements settled, {found.returned} returned"
    )


@click.command(name="import-status-report")
@click.argument("file", type=_FILE)
def import_status_report_command(*, file: Path) -> None:
    """Import a status report, FILE: the bank's pain.002 on a payment file of ours."""
    found = _imported(file, command="reconcile import-status-report")
    click.echo(f"{found.settled} disbursements settled, {found.rejected} rejected")


@click.command(name="payment-file")
@click.option(
    "--debtor", required=True, type=_FILE, help="JSON of the paying account: name, iban, bic, address."
)
@click.option("--on", "day", required=True, help="Day of execution, such as 2026-11-24.")
@click.option("--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory.")
@click.option("--instant", is_flag=True, help="SEPA Instant for payments within SEPA.")
def payment_file_command(*, debtor: Path, day: str, output: Path, instant: bool) -> None:
    """Create a pain.001 file of approved bank disbursements and write every file that was not sent yet.

    Written again after a failure, a file is the same under the same name. No file is created for a day on
    which its currency or the paying bank is closed.
    """
    account, on = read_account(debtor), _day(day)
    output.mkdir(parents=True, exist_ok=True)
    outbox = Outbox(output)

    async def create(connection: Connection) -> None:
        transfers = build_clearing().bank_transfers(debtor=account)
        now = await business_now(connection)
        result = await transfers.create_payment_file(connection, execution_date=on, now=now, instant=instant)
        await payout_events.record_payment_file(connection, result, now=now)

    async def write_next(connection: Connection) -> RecordedFile | None:
        file = await record_service.find_unsent_file(connection)
        if file is not None:
            outbox.put(f"{file.message_id}.xml", file.content)
            await record_service.mark_sent(connection, file.message_id, now=await business_now(connection))
        return file

    in_transaction(create, command="reconcile payment-file")
    written = 0
    while (file := in_transaction(write_next, command="reconcile payment-file")) is not None:
        click.echo(f"{output / file.message_id}.xml  sha256 {file.sha256}")
        written += 1
    if not written:
        click.echo(f"No approved bank disbursement is to be paid on {on}.", err=True)


def _imported(file: Path, *, command: str) -> api_schemas.BankMessageSchema:
    """What the message did; a repeated one did nothing. A rejected one is stored, and raises one line."""

    async def work(connection: Connection) -> ImportedMessage:
        now = await business_now(connection)
        imported = await build_clearing().bank_messages.import_message(
            connection, lambda: file.open("rb"), name=file.name, reported_by=_BY, now=now
        )
        await payout_events.record_imported_message(connection, imported, now=now)
        return imported

    imported = in_transaction(work, command=command)
    found = payout_events.message_object(imported)
    if found.state == "rejected":
        raise click.ClickException(f"{file}: {found.reason}")
    if imported.repeated:
        return found.model_copy(update={"new_lines": 0, "settled": 0, "rejected": 0, "returned": 0})
    return found


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.ClickException(f"--on {text!r}: expected a day such as 2026-11-24") from None


COMMANDS: Final = (import_statement_command, import_status_report_command, payment_file_command)
