"""The part of a worker that goes by shards: leases renewed, work found and done, webhooks sent.

Owns: which loops that takes, and their order at the end. Must not know what a job does.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.database import TRANSIENT
from gateway.jobs.job_loops import JobLoops
from gateway.jobs.shard_job import ShardWork
from gateway.jobs.shard_ownership import ShardOwnership
from gateway.jobs.webhook_delivery import NEW_EVENT, EventFanOutJob, NewEventJob, WebhookDeliveryJob
from gateway.jobs.work_loop import WorkLoop
from gateway.jobs.work_schedule import FIRST_REST_S, LONGEST_PAUSE_S, WorkSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWorker:
    """Runs `jobs` and the webhooks in the shards that `shards` owns.

    `gathered`: kinds whose rounds wait for more, and how many seconds apart they begin at least.
    """

    shards: ShardOwnership
    webhooks: WebhookDeliveryJob
    jobs: Sequence[ShardWork] = ()
    gathered: Mapping[str, float] = field(default_factory=dict)
    loops: JobLoops = field(default_factory=JobLoops)

    async def run(self, *, stop: asyncio.Event) -> None:
        """Work until `stop`; then the rounds under way end, and the shards are another worker's at once."""
        shards, webhooks = self.shards, self.webhooks
        events = EventFanOutJob(pool=shards.pool, clock=shards.clock, delivery=webhooks.delivery)
        work = WorkLoop(
            pool=shards.pool,
            clock=shards.clock,
            shards=shards,
            jobs=[*self.jobs, events, NewEventJob(delivery=webhooks.delivery), webhooks],
            loops=self.loops,
            signal=shards.signal,
            schedule=WorkSchedule(longest_rests={NEW_EVENT: FIRST_REST_S}, gathered=self.gathered),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(shards.run(stop=stop, loops=self.loops), name="shards")
            group.create_task(work.run(stop=stop), name="work")
            sending = webhooks.run(stop=stop, fences=shards.fences, poll_s=LONGEST_PAUSE_S, loops=self.loops)
            group.create_task(sending, name="delivery")
        with suppress(*TRANSIENT):  # then the leases end by themselves
            await shards.give_back_all()
