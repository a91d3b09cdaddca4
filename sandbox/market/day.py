"""One market day from start to proof: the stack is started, the day is run, the figures are compared.

Owns: the state directory of a day and whether a run starts from the beginning or continues an interrupted
one. Must not know: what is printed.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import aiohttp

from sandbox.errors import SandboxError
from sandbox.market.checkpoints import Checkpoints
from sandbox.market.console_links import ConsoleLink, console_links
from sandbox.market.context import Addresses, ProgressReporter, SimulationContext
from sandbox.market.payout_phase import DayResult, close_market
from sandbox.market.plan import DAY_START, MarketDay, plan_day
from sandbox.market.proof import Proof, prove
from sandbox.market.receiver import Receiver
from sandbox.market.runner import run_day
from sandbox.market.setup import accept_known_webhooks, open_market
from sandbox.stack import Migrate, Stack, StackDatabase, remove_state, running_stack

_FINISHED: Final = "finished"
_NO_SETTINGS: Final[Mapping[str, str]] = {}
_STARTING_STEPS: Final = 3  # PostgreSQL, the PSP, the gateway


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """A finished day: its results, the proof, and the directory of its processes' logs."""

    result: DayResult
    proof: Proof
    log_dir: Path


async def run_market_day(
    state_root: Path,
    *,
    sessions: int,
    seed: int,
    workers: int,
    migrate: Migrate,
    progress: ProgressReporter,
    fresh: bool = False,
) -> FinishedRun:
    """Run a day of `sessions` sessions on a stack of its own below `state_root`.

    An interrupted run of the same day continues; a finished one is run again from the start.
    Raises SandboxError when the stack can't run or an interface gives an unexpected answer.
    """
    state_dir = state_root / f"demo-{sessions}-{seed}"
    if fresh or (state_dir / _FINISHED).exists():
        remove_state(state_dir)
    day = plan_day(sessions=sessions, seed=seed)
    async with running_market(state_dir, day=day, workers=workers, migrate=migrate, progress=progress) as (
        context,
        stack,
    ):
        await open_market(context)
        await run_day(context)
        result = await close_market(context)
        log_dir = stack.log_dir
    (state_dir / _FINISHED).touch()
    return FinishedRun(result=result, proof=prove(result.evidence), log_dir=log_dir)


@asynccontextmanager
async def shown_market_day(
    state_root: Path,
    *,
    sessions: int,
    seed: int,
    migrate: Migrate,
    progress: ProgressReporter,
) -> AsyncIterator[tuple[str, list[ConsoleLink]]]:
    """Run the stack of a finished day again, to look at it.

    Yields the day's address in the console, and links that sign in and lead there. No worker runs: the
    day stays as it was. Raises SandboxError when that day has not been run to its end.
    """
    state_dir = state_root / f"demo-{sessions}-{seed}"
    if not (state_dir / _FINISHED).exists():
        raise SandboxError(f"there is no finished day in {state_dir}; run networkcore demo first")
    day = plan_day(sessions=sessions, seed=seed)
    async with running_market(state_dir, day=day, workers=0, migrate=migrate, progress=progress) as (
        context,
        stack,
    ):
        shown = f"/console?{urlencode({'range': 'today', 'day': DAY_START.date().isoformat()})}"
        links = await console_links(
            context.http, gateway_url=stack.gateway_url, admin_key=stack.plan.admin_api_key, opens=shown
        )
        yield f"{stack.gateway_url}{shown}", links


@asynccontextmanager
async def running_market(
    state_dir: Path,
    *,
    day: MarketDay,
    workers: int,
    migrate: Migrate,
    progress: ProgressReporter,
    console_processes: int = 0,
    gateway_port: int | None = None,
    settings: Mapping[str, str] = _NO_SETTINGS,
    database: StackDatabase | None = None,
) -> AsyncIterator[tuple[SimulationContext, Stack]]:
    """Run the stack, the parties' server and the parties' clients over a state directory."""
    progress.start_phase("Starting the stack", steps=_STARTING_STEPS + workers)
    async with running_stack(
        state_dir,
        migrate=migrate,
        workers=workers,
        console_processes=console_processes,
        gateway_port=gateway_port,
        settings=settings,
        database=database,
        on_ready=progress.advance,
        on_event=progress.note,
    ) as stack:
        receiver = Receiver(state_dir / "webhooks.jsonl")
        try:
            with Checkpoints(state_dir / "checkpoints.jsonl") as checkpoints:
                accept_known_webhooks(checkpoints, receiver)
                await receiver.start(port=stack.plan.receiver_port)
                async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as http:
                    addresses = Addresses(
                        gateway_url=stack.gateway_url,
                        psp_url=stack.psp_url,
                        admin_api_key=stack.plan.admin_api_key,
                        psp_api_key=stack.psp_api_key,
                    )
                    yield (
                        SimulationContext(
                            day=day,
                            checkpoints=checkpoints,
                            receiver=receiver,
                            http=http,
                            addresses=addresses,
                            progress=progress,
                        ),
                        stack,
                    )
        finally:
            await receiver.stop()
