"""`networkcore serve`: the gateway on its port until it is told to stop."""

import click

from gateway.commands.process import run_process


@click.command(name="serve")
def command() -> None:
    """Run the gateway until SIGTERM; what is in flight is finished first.

    Settings come from the environment (NETWORKCORE_...), secret files and NETWORKCORE_CONFIG. With
    NETWORKCORE_WORKERS_IN_PROCESS=true the workers run here too.
    """
    from gateway.app import run_gateway  # noqa: PLC0415 - loaded by this command only

    run_process(run_gateway)
