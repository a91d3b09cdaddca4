"""`networkcore serve`: the gateway on its port until it is stopped."""

import click

from gateway.cli.process import run_process


@click.command(name="serve")
def command() -> None:
    """Run the gateway until SIGTERM; requests in flight are finished first.

    Settings come from the environment (NETWORKCORE_...), secret files and NETWORKCORE_CONFIG. With
    NETWORKCORE_WORKERS_IN_PROCESS=true the workers run here too.
    """
    from gateway.processes import run_gateway  # noqa: PLC0415 - loaded by this command only

    run_process(run_gateway)
