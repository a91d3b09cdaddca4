"""`networkcore work`: the workers until they are told to stop."""

import click

from gateway.commands.process import run_process


@click.command(name="work")
def command() -> None:
    """Run the workers until SIGTERM; what is leased is finished first.

    Settings come from the environment (NETWORKCORE_...), secret files and NETWORKCORE_CONFIG. Run as many
    as needed.
    """
    from gateway.app import run_workers  # noqa: PLC0415 - loaded by this command only

    run_process(run_workers)
