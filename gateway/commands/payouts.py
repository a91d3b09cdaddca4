"""`networkcore payouts`: how far the calendars reach, and due days counted again after one changed.

Owns: the options and what is printed. Must not know how days are counted. What needs two people is done over
the API, where keys tell them apart.
"""

import click

from clearing import reference
from clearing.desks.payout_desk import PayoutDesk
from clearing.service import ClearingService
from gateway.clock import SystemClock
from gateway.commands.in_transaction import in_transaction
from gateway.database import Connection


@click.group(name="payouts")
def command() -> None:
    """Calendars and due days."""


@command.command(name="calendars")
def calendars_command() -> None:
    """Show which closing days are known, by system and year; Saturdays and Sundays are closed anyway."""
    for calendar in reference.closing_days():
        for year in range(calendar.first_year, calendar.last_year + 1):
            days = " ".join(f"{day:%m-%d}" for day in sorted(calendar.days) if day.year == year)
            click.echo(f"{calendar.name} {year}: {days}")


@command.command(name="replan")
@click.option("--reason", required=True, help="Kept with every day that moves.")
def replan_command(*, reason: str) -> None:
    """Count every open due day ahead again by the present calendars and terms.

    What is due today or before stays: it is paid.
    """
    if not reason.strip():
        raise click.UsageError("--reason is empty")

    async def work(connection: Connection) -> int:
        desk = PayoutDesk(ClearingService())
        return await desk.replan(connection, reason=reason.strip(), now=SystemClock().now())

    click.echo(f"{in_transaction(work)} due days moved")
