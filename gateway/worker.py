"""The worker: runs every job in a loop of its own until it has to stop.

Owns: pauses, failures and the graceful end of jobs. Must not know what a job does. A job that fails is
logged, waits, and goes on: what it had leased is leased again. At a stop each job finishes its round. The
jobs of the worker's own shards are run by jobs/work_loop.py instead.
"""

import asyncio
import gc
from collections.abc import Sequence
from typing import Final

import structlog

from gateway.jobs.job import Job
from gateway.jobs.job_acts import acting_as
from gateway.jobs.job_loops import JobLoops, rest
from gateway.work_signal import WorkSignal, wait_for

LONGEST_PAUSE_S: Final = 2.0
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
) -> None:
    """Run every job until `stop` is set; returns when each has finished its round.

    A job that has nothing to do rests for `poll_s`, then twice as long each time, up to two seconds (or
    `poll_s`, if that is longer); `signal` ends a rest that is longer than `poll_s`.
    """
    shared, given = loops or JobLoops(), signal or WorkSignal()
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            running = _run(job, stop=stop, poll_s=poll_s, loops=shared, signal=given)
            group.create_task(running, name=f"job {job.name}")


async def _run(job: Job, *, stop: asyncio.Event, poll_s: float, loops: JobLoops, signal: WorkSignal) -> None:
    structlog.contextvars.bind_contextvars(job=job.name)
    loops.turned(job.name, None)
    with acting_as(job.name):
        await _turn(job, stop=stop, poll_s=poll_s, loops=loops, signal=signal)
    loops.rounds.end(job.name)


async def _turn(job: Job, *, stop: asyncio.Event, poll_s: float, loops: JobLoops, signal: WorkSignal) -> None:
    pause = poll_s
    while not stop.is_set():
        mark = signal.mark()
        try:
            done = await job.run_once()
        except Exception as error:  # noqa: BLE001 - the process boundary of a job: the others must go on
            await rest(stop, loops.turned(job.name, error))
            continue
        loops.turned(job.name, None)
        if done:
            signal.give()
            pause = poll_s
            await rest(stop, 0)
            continue
        began = asyncio.get_running_loop().time()
        if await wait_for(mark, stop=stop, seconds=pause):
            await rest(stop, max(0.0, began + poll_s - asyncio.get_running_loop().time()))
            pause = poll_s
        else:
            pause = min(2 * pause, max(LONGEST_PAUSE_S, poll_s))


def collect_garbage_less_often(*, serving: bool = False) -> None:
    """Batches and requests make many short-lived values without cycles; what is loaded at the start stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OF_A_GATEWAY if serving else _OF_A_WORKER, 50, 100)
