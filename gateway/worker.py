"""The worker: runs every job in a loop of its own until it has to stop.

Owns: pauses, failures and the graceful end of jobs. Must not know what a job does. A job that fails is
logged, waits, and goes on: what it had leased is leased again. At a stop each job finishes its round.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from gateway.jobs.job import Job

_log = structlog.get_logger(__name__)
_FAILURE_PAUSE_S: Final = 1.0


async def run_jobs(jobs: Sequence[Job], *, stop: asyncio.Event, poll_s: float) -> None:
    """Run every job until `stop` is set; returns when each has finished its round."""
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(_run(job, stop=stop, poll_s=poll_s), name=f"job {job.name}")


async def _run(job: Job, *, stop: asyncio.Event, poll_s: float) -> None:
    structlog.contextvars.bind_contextvars(job=job.name)
    while not stop.is_set():
        try:
            pause = 0.0 if await job.run_once() else poll_s
        except Exception:  # noqa: BLE001 - the process boundary of a job: the others must go on
            _log.exception("job_failed")
            pause = _FAILURE_PAUSE_S
        await _rest(stop, pause)


async def _rest(stop: asyncio.Event, pause_s: float) -> None:
    if pause_s == 0:
        await asyncio.sleep(0)
        return
    try:
        async with asyncio.timeout(pause_s):
            await stop.wait()
    except TimeoutError:
        return
