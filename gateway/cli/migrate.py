"""`networkcore migrate`: applies the migrations that a database lacks."""

import asyncio
import os
import sys

import click

from gateway.config import load_database_url
from gateway.migrations import compare_schema, migrate

_STATUS_PENDING = 1


@click.command(name="migrate")
@click.option(
    "--check",
    is_flag=True,
    help="Only say whether the database is older, the same or newer; exit status 1: older.",
)
@click.option(
    "--wait-seconds",
    default=0.0,
    show_default=True,
    help="How long to wait for a database that is not up yet.",
)
def command(*, check: bool, wait_seconds: float) -> None:
    """Migrate the database DATABASE_URL. Any number of processes may run this at once."""
    dsn = load_database_url(os.environ)
    if check:
        schema = asyncio.run(compare_schema(dsn))
        for migration in schema.pending:
            click.echo(f"pending {migration}")
        for name in schema.unknown:
            click.echo(f"unknown {name}")
        click.echo(schema.summary)
        if schema.pending:
            sys.exit(_STATUS_PENDING)
        return
    applied = asyncio.run(migrate(dsn, wait_seconds=wait_seconds))
    for migration in applied:
        click.echo(f"applied {migration}")
    if not applied:
        click.echo("nothing to apply")
