"""Contract pools that are asked: the port, and who may ask.

Owns: these values. Must not know HTTP, or what follows from an answer (pnc.contract_pool).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pnc.contract_pool import PooledCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolAccess:
    """Where a pool is, and the OAuth client (RFC 6749 section 4.4) that may ask it."""

    url: str
    token_url: str
    audience: str
    client_id: str
    client_secret: str = field(repr=False)


class ContractPoolDirectory(Protocol):
    """How one kind of contract pool is asked for a contract."""

    async def look_up(self, access: PoolAccess, emaid: str) -> Sequence[PooledCertificate]:
        """The certificates that the pool holds under an eMAID; none: it has no such contract.

        Raises PoolNotAnsweringError.
        """
        ...
