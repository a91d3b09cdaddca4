"""`networkcore dev`: the whole stack with an opened market, until it is stopped."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from sandbox.market.dev_market import DevMarket

_DEFAULT_STATE = Path(".networkcore")


@click.command(name="dev")
@click.option("--port", type=click.IntRange(1, 65_535), help="The gateway's port; a free one unless given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line once ready, and nothing else.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 16), help="Worker processes.")
@click.option(
    "--state-dir",
    default=_DEFAULT_STATE,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the database and the logs.",
)
def command(*, port: int | None, as_json: bool, workers: int, state_dir: Path) -> None:
    """Start the whole stack with a market to test against, until Ctrl-C.

    Operators in five countries have published locations and tariffs, a super app has a funded account, and
    vehicles have contracts. Each start creates a new market with test money. Nothing leaves this machine.
    """
    from gateway.cli.process import run_async  # noqa: PLC0415 - loaded by this command only

    run_async(_run(state_dir / "dev", port=port, as_json=as_json, workers=workers))


async def _run(state_dir: Path, *, port: int | None, as_json: bool, workers: int) -> None:
    from rich.console import Console  # noqa: PLC0415 - loaded by this command only

    from gateway.cli.process import cancel_on_signals  # noqa: PLC0415 - likewise
    from gateway.migrations import migrate  # noqa: PLC0415 - likewise
    from sandbox.market.dev_market import open_dev_market  # noqa: PLC0415 - likewise
    from sandbox.market.progress import NotesOnly, TerminalProgress  # noqa: PLC0415 - likewise

    console = Console()
    # A program reads the JSON line; what the start waits for goes to standard error.
    progress = NotesOnly(Console(stderr=True)) if as_json else TerminalProgress(console)
    stopped_by_signal = cancel_on_signals()
    try:
        async with AsyncExitStack() as stack:
            with progress:
                market = await stack.enter_async_context(
                    open_dev_market(
                        state_dir, workers=workers, gateway_port=port, migrate=migrate, progress=progress
                    )
                )
            if as_json:
                click.echo(json.dumps(market.to_json()))
            else:
                show(market, console)
            await asyncio.Event().wait()  # until a signal cancels it
    except asyncio.CancelledError:
        if not stopped_by_signal.is_set():
            raise


def show(market: "DevMarket", console: "Console") -> None:
    """Print for a person all of a market, and last the driver page's address as a QR code."""
    from gateway.driver_page.qr_codes import draw_terminal  # noqa: PLC0415 - loaded by this command only

    market.show(console)
    code = draw_terminal(market.driver_page_url)
    # Light on dark on every terminal; in a file the characters alone.
    console.print(code, style="bright_white on black", highlight=False, markup=False, soft_wrap=True)
