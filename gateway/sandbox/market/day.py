"""One market day from start to proof: the stack is started, the day is played, the figures are compared.

Owns: the state directory of a day and whether a run starts anew or goes on where an earlier one was stopped.
Must not know: what is printed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from gateway.sandbox.market.closing import DayResult, close_market
from gateway.sandbox.market.journal import Journal
from gateway.sandbox.market.opening import open_market
from gateway.sandbox.market.plan import MarketDay, plan_day
from gateway.sandbox.market.player import play
from gateway.sandbox.market.proof import Proof, prove
from gateway.sandbox.market.receiver import Receiver
from gateway.sandbox.market.stage import Addresses, Audience, Stage
from gateway.sandbox.stack import Stack, remove_state, running_stack

_FINISHED: Final = "finished"
_STARTING_STEPS: Final = 3  # PostgreSQL, the PSP, the gateway


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A finished day: what came of it, the proof, and where the logs of its processes are."""

    result: DayResult
    proof: Proof
    log_dir: Path


async def play_day(
    state_root: Path, *, sessions: int, seed: int, workers: int, audience: Audience, fresh: bool = False
) -> Played:
    """Play a day of `sessions` sessions on a stack of its own below `state_root`.

    An earlier run of the same day that was stopped goes on; a finished one is played anew.
    Raises GatewayError when the stack can't run or an interface answers what no party expects.
    """
    state_dir = state_root / f"demo-{sessions}-{seed}"
    if fresh or (state_dir / _FINISHED).exists():
        remove_state(state_dir)
    day = plan_day(sessions=sessions, seed=seed)
    async with staged(state_dir, day=day, workers=workers, audience=audience) as (stage, stack):
        await open_market(stage)
        await play(stage)
        result = await close_market(stage)
        log_dir = stack.log_dir
    (state_dir / _FINISHED).touch()
    return Played(result=result, proof=prove(result.evidence), log_dir=log_dir)


@asynccontextmanager
async def staged(
    state_dir: Path, *, day: MarketDay, workers: int, audience: Audience, gateway_port: int | None = None
) -> AsyncIterator[tuple[Stage, Stack]]:
    """Hold the stack, the parties' server and the parties' clients over a state directory."""
    audience.chapter("Starting the stack", steps=_STARTING_STEPS + workers)
    async with running_stack(
        state_dir,
        workers=workers,
        gateway_port=gateway_port,
        on_ready=audience.advance,
        tell=audience.tell,
    ) as stack:
        receiver = Receiver(state_dir / "webhooks.jsonl")
        await receiver.start(port=stack.plan.receiver_port)
        try:
            with Journal(state_dir / "journal.jsonl") as journal:
                async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as http:
                    addresses = Addresses(
                        gateway_url=stack.gateway_url,
                        psp_url=stack.psp_url,
                        admin_api_key=stack.plan.admin_api_key,
                        psp_api_key=stack.psp_api_key,
                    )
                    yield (
                        Stage(
                            day=day,
                            journal=journal,
                            receiver=receiver,
                            http=http,
                            addresses=addresses,
                            audience=audience,
                        ),
                        stack,
                    )
        finally:
            await receiver.stop()
