"""`networkcore demo`: one simulated market day, from an empty directory to the proof."""

import asyncio
import shlex
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

_DEFAULT_STATE = Path(".networkcore")


@click.command(name="demo")
@click.option(
    "--sessions", default=300, show_default=True, type=click.IntRange(12, 100_000), help="Number of sessions."
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="The same seed gives the same day."
)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 16), help="Worker processes.")
@click.option(
    "--fresh",
    is_flag=True,
    help="Start from the beginning, even if an earlier run of this day was interrupted.",
)
@click.option(
    "--state-dir",
    default=_DEFAULT_STATE,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the database and the logs.",
)
@click.option(
    "--show", is_flag=True, help="Open the console on the finished day until Ctrl-C, in place of a run."
)
@click.option("--keep", is_flag=True, help="After the run, open the console on its day until Ctrl-C.")
def command(
    *, sessions: int, seed: int, workers: int, fresh: bool, state_dir: Path, show: bool, keep: bool
) -> None:
    """Run one simulated market day through the public interfaces, print the results, and verify them.

    Starts an embedded PostgreSQL, the sandbox PSP, the gateway and workers on this machine, and stops them at
    the end. All money is test money. Nothing leaves this machine. An interrupted run continues where it was
    stopped. It ends with the command that opens its day in the console, with --keep with the link itself. The
    exit status is 1 if the proof fails.
    """
    from rich.console import Console  # noqa: PLC0415 - loaded by this command only

    from gateway.cli.process import run_async  # noqa: PLC0415 - likewise
    from gateway.migrations import migrate  # noqa: PLC0415 - likewise
    from sandbox.market.day import run_market_day  # noqa: PLC0415 - likewise
    from sandbox.market.progress import TerminalProgress  # noqa: PLC0415 - likewise
    from sandbox.market.report import show as show_report  # noqa: PLC0415 - likewise

    console = Console()
    if show:
        run_async(_show(console, state_dir, sessions=sessions, seed=seed))
        return
    with TerminalProgress(console) as progress:
        finished_run = run_async(
            run_market_day(
                state_dir,
                sessions=sessions,
                seed=seed,
                workers=workers,
                migrate=migrate,
                progress=progress,
                fresh=fresh,
            )
        )
    show_report(console, finished_run.result, finished_run.proof)
    console.print(f"Logs: {finished_run.log_dir}")
    if keep:
        run_async(_show(console, state_dir, sessions=sessions, seed=seed))
    else:
        options = f"--sessions {sessions} --seed {seed} --state-dir {shlex.quote(str(state_dir))}"
        console.print(
            f"The day in the console: networkcore demo --show {options}", soft_wrap=True, highlight=False
        )
    if not finished_run.proof.ok:
        raise SystemExit(1)


async def _show(console: "Console", state_dir: Path, *, sessions: int, seed: int) -> None:
    """Run the finished day's stack, print the links to it in the console, and wait for Ctrl-C."""
    from gateway.cli.process import cancel_on_signals  # noqa: PLC0415 - loaded by this command only
    from gateway.migrations import migrate  # noqa: PLC0415 - likewise
    from sandbox.market.console_links import show_links  # noqa: PLC0415 - likewise
    from sandbox.market.day import shown_market_day  # noqa: PLC0415 - likewise
    from sandbox.market.progress import TerminalProgress  # noqa: PLC0415 - likewise

    stopped_by_signal = cancel_on_signals()
    try:
        async with AsyncExitStack() as stack:
            with TerminalProgress(console) as progress:
                address, links = await stack.enter_async_context(
                    shown_market_day(
                        state_dir, sessions=sessions, seed=seed, migrate=migrate, progress=progress
                    )
                )
            show_links(console, links)
            console.print(
                f"\n[bold]The day in the console[/bold] (Ctrl-C ends it)  {address}",
                soft_wrap=True,
                highlight=False,
            )
            await asyncio.Event().wait()  # until a signal cancels it
    except asyncio.CancelledError:
        if not stopped_by_signal.is_set():
            raise
