"""A worker within a test: shards owned, work found, webhooks sent, until it is stopped."""

import asyncio

from gateway.jobs.outcome_resolution import OutcomeResolutionJob
from gateway.jobs.shard_ownership import ShardOwnership
from gateway.jobs.shard_worker import ShardWorker
from gateway.jobs.webhook_delivery import WebhookDeliveryJob
from gateway.payments.outcome_resolver import OutcomeResolver


async def run_webhooks(job: WebhookDeliveryJob, *, stop: asyncio.Event) -> None:
    """A worker that does nothing but fan events out and deliver them."""
    shards = ShardOwnership(pool=job.delivery.pool, clock=job.delivery.clock)
    await ShardWorker(shards=shards, webhooks=job).run(stop=stop)


async def resolve_outcomes(resolver: OutcomeResolver) -> int:
    """The worker's round over requests that were not answered; how many were due."""
    return await OutcomeResolutionJob(pool=resolver.pool, clock=resolver.clock, resolver=resolver).run_once()
