"""The worker: runs every job in a loop of its own until it has to stop.

Owns: pauses, failures and the graceful end of jobs. Must not know what a job does. A job that fails is
logged, waits, and goes on: what it had leased is leased again. At a stop each job finishes its round. The
jobs of the worker's own shards are run by jobs/work_loop.py instead.
"""

import asyncio
import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.jobs.job import Job
from gateway.jobs.job_acts import acting_as
from gateway.jobs.job_loops import JobLoops, rest
from gateway.work_signal import WorkSignal, wait_for

LONGEST_PAUSE_S: Final = 2.0
LONGEST_DELAY_S: Final = 1.0  # of a job that others' work woke in vain, time and again
# New values that may be garbage before it is collected. A request's may hold its body: fewer of them wait.
_OF_A_WORKER: Final = 200_000
_OF_A_GATEWAY: Final = 20_000


async def run_jobs(
    jobs: Sequence[Job],
    *,
    stop: asyncio.Event,
    poll_s: float,
    loops: JobLoops | None = None,
    signal: WorkSignal | None = None,
    gathered: Mapping[str, float] | None = None,
) -> None:
    """Run every job until `stop` is set; returns when each has finished its round.

    A job that has nothing to do rests for `poll_s`, then twice as long each time, up to two seconds (or
    `poll_s`, if that is longer); `signal` ends a rest that is longer than `poll_s`. A job that the signal
    woke in vain is woken by it ever less often while others are at work, up to a second after its last
    round. Rounds of `gathered` jobs begin so many seconds apart at least.
    """
    shared, given = loops or JobLoops(), signal or WorkSignal()
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            turns = _Turns(
                stop=stop, poll_s=poll_s, gather_s=(gathered or {}).get(job.name, 0.0), signal=given
            )
            group.create_task(_run(job, turns, loops=shared), name=f"job {job.name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turns:
    """What makes a job's rounds follow each other; times in seconds."""

    stop: asyncio.Event
    poll_s: float
    gather_s: float
    signal: WorkSignal

    async def until(self, at: float) -> None:
        """Pause until the loop's clock shows `at`, or it is to stop."""
        await rest(self.stop, max(0.0, at - asyncio.get_running_loop().time()))


async def _run(job: Job, turns: _Turns, *, loops: JobLoops) -> None:
    structlog.contextvars.bind_contextvars(job=job.name)
    loops.turned(job.name, None)
    with acting_as(job.name):
        await _turn(job, turns, loops=loops)
    loops.rounds.end(job.name)


async def _turn(job: Job, turns: _Turns, *, loops: JobLoops) -> None:
    stop, poll_s = turns.stop, turns.poll_s
    pause = delay = poll_s
    while not stop.is_set():
        mark, round_at = turns.signal.mark(), asyncio.get_running_loop().time()
        try:
            done = await job.run_once()
        except Exception as error:  # noqa: BLE001 - the process boundary of a job: the others must go on
            await rest(stop, loops.turned(job.name, error))
            continue
        loops.turned(job.name, None)
        if done:
            turns.signal.give()
            pause = delay = poll_s
            await turns.until(round_at + turns.gather_s)
            continue
        rest_at = asyncio.get_running_loop().time()
        if await wait_for(mark, stop=stop, seconds=pause):
            await turns.until(rest_at + delay)
            pause, delay = poll_s, min(2 * delay, max(LONGEST_DELAY_S, poll_s))
        else:
            pause, delay = min(2 * pause, max(LONGEST_PAUSE_S, poll_s)), poll_s


def collect_garbage_less_often(*, serving: bool = False) -> None:
    """Batches and requests make many short-lived values without cycles; what is loaded at the start stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OF_A_GATEWAY if serving else _OF_A_WORKER, 50, 100)
