"""The peers of the OCPI edge in PostgreSQL: invitations, registrations, roles, endpoints.

Owns: translation between rows and values. Must not know: HTTP, or when a handshake is allowed. Tokens that
others send us are known by their hash alone; the one we send is kept, since it must be sent.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Connection, named_queries
from gateway.webhooks.repository import SecretRecord

_sql = named_queries("gateway", "ocpi_peers.sql")


class PeerState(StrEnum):
    """The state of a peer's registration; `ended` is final."""

    INVITED = "invited"
    REGISTERED = "registered"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRecord:
    """A platform that may call us.

    `parties` are the slugs whose objects it may push; `version` is None until registered; `outbound` is
    the token that we send, as it is stored; `hub_party_id` is
    the slug of the hub that it is, None where it is none.
    """

    id: UUID
    party_id: str
    state: PeerState
    version: OcpiVersion | None
    versions_url: str | None
    outbound: SecretRecord | None
    outbound_raw: bool
    token_hash: bytes
    parties: tuple[str, ...]
    hub_party_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRole:
    """A role of a platform: `role` as in OCPI (CPO, EMSP, HUB, ...), codes in upper case."""

    role: str
    country_code: str
    party_code: str
    name: str

    @property
    def party_id(self) -> str:
        """The party's slug here: `NL-ABC`."""
        return f"{self.country_code}-{self.party_code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEndpoint:
    """Where a module of the peer answers; `role` is SENDER or RECEIVER."""

    module: str
    role: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What a handshake agreed: how the token that we send is written, their version, roles and endpoints.

    `hub_party_id`: the slug of the hub that the peer is.
    """

    version: OcpiVersion
    versions_url: str
    outbound_raw: bool
    roles: Sequence[PeerRole]
    endpoints: Sequence[PeerEndpoint]
    hub_party_id: str | None = None


def hash_token(token: str) -> bytes:
    """The SHA-256 under which a token of ours is known; it has 256 random bits, so no salt is needed."""
    return hashlib.sha256(token.encode("utf-8")).digest()


async def invite(
    connection: Connection,
    *,
    peer_id: UUID,
    party_id: str,
    parties: Sequence[str],
    token_hash: bytes,
    now: datetime,
) -> None:
    """Keep an invitation of `party_id` that may speak for `parties`.

    Raises asyncpg.ForeignKeyViolationError.
    """
    await _sql.invite_peer(connection, id=peer_id, party_id=party_id, token_hash=token_hash, now=now)
    for allowed in sorted({party_id, *parties}):
        await _sql.allow_party(connection, peer_id=peer_id, party_id=allowed)


async def find_peer(connection: Connection, *, token_hashes: Sequence[bytes]) -> PeerRecord | None:
    """The peer that one of the hashes belongs to, unless it has ended."""
    return _peer(await _sql.find_peer(connection, token_hashes=list(token_hashes)))


async def load_peer(connection: Connection, *, peer_id: UUID) -> PeerRecord | None:
    """One peer, whatever its state."""
    return _peer(await _sql.load_peer(connection, id=peer_id))


async def find_peer_of_party(connection: Connection, *, party_id: str) -> PeerRecord | None:
    """The registered platform that speaks for `party_id`, or None."""
    return _peer(await _sql.peer_of_party(connection, party_id=party_id))


async def list_registered_peers(connection: Connection) -> list[PeerRecord]:
    """Every registered peer, the oldest first."""
    return [peer async for row in _sql.registered_peers(connection) if (peer := _peer(row)) is not None]


async def list_receivers(connection: Connection, *, module: str) -> list[PeerRecord]:
    """Every registered peer that takes pushes of `module`, the oldest first."""
    rows = _sql.receiving_peers(connection, module=module)
    return [peer async for row in rows if (peer := _peer(row)) is not None]


async def register(
    connection: Connection,
    *,
    peer: PeerRecord,
    registration: Registration,
    sealed: SecretRecord,
    token_hash: bytes,
    now: datetime,
) -> bool:
    """Make `peer` registered with a new token; False when it changed since it was read.

    Call it in a transaction. `sealed` is the token that we send, as it is to be stored.

    The newest registration of an invited party ends its earlier ones.
    """
    done = await _sql.register_peer(
        connection,
        id=peer.id,
        expected_state=peer.state.value,
        expected_hash=peer.token_hash,
        token_hash=token_hash,
        outbound_token=_text(sealed),
        encryption_key=sealed.key,
        outbound_raw=registration.outbound_raw,
        version=registration.version.value,
        versions_url=registration.versions_url,
        hub_party_id=registration.hub_party_id,
        now=now,
    )
    if done is None:
        return False
    await _sql.end_predecessors(connection, party_id=peer.party_id, id=peer.id, now=now)
    await _sql.forget_roles(connection, peer_id=peer.id)
    await _sql.forget_endpoints(connection, peer_id=peer.id)
    for role in registration.roles:
        await _sql.add_role(
            connection,
            peer_id=peer.id,
            role=role.role,
            country_code=role.country_code,
            party_code=role.party_code,
            name=role.name,
        )
    for endpoint in registration.endpoints:
        await _sql.add_endpoint(
            connection, peer_id=peer.id, module=endpoint.module, role=endpoint.role, url=endpoint.url
        )
    return True


async def expect_token(connection: Connection, *, peer: PeerRecord, token_hash: bytes) -> bool:
    """Change the token that a peer will send us; False when it changed since `peer` was read."""
    done = await _sql.expect_token(
        connection, id=peer.id, expected_hash=peer.token_hash, token_hash=token_hash
    )
    return done is not None


async def end(connection: Connection, *, peer_id: UUID, now: datetime) -> bool:
    """Unregister a peer; its tokens are forgotten. False when it had ended before."""
    return await _sql.end_peer(connection, id=peer_id, now=now) is not None


async def list_roles(connection: Connection, *, peer_id: UUID) -> list[PeerRole]:
    """The roles that a peer named in its credentials."""
    return [PeerRole(**dict(row)) async for row in _sql.peer_roles(connection, peer_id=peer_id)]


async def find_endpoint_url(connection: Connection, *, peer_id: UUID, module: str, role: str) -> str | None:
    """Where `module` of the peer answers in `role` (SENDER or RECEIVER), or None."""
    url: str | None = await _sql.endpoint_url(connection, peer_id=peer_id, module=module, role=role)
    return url


async def list_tokens_of_other_keys(
    connection: Connection, *, key: str | None
) -> list[tuple[UUID, SecretRecord]]:
    """Up to 1000 tokens that another key than this sealed, or none; their rows are locked."""
    return [(row["id"], _stored(row)) async for row in _sql.tokens_of_other_keys(connection, key=key)]


async def put_token(connection: Connection, peer_id: UUID, sealed: SecretRecord) -> None:
    """Store the token that we send to a peer in another form."""
    await _sql.put_outbound_token(
        connection, id=peer_id, outbound_token=_text(sealed), encryption_key=sealed.key
    )


def _text(sealed: SecretRecord) -> str:
    """A token in the clear as it is, a sealed one in Base64."""
    return sealed.content.decode() if sealed.key is None else base64.b64encode(sealed.content).decode()


def _stored(row: Any) -> SecretRecord:
    text, key = row["outbound_token"], row["encryption_key"]
    return SecretRecord(key=key, content=text.encode() if key is None else base64.b64decode(text))


def _peer(row: Any) -> PeerRecord | None:
    if row is None:
        return None
    return PeerRecord(
        id=row["id"],
        party_id=row["party_id"],
        state=PeerState(row["state"]),
        version=None if row["version"] is None else OcpiVersion(row["version"]),
        versions_url=row["versions_url"],
        outbound=None if row["outbound_token"] is None else _stored(row),
        outbound_raw=row["outbound_raw"],
        token_hash=row["token_hash"] or b"",
        parties=tuple(row["parties"]),
        hub_party_id=row["hub_party_id"],
    )
