"""`sandbox-contract-pool`: serve the stand-in for a contract certificate pool until it is stopped."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from aiohttp import web

from gateway.cli.process import run_async
from sandbox.contract_pool.server import (
    AUDIENCE,
    ContractPoolServer,
    PoolClient,
    read_contracts,
    read_published,
)

_Found = TypeVar("_Found")


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
@click.option(
    "--published",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON: each eMAID with its certificates (pcid, certificate, valid_from, valid_to), to be looked up.",
)
@click.option("--provider", default="DE8AA", show_default=True, help="The provider whose contracts it reads.")
@click.option("--client-id", default="sandbox-emsp", show_default=True, help="Who may look contracts up.")
@click.option("--client-secret", default="sandbox-secret", show_default=True, help="The client's secret.")
def command(
    *,
    host: str,
    port: int,
    token: str,
    contracts: Path | None,
    published: Path | None,
    provider: str,
    client_id: str,
    client_secret: str,
) -> None:
    """Serve a pool that delivers the given contracts; prints one JSON line with its URL when ready."""
    server = ContractPoolServer(
        token=token,
        contracts=_read(contracts, "--contracts", read_contracts),
        published=_read(published, "--published", read_published),
        client=PoolClient(
            client_id=client_id, client_secret=client_secret, audience=AUDIENCE, provider=provider
        ),
    )
    try:
        run_async(_serve(server, host=host, port=port))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from None


def _read(file: Path | None, option: str, read: Callable[[str], dict[str, _Found]]) -> dict[str, _Found]:
    if file is None:
        return {}
    try:
        return read(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{option} {file}: {error}") from None


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
