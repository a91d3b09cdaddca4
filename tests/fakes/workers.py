"""A worker within a test: shards owned, work found, webhooks sent, until it is stopped."""

import asyncio
from collections.abc import Sequence

from gateway.jobs.job_loops import JobLoops
from gateway.jobs.shard_job import ShardWork
from gateway.jobs.shard_ownership import ShardOwnership
from gateway.jobs.webhook_delivery import EventFanOutJob, WebhookDeliveryJob
from gateway.jobs.work_loop import WorkLoop
from gateway.work_signal import WorkSignal


async def run_webhooks(
    job: WebhookDeliveryJob, *, stop: asyncio.Event, others: Sequence[ShardWork] = ()
) -> None:
    """What `gateway/processes.py` runs of a worker: fan-out and delivery, over the shards that it owns."""
    pool, clock = job.delivery.pool, job.delivery.clock
    signal, loops = WorkSignal(), JobLoops()
    shards = ShardOwnership(pool=pool, clock=clock, signal=signal)
    jobs = [EventFanOutJob(pool=pool, clock=clock, delivery=job.delivery), job, *others]
    found = WorkLoop(pool=pool, clock=clock, shards=shards, jobs=jobs, loops=loops, signal=signal)
    async with asyncio.TaskGroup() as group:
        group.create_task(shards.run(stop=stop, loops=loops))
        group.create_task(found.run(stop=stop))
        group.create_task(job.run(stop=stop, fences=shards.fences, poll_s=2.0, loops=loops))
    await shards.give_back_all()
