"""`networkcore distribute`: turns a migrated database into one that is distributed with Citus, and checks it.

Owns: the options and what is printed. Must not know which table lies where.
"""

import asyncio
import os

import click

from gateway.config import load_database_url
from gateway.distribution.service import distribute


@click.command(name="distribute")
def command() -> None:
    """Distribute the database DATABASE_URL, that of the Citus coordinator, by shard.

    Stop gateways and workers first. A run that died is completed by the next one.
    """
    dsn = load_database_url(os.environ)
    done = asyncio.run(distribute(dsn, report=click.echo))
    click.echo(
        f"Citus {done.version}: {done.by_shard} tables by shard and {done.by_name} by name on "
        f"{done.nodes} {'node' if done.nodes == 1 else 'nodes'}, {done.on_coordinator} on the coordinator"
    )
