"""`sandbox-contract-pool`: serve the stand-in for a contract certificate pool until it is stopped."""

import asyncio
import json
import signal
from pathlib import Path

import click
from aiohttp import web

from gateway.cli.process import run_async
from sandbox.contract_pool import ContractPoolServer, PooledContract, read_contracts


@click.command("sandbox-contract-pool")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=0, show_default="a free one", type=click.IntRange(0, 65_535), help="Port to listen on."
)
@click.option(
    "--token", default="sandbox-pool-token", show_default=True, help="Bearer token clients must present."
)
@click.option(
    "--contracts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON: each vehicle's request in base64, with its emaid and exi_response.",
)
def command(*, host: str, port: int, token: str, contracts: Path | None) -> None:
    """Serve a pool that delivers the given contracts; prints one JSON line with its URL when ready."""
    known: dict[str, PooledContract] = {}
    if contracts is not None:
        try:
            known = read_contracts(contracts.read_text(encoding="utf-8"))
        except ValueError as error:
            raise click.UsageError(f"--contracts {contracts}: {error}") from None
    try:
        run_async(_serve(ContractPoolServer(token=token, contracts=known), host=host, port=port))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from None


async def _serve(server: ContractPoolServer, *, host: str, port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopped.set)
    runner = web.AppRunner(server.application())
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0]
        click.echo(json.dumps({"ready": True, "url": f"http://{bound[0]}:{bound[1]}", "port": bound[1]}))
        await stopped.wait()
    finally:
        await runner.cleanup()
