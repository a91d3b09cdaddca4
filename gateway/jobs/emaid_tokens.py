"""Makes contracts into tokens that CPOs can be sent, find and ask about.

Owns: that the contracts' changes are followed. Must not know which token a contract is.
"""

from dataclasses import dataclass

from gateway.ocpi.emaid_tokens import EmaidTokenService


@dataclass(frozen=True, slots=True, kw_only=True)
class EmaidTokenJob:
    """Follows the changes of contracts, up to a hundred in a round."""

    tokens: EmaidTokenService
    name: str = "emaid_tokens"

    async def run_once(self) -> int:
        """One round. Returns how many changes were read."""
        return await self.tokens.follow()
