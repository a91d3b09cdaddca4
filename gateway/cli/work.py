"""`networkcore work`: the workers until they are stopped."""

import click

from gateway.cli.process import run_process


@click.command(name="work")
def command() -> None:
    """Run the workers until SIGTERM; leased tasks are finished first.

    Settings come from the environment (NETWORKCORE_...), secret files and NETWORKCORE_CONFIG. Run as many
    processes as needed.
    """
    from gateway.processes import run_workers  # noqa: PLC0415 - loaded by this command only

    run_process(run_workers)
