"""PSP requests whose outcome is unknown, resolved when they are due.

Owns: the round over shards. Must not know what a request asks for.
"""

from dataclasses import dataclass

from gateway.payments.outcome_resolver import OutcomeResolver


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeResolutionJob:
    """Runs the resolver over every shard with a question that is due."""

    resolver: OutcomeResolver
    name: str = "outcome_resolution"

    async def run_once(self) -> int:
        """One round. Returns how many requests were looked up."""
        return sum([await self.resolver.run_shard(shard) for shard in await self.resolver.list_shards()])
