"""`networkcore restore-check`: what others saw after a restore's point comes back into the books.

Owns: the options and what is printed. Must not know: how a step is done.
"""

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.table import Table

from gateway.cli.process import run_async
from gateway.cli.tables import as_json_option, open_console
from gateway.config import load_settings
from gateway.settings.operations import RecoveryMode

if TYPE_CHECKING:
    from gateway.recovery.restore_steps import RestoreReport

_WAITING: Final = 1


@click.command(name="restore-check")
@click.option(
    "--restored-to",
    required=True,
    metavar="INSTANT",
    help="The point that the database was restored to, such as 2026-11-30T03:00:00Z.",
)
@click.option("--adopt", is_flag=True, help="Take charges that name a session of ours as its capture.")
@click.option(
    "--sent-files",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory of the payment files that were sent, to find those that the database lost.",
)
@as_json_option
def command(*, restored_to: str, adopt: bool, sent_files: Path | None, as_json: bool) -> None:
    """Bring back what the PSP, banks, partners and operators saw after a restore to a point in time.

    Needs the gateway's settings with NETWORKCORE_RECOVERY_MODE=closed, in which the edge answers 503 and the
    workers rest. May be run again. Exit status 1 while something waits for a person.
    """
    point = _instant(restored_to)
    settings = load_settings(os.environ)
    if settings.recovery_mode is not RecoveryMode.CLOSED:
        raise click.UsageError(
            "set NETWORKCORE_RECOVERY_MODE=closed, and start gateway and workers again: nobody may write now"
        )

    async def run() -> "RestoreReport":
        from gateway.application import open_application  # noqa: PLC0415 - loaded by this command only
        from gateway.recovery.restore_check import RestoreCheckService  # noqa: PLC0415 - likewise

        async with open_application(settings, application="networkcore restore-check") as app:
            service = RestoreCheckService(
                pool=app.pool,
                clock=app.clock,
                payments=app.payments,
                clearing=app.clearing,
                movements=app.psp,
            )
            return await service.run(point, adopt=adopt, sent_files=sent_files)

    report = run_async(run())
    if as_json:
        click.echo(
            json.dumps({"waiting": report.waiting, "steps": [step.to_json() for step in report.steps]})
        )
    else:
        _show(report)
    if report.waiting:
        sys.exit(_WAITING)


def _instant(text: str) -> datetime:
    try:
        point = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--restored-to {text} is no instant such as 2026-11-30T03:00:00Z") from None
    if point.tzinfo is None:
        raise click.UsageError(f"--restored-to {text} names no time zone; add Z for UTC")
    return point


def _show(report: "RestoreReport") -> None:
    console = open_console()
    table = Table("step", "looked at", "done", "waits", title="After the restore", show_lines=True)
    for step in report.steps:
        table.add_row(step.name, step.looked_at, "\n".join(step.done), "\n".join(step.waits))
    console.print(table)
    if report.waiting:
        console.print(f"[red]{report.waiting} wait for a person[/red]: decide, then run restore-check again")
    else:
        console.print(
            "[green]nothing waits[/green]: NETWORKCORE_RECOVERY_MODE=working until `networkcore audit` agrees"
        )
