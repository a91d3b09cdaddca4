"""`networkcore demo`: one market day, from an empty directory to the proof."""

from pathlib import Path

import click

_DEFAULT_STATE = Path(".networkcore")


@click.command(name="demo")
@click.option(
    "--sessions", default=300, show_default=True, type=click.IntRange(12, 100_000), help="How many sessions."
)
@click.option(
    "--seed", default=1, show_default=True, type=click.IntRange(0), help="Another seed, another day."
)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 16), help="Worker processes.")
@click.option(
    "--fresh", is_flag=True, help="Start anew even if an earlier run of this day was stopped midway."
)
@click.option(
    "--state-dir",
    default=_DEFAULT_STATE,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the day's database and logs are kept.",
)
def command(*, sessions: int, seed: int, workers: int, fresh: bool, state_dir: Path) -> None:
    """Play one market day through the public interfaces, print what came of it, and prove it.

    Starts an embedded PostgreSQL, the sandbox PSP, the gateway and workers on loopback, and stops them at the
    end. A run that was stopped, however roughly, goes on where it was. Exit status 1 if the proof fails.
    """
    from rich.console import Console  # noqa: PLC0415 - loaded by this command only

    from gateway.commands.process import run_async  # noqa: PLC0415 - likewise
    from gateway.sandbox.market.day import play_day  # noqa: PLC0415 - likewise
    from gateway.sandbox.market.progress import TerminalAudience  # noqa: PLC0415 - likewise
    from gateway.sandbox.market.report import show  # noqa: PLC0415 - likewise

    console = Console()
    with TerminalAudience(console) as audience:
        played = run_async(
            play_day(state_dir, sessions=sessions, seed=seed, workers=workers, audience=audience, fresh=fresh)
        )
    show(console, played.result, played.proof)
    console.print(f"Logs: {played.log_dir}")
    if not played.proof.ok:
        raise SystemExit(1)
