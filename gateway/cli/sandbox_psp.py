"""`sandbox-psp`: serve the Stripe-compatible sandbox PSP until it is stopped."""

import asyncio
import json
import signal
from pathlib import Path

import click

from gateway.cli.process import run_async
from gateway.payments.psp.stripe.event_types import ACCOUNT_EVENTS, CONNECT_EVENTS
from sandbox.stripe.server import start_psp
from sandbox.stripe.settings import (
    DEFAULT_API_KEY,
    DEFAULT_PUBLISHABLE_KEY,
    EVERY_EVENT,
    PspSettings,
    SettingsError,
)


@click.command("sandbox-psp")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=0, show_default="a free one", type=click.IntRange(0, 65_535), help="Port to listen on."
)
@click.option(
    "--state", type=click.Path(dir_okay=False, path_type=Path), help="SQLite file; without it, memory only."
)
@click.option(
    "--api-key", default=DEFAULT_API_KEY, show_default=True, help="The secret key clients must present."
)
@click.option("--webhook-url", help="Where events are delivered.")
@click.option(
    "--webhook-secret-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the secret that signs events.",
)
@click.option(
    "--webhook-events",
    type=click.Choice(["every", "gateway"]),
    default="every",
    show_default=True,
    help="Which events the webhook receives: every one, or those that the gateway handles.",
)
@click.option("--publishable-key", default=DEFAULT_PUBLISHABLE_KEY, show_default=True, help="The apps' key.")
@click.option(
    "--settlement-days", default=2, show_default=True, help="Days until captured money is available."
)
@click.option("--payout-days", default=1, show_default=True, help="Days until a payout is paid.")
@click.option("--topup-days", default=0, show_default=True, help="Days until a top-up arrives.")
@click.option(
    "--card-features/--no-card-features",
    default=True,
    show_default=True,
    help="Whether the account may raise holds and capture above them (interchange-plus pricing).",
)
@click.option(
    "--settlement-currency",
    "settlement_currencies",
    multiple=True,
    help="A currency in which the account receives money; give the default first. Others are converted.",
)
def sandbox_psp(  # noqa: PLR0917 - click passes by keyword
    host: str,
    port: int,
    state: Path | None,
    api_key: str,
    webhook_url: str | None,
    webhook_secret_file: Path | None,
    webhook_events: str,
    publishable_key: str,
    settlement_days: int,
    payout_days: int,
    topup_days: int,
    card_features: bool,  # noqa: FBT001 - click passes by keyword
    settlement_currencies: tuple[str, ...],
) -> None:
    """Serve a Stripe-compatible PSP with test money; prints one JSON line with its URL when ready."""
    secret = None if webhook_secret_file is None else webhook_secret_file.read_text(encoding="utf-8").strip()
    every = webhook_events == "every"
    try:
        settings = PspSettings(
            api_keys=(api_key,),
            state_path=state,
            webhook_url=webhook_url,
            webhook_secret=secret,
            webhook_events=EVERY_EVENT if every else tuple(sorted(ACCOUNT_EVENTS)),
            connect_webhook_events=() if every else tuple(sorted(CONNECT_EVENTS)),
            publishable_key=publishable_key,
            settlement_days=settlement_days,
            payout_days=payout_days,
            topup_days=topup_days,
            card_features=card_features,
            settlement_currencies=tuple(one.lower() for one in settlement_currencies),
        )
        run_async(_serve(settings, host=host, port=port))
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from None


async def _serve(settings: PspSettings, *, host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with start_psp(settings, host=host, port=port) as psp:
        click.echo(json.dumps({"ready": True, "url": psp.url, "port": psp.port}))
        await stop.wait()
