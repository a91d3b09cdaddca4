"""A small market day of the sandbox, whole: it is run, closed and proved."""

from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from gateway.migrations import migrate
from sandbox.market.day import running_market
from sandbox.market.payout_phase import close_market
from sandbox.market.plan import plan_day
from sandbox.market.progress import NotesOnly
from sandbox.market.proof import prove
from sandbox.market.runner import run_day
from sandbox.market.setup import open_market


async def proved_day(
    directory: Path, database: Any, *, beside: AbstractAsyncContextManager[Any] | None = None
) -> None:
    """Run 24 sessions to the end of their day and check its proof; `beside` is open while they charge."""
    async with running_market(
        directory,
        day=plan_day(sessions=24, seed=9),
        workers=2,
        migrate=migrate,
        progress=NotesOnly(Console(stderr=True)),
        database=database,
    ) as (context, _stack):
        await open_market(context)
        async with beside or nullcontext():
            await run_day(context)
        result = await close_market(context)
    proof = prove(result.evidence)
    assert proof.ok, proof
