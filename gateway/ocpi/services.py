"""What the OCPI edge works with, built once by the composition root."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import aiohttp

from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.limits.address_limit import AddressLimiter
from gateway.ocpi.peer_cache import PeerCache
from gateway.ocpi.repository import pulls
from gateway.ocpi.repository.peers import PeerRecord, PeerRole
from gateway.ocpi.token_authorization import TokenAuthorizationService
from gateway.webhooks.repository import SecretRecord
from gateway.webhooks.secret_cipher import SecretCipher

HUB_CLIENTS: Final = "hubclientinfo"
PULLED: Final = (HUB_CLIENTS, "locations", "tariffs", "sessions", "cdrs")  # a tariff before its CDRs
FIRST_PULL_AFTER: Final = timedelta(minutes=10)
PLATFORM_ROLE: Final = PeerRole(role="EMSP", country_code="CH", party_code="NWC", name="networkcore")


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiServices:
    """Everything a handler may use.

    Args:
        public_url: how peers reach us, without a trailing slash and without `/ocpi`.
        outbound: the guarded session of gateway.outbound, for the handshake and for pulls.
        roles: as whom we appear in credentials; data, so that one platform may be eMSP and CPO.
        allow_private_peers: peers may answer on http and on private addresses (sandbox, tests).
        secrets: seals the tokens that we send.
        addresses: the limit of callers whose token is not known, shared with the API.
        authorizer: decides real-time authorizations; without it every token is unknown.
    """

    pool: Pool
    clock: Clock
    public_url: str
    outbound: aiohttp.ClientSession
    roles: tuple[PeerRole, ...] = (PLATFORM_ROLE,)
    allow_private_peers: bool = False
    max_body_bytes: int = 1_048_576
    body_seconds: float = 20.0
    page_limit: int = 100
    authorizer: TokenAuthorizationService | None = None
    addresses: AddressLimiter = field(default_factory=AddressLimiter)
    peers: PeerCache = field(default_factory=PeerCache)
    secrets: SecretCipher = field(default_factory=SecretCipher)

    def token_of(self, peer: PeerRecord) -> str:
        """The token that we send to a registered peer; empty where there is none."""
        return "" if peer.outbound is None else self.secrets.decrypt(peer.id, peer.outbound).decode()

    def sealed(self, peer: PeerRecord, token: str) -> SecretRecord:
        """A token that we shall send to the peer, as it is stored."""
        return self.secrets.encrypt(peer.id, token.encode())

    async def plan_pulls(self, connection: Connection, *, peer_id: UUID) -> None:
        """Have a newly registered peer's lists read, a little later: most peers push theirs first."""
        await pulls.plan_peer(
            connection,
            peer_id=peer_id,
            modules=PULLED,
            now=self.clock.now(),
            due_at=self.clock.wall_now() + FIRST_PULL_AFTER,
        )

    @property
    def versions_url(self) -> str:
        """Our versions endpoint, as credentials name it."""
        return f"{self.public_url}/ocpi/versions"
