"""`networkcore distribute`: turns a migrated database into one that is distributed with Citus, and checks it.

Owns: the options and what is printed. Must not know which table lies where.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence

import click

from gateway.config import load_database_url
from gateway.distribution.service import DATABASE_SHARDS, distribute
from gateway.distribution.statement_check import CheckedStatement, PlannedOn, check_calls, check_statements

_STATUS_AT_FAULT = 1


@click.command(name="distribute")
@click.option(
    "--check",
    is_flag=True,
    help="Plan every statement on the distributed database; exit status 1: one is rejected, or asks several "
    "shards and is not listed.",
)
@click.option(
    "--shards",
    default=DATABASE_SHARDS,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Shards of the database, in which the 64 of the sessions lie; only a first run sets it.",
)
def command(*, check: bool, shards: int) -> None:
    """Distribute the database DATABASE_URL, that of the Citus coordinator, by shard.

    Stop gateways and workers first. A run that died is completed by the next one.
    """
    dsn = load_database_url(os.environ)
    if check:
        calls = asyncio.run(check_calls(dsn))
        _show([*asyncio.run(check_statements(dsn)), *(one for one in calls if one.is_at_fault)])
        queries = sum(one.shard_queries for one in calls)
        click.echo(f"the two calls of a session: {len(calls)} statements, {queries} queries to shards")
        return
    done = asyncio.run(distribute(dsn, report=click.echo, shards=shards))
    click.echo(
        f"Citus {done.version}: {done.by_shard} tables by shard and {done.by_name} by name on "
        f"{done.nodes} {'node' if done.nodes == 1 else 'nodes'}, {done.on_coordinator} on the coordinator"
    )


def _show(checked: Sequence[CheckedStatement]) -> None:
    """Those over several shards by their reason, those at fault, and how many of each kind."""
    reasons = sorted({one.reason for one in checked if one.reason is not None})
    for reason in reasons:
        click.echo(f"several shards: {reason}")
        for one in checked:
            if one.reason == reason:
                click.echo(f"  {one.place} ({one.shard_queries})")
    counts = Counter(one.planned_on for one in checked)
    click.echo(", ".join(f"{counts[kind]} {kind.value}" for kind in PlannedOn))
    at_fault = [one for one in checked if one.is_at_fault]
    for one in at_fault:
        why = one.error or f"asks {one.shard_queries} shards and is not listed"
        click.echo(f"{one.place}: {why}", err=True)
    if at_fault:
        sys.exit(_STATUS_AT_FAULT)
