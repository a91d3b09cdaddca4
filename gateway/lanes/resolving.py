"""Calls to the PSP whose outcome is unknown, asked again when their time has come.

Owns: the round over lanes. Must not know which question is asked.
"""

from dataclasses import dataclass

from gateway.payments.resolver import Resolver


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvingLane:
    """Runs the resolver over every lane with a question that is due."""

    resolver: Resolver
    name: str = "resolve"

    async def run_once(self) -> int:
        """One round. Returns how many calls were asked."""
        return sum([await self.resolver.run_lane(lane) for lane in await self.resolver.lanes()])
