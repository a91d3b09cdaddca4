"""`networkcore migrate`: brings the database's schemas forward."""

import asyncio
import os
import sys

import click

from gateway.config import load_database_url
from gateway.migrations import migrate, pending

_STATUS_PENDING = 1


@click.command(name="migrate")
@click.option("--check", is_flag=True, help="Only say what is pending; exit status 1 if anything is.")
@click.option(
    "--wait-seconds",
    default=0.0,
    show_default=True,
    help="How long to wait for a database that is not up yet.",
)
def command(*, check: bool, wait_seconds: float) -> None:
    """Apply the missing migrations to DATABASE_URL. Safe to run from any number of processes at once."""
    dsn = load_database_url(os.environ)
    if check:
        missing = asyncio.run(pending(dsn))
        for migration in missing:
            click.echo(f"pending {migration}")
        if missing:
            sys.exit(_STATUS_PENDING)
        click.echo("nothing pending")
        return
    applied = asyncio.run(migrate(dsn, wait_seconds=wait_seconds))
    for migration in applied:
        click.echo(f"applied {migration}")
    if not applied:
        click.echo("nothing to apply")
