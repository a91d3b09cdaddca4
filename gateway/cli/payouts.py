"""`networkcore payouts`: connected accounts, how far the calendars reach, due dates rescheduled.

Owns: the options and what is printed. Must not know how due dates are computed. What needs a second person is
done over the API, where keys identify people.
"""

from typing import Final

import click

from clearing.reference_data import bundled_data
from clearing.services import build_clearing
from gateway.cli import party_checks
from gateway.cli.clock import business_now
from gateway.cli.command_group import CommandGroup
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction
from gateway.database import Connection
from gateway.payouts.account_state import ConnectedAccountRecord
from gateway.payouts.connected_account_repository import list_accounts

_PAGE: Final = 500


@click.group(name="payouts", cls=CommandGroup)
def command() -> None:
    """Show connected accounts, parties' checks and closing days; reschedule due dates."""


for one in party_checks.COMMANDS:
    command.add_command(one)


@command.command(name="accounts")
@click.option("--unpayable", is_flag=True, help="Only accounts that the PSP can't pay.")
@as_json_option
def accounts_command(*, unpayable: bool, as_json: bool) -> None:
    """Show parties' connected accounts at the PSP, as it last said."""

    async def work(connection: Connection) -> list[ConnectedAccountRecord]:
        found: list[ConnectedAccountRecord] = []
        while True:
            page = await list_accounts(
                connection,
                payable=False if unpayable else None,
                after=found[-1].party_id if found else "",
                limit=_PAGE,
            )
            found += page
            if len(page) < _PAGE:
                return found

    rows = [
        {
            "party": one.party_id,
            "account": one.psp_account,
            "transfers": one.transfers.value,
            "reason": one.disabled_reason or "-",
            "required": list(one.requirements),
            "by": one.requirements_due,
            "read": one.read_at,
        }
        for one in in_transaction(work, command="payouts accounts")
    ]
    show_rows(rows, title="Connected accounts", none="No such account is known.", as_json=as_json)


@command.command(name="calendars")
@as_json_option
def calendars_command(*, as_json: bool) -> None:
    """Show the known closing days by system and year. Saturdays and Sundays are always closed."""
    rows = [
        {
            "calendar": calendar.name,
            "year": year,
            "closed": [f"{day:%m-%d}" for day in sorted(calendar.days) if day.year == year],
        }
        for calendar in bundled_data.closing_days()
        for year in range(calendar.first_year, calendar.last_year + 1)
    ]
    show_rows(rows, title="Closing days", none="No closing days are known.", as_json=as_json)


@command.command(name="reschedule")
@click.option("--reason", required=True, help="Recorded with every due date that moves.")
def reschedule_command(*, reason: str) -> None:
    """Reschedule open due dates by the present calendars and terms.

    What is due today or earlier is not moved: it is paid.
    """
    if not reason.strip():
        raise click.UsageError("--reason is empty")

    async def work(connection: Connection) -> int:
        administration = build_clearing().payouts
        now = await business_now(connection)
        return await administration.reschedule(connection, reason=reason.strip(), now=now)

    click.echo(f"{in_transaction(work, command='payouts reschedule')} due dates moved")
