"""The worker: runs every job in a loop of its own until it has to stop.

Owns: pauses, failures and the graceful end of jobs. Must not know what a job does. A job that fails is
logged, waits, and goes on: what it had leased is leased again. At a stop each job finishes its round.
"""

import asyncio
import gc
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

import structlog

from gateway.acts.act import JobAct, acting
from gateway.jobs.job import Job
from gateway.jobs.job_loops import JobLoops, rest
from gateway.task_kinds import TaskKind

# Every session passes through these, and naming the job is a statement of each transaction. They write no
# table whose changes are acts; only a connected account's events may, and their handler names the job.
WRITE_NO_WATCHED_TABLE: Final = frozenset(
    {
        TaskKind.COMPLETE_SESSION,
        TaskKind.CAPTURE_SESSION,
        TaskKind.CHARGE_RESIDUAL,
        TaskKind.CLEAR_SESSION,
        TaskKind.BOOK_CORRECTION,
        TaskKind.HANDLE_PSP_EVENT,
    }
)
_COLLECTOR_THRESHOLDS: Final = (200_000, 50, 100)


async def run_jobs(
    jobs: Sequence[Job], *, stop: asyncio.Event, poll_s: float, loops: JobLoops | None = None
) -> None:
    """Run every job until `stop` is set; returns when each has finished its round."""
    shared = loops or JobLoops()
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(_run(job, stop=stop, poll_s=poll_s, loops=shared), name=f"job {job.name}")


async def _run(job: Job, *, stop: asyncio.Event, poll_s: float, loops: JobLoops) -> None:
    structlog.contextvars.bind_contextvars(job=job.name)
    loops.turned(job.name, None)
    named = nullcontext() if job.name in WRITE_NO_WATCHED_TABLE else acting(JobAct(name=job.name))
    with named:
        await _turn(job, stop=stop, poll_s=poll_s, loops=loops)
    loops.rounds.end(job.name)


async def _turn(job: Job, *, stop: asyncio.Event, poll_s: float, loops: JobLoops) -> None:
    while not stop.is_set():
        try:
            pause = 0.0 if await job.run_once() else poll_s
        except Exception as error:  # noqa: BLE001 - the process boundary of a job: the others must go on
            pause = loops.turned(job.name, error)
        else:
            loops.turned(job.name, None)
        await rest(stop, pause)


def collect_garbage_less_often() -> None:
    """Batches make many short-lived values without cycles, and what is loaded at the start stays anyway."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
