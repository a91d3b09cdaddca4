"""PSP requests whose outcome is unknown, resolved when they are due.

Owns: the round over shards. Must not know what a request asks for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import override

from gateway.jobs.shard_job import ShardJob
from gateway.payments.outcome_resolver import OutcomeResolver


@dataclass(slots=True, kw_only=True)
class OutcomeResolutionJob(ShardJob):
    """Runs the resolver over every shard with a question that is due."""

    resolver: OutcomeResolver

    @property
    @override
    def kind(self) -> str:
        """As the look for work names it."""
        return "outcome_resolution"

    @override
    async def run_shards(self, fences: Mapping[int, int]) -> Mapping[int, int]:
        """One round. Returns how many requests of each shard were looked up."""
        return {shard: await self.resolver.run_shard(shard, fence=fence) for shard, fence in fences.items()}
