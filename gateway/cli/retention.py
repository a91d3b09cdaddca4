"""`networkcore retention`: what personal data are kept, for how long, and what is due to be removed.

Owns: the options and what is printed. Must not know how anything is removed.
"""

import asyncio
from typing import Any

import click

from gateway.cli.clock import read_clock
from gateway.cli.retention_settings import read_environment, read_policy
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import open_pool
from gateway.database import transaction
from gateway.personal_data.retention_service import RetentionLine, RetentionReport, RetentionService
from gateway.personal_data.rules import RetentionPolicy, list_not_personal


@click.command(name="retention")
@click.option("--run", "remove", is_flag=True, help="Remove now what is due, as a worker does once a day.")
@click.option("--columns", is_flag=True, help="Show the columns of each rule.")
@click.option("--not-personal", is_flag=True, help="Show the columns without personal data, and why.")
@click.option(
    "--legal", is_flag=True, help="Show how long each country's law keeps billing records, and by what."
)
@as_json_option
def command(*, remove: bool, columns: bool, not_personal: bool, legal: bool, as_json: bool) -> None:
    """Show what personal data are kept, until when, and how many rows are due. Nothing is changed.

    NETWORKCORE_RETENTION_PATH names a TOML file that changes periods; without it the bundled table counts.
    """
    if not_personal:
        listed = [{"column": column, "why": reason} for column, reason in list_not_personal().items()]
        show_rows(listed, title="No personal data", none="", as_json=as_json)
        return
    policy = read_policy()
    if legal:
        show_rows(_legal_rows(policy), title="Billing records by law", none="", as_json=as_json)
        return
    service = RetentionService(policy=policy, environment=read_environment())
    report = asyncio.run(_work(service, remove=remove))
    rows = [_row(line, columns=columns or as_json) for line in report.lines]
    show_rows(rows, title=f"Personal data, table of {policy.as_of}", none="No rules.", as_json=as_json)
    if not as_json:
        click.echo(last_run(report))
        if policy.unconfirmed:
            click.echo(
                f"Legal periods that are not confirmed: {', '.join(policy.unconfirmed)}."
                " Ask counsel, and set them in your own file (networkcore retention --legal)."
            )


def _legal_rows(policy: RetentionPolicy) -> list[dict[str, Any]]:
    return [
        {
            "country": "every other" if country == "*" else country,
            "years": period.years,
            "law": period.law,
            "confirmed": "by the operator"
            if period.is_own
            else "yes"
            if period.confirmed
            else "no: from memory",
            "source": period.source,
        }
        for country, period in policy.legal.items()
    ]


async def _work(service: RetentionService, *, remove: bool) -> RetentionReport:
    async with open_pool("retention", max_size=2) as pool:
        async with pool.acquire() as connection:
            clock = await read_clock(connection)
        if remove:
            await service.run(pool, clock=clock)
        async with transaction(pool, isolation="repeatable_read") as connection:
            return await service.report(connection, clock=clock)


def last_run(report: RetentionReport) -> str:
    """When the retention ran last and how many rows it removed, as a sentence."""
    if report.last_run is None:
        return "The retention has not run yet: a worker runs it once a day."
    removed = sum(report.last_run.removed.values())
    return f"The retention ran last on {report.last_run.finished_at:%F %H:%M} UTC and removed {removed} rows."


def _row(line: RetentionLine, *, columns: bool) -> dict[str, Any]:
    rule = line.rule
    row = {
        "rule": rule.name,
        "what": rule.what,
        "kept": str(rule.keep),
        "after": rule.since,
        "then": rule.then.value,
        "due": line.due,
        "removed_last": line.removed,
    }
    return row | ({"why": rule.why, "erase": rule.erase, "columns": list(rule.columns)} if columns else {})
