"""The credentials handshake as its sender: connecting to a peer that invited us, renewing, and leaving.

Owns: the order of steps. Token B is committed before the peer is called, since it calls us back with it
while it answers; the result is committed after. Must not know: what the connection is for.
Source: OCPI credentials, Registration; the sequence of the sender.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import transaction
from gateway.errors import GatewayError
from gateway.ids import new_id
from gateway.ocpi.client import PeerAnswer, PeerCaller, PeerVersion, discover, in_either_spelling
from gateway.ocpi.credentials import agreed_roles, new_token, own_credentials
from gateway.ocpi.errors import OcpiError, OcpiRejectionError, PeerRejectedError
from gateway.ocpi.handshake import Handshake
from gateway.ocpi.repository import peers
from gateway.ocpi.repository.peers import PeerRecord, PeerState, Registration
from gateway.ocpi.services import OcpiServices
from gateway.outbound import check_url

_log = structlog.get_logger(__name__)
_encoder: Final = msgspec.json.Encoder()


async def connect(
    services: OcpiServices,
    *,
    party_id: str,
    versions_url: str,
    token_a: str,
    version: OcpiVersion,
    also: Sequence[str] = (),
    raw_token: bool | None = None,
) -> UUID:
    """Register with a peer that gave us its token A; returns the id of the peer, now registered.

    Args:
        services: of this edge; our versions endpoint must be reachable for the peer meanwhile.
        party_id: slug of the party that the peer is; it must exist.
        versions_url: the peer's versions endpoint.
        token_a: the token that the peer gave us for the handshake.
        version: the version to use.
        also: further parties that the peer speaks for.
        raw_token: the peer wants tokens bare (True) or in Base64 (False); None tries Base64, then bare.

    Raises:
        PeerUnreachableError, PeerRejectedError: the peer did not do its part; nothing remains registered.
        asyncpg.ForeignKeyViolationError: a party does not exist.
    """
    async with _handshake(services, party_id) as handshake:
        caller, remote, url = await _greet(
            services,
            handshake,
            token_a,
            versions_url=versions_url,
            version=version,
            raw_token=raw_token,
        )
        return await _offer(
            services, caller, remote, url, party_id=party_id, versions_url=versions_url, also=also
        )


async def _offer(
    services: OcpiServices,
    caller: PeerCaller,
    remote: PeerVersion,
    url: str,
    *,
    party_id: str,
    versions_url: str,
    also: Sequence[str],
) -> UUID:
    """Send our credentials to the peer, and keep what it answers."""
    version = remote.version
    token_b, peer_id = new_token(), new_id()
    async with transaction(services.pool) as connection:
        await peers.invite(
            connection,
            peer_id=peer_id,
            party_id=party_id,
            parties=also,
            token_hash=peers.hash_token(token_b),
            now=services.clock.now(),
        )
        peer = await peers.load_peer(connection, peer_id=peer_id)
    if peer is None:
        raise PeerRejectedError("the invitation vanished", http_status=0, code=None)
    try:
        body = _encoder.encode(own_credentials(services, version=version, token=token_b))
        answer = await caller.call("POST", url, body=body)
        await _keep(
            services, peer, caller, remote, answer, versions_url=versions_url, token_hash=peer.token_hash
        )
    except GatewayError:
        async with transaction(services.pool) as connection:
            await peers.end(connection, peer_id=peer_id, now=services.clock.now())
        raise
    _log.info("ocpi_peer_connected", party_id=party_id, version=version.value)
    return peer_id


def _handshake(services: OcpiServices, party_id: str) -> Handshake:
    return Handshake(pool=services.pool, clock=services.clock, party_id=party_id)


async def _greet(
    services: OcpiServices,
    handshake: Handshake,
    token_a: str,
    *,
    versions_url: str,
    version: OcpiVersion,
    raw_token: bool | None,
) -> tuple[PeerCaller, PeerVersion, str]:
    """The caller whose spelling of the token the peer knows, its version and its credentials module."""
    caller = handshake.watched(
        PeerCaller(
            http=services.outbound,
            token=token_a,
            raw_token=bool(raw_token),
            allow_private=services.allow_private_peers,
        )
    )
    if raw_token is not None:
        return caller, *await _credentials_url(caller, versions_url=versions_url, version=version)
    caller, (remote, url) = await in_either_spelling(
        caller, lambda tried: _credentials_url(tried, versions_url=versions_url, version=version)
    )
    return caller, remote, url


async def renew(services: OcpiServices, *, peer_id: UUID, version: OcpiVersion | None = None) -> None:
    """Exchange new tokens and endpoints by PUT, in the same version or another. Raises as `connect`."""
    peer, caller, versions_url = await _registered(services, peer_id)
    async with _handshake(services, peer.party_id) as handshake:
        await _renew(services, peer, handshake.watched(caller), versions_url=versions_url, version=version)


async def _renew(
    services: OcpiServices,
    peer: PeerRecord,
    caller: PeerCaller,
    *,
    versions_url: str,
    version: OcpiVersion | None,
) -> None:
    wanted = version or peer.version or OcpiVersion.V2_2_1
    remote, url = await _credentials_url(caller, versions_url=versions_url, version=wanted)
    token_b = new_token()
    token_hash = peers.hash_token(token_b)
    async with transaction(services.pool) as connection:
        await peers.expect_token(connection, peer=peer, token_hash=token_hash)
    renewed = replace(peer, token_hash=token_hash)
    try:
        body = _encoder.encode(own_credentials(services, version=wanted, token=token_b))
        answer = await caller.call("PUT", url, body=body)
    except OcpiError:
        async with transaction(services.pool) as connection:
            await peers.expect_token(connection, peer=renewed, token_hash=peer.token_hash)
        raise
    await _keep(services, renewed, caller, remote, answer, versions_url=versions_url, token_hash=token_hash)


async def leave(services: OcpiServices, *, peer_id: UUID) -> None:
    """End the registration by DELETE, on our side whatever the peer answers.

    Raises as `connect` for its answer.
    """
    peer, caller, versions_url = await _registered(services, peer_id)
    try:
        version = peer.version or OcpiVersion.V2_2_1
        async with _handshake(services, peer.party_id) as handshake:
            watched = handshake.watched(caller)
            _, url = await _credentials_url(watched, versions_url=versions_url, version=version)
            await watched.call("DELETE", url)
    finally:
        async with transaction(services.pool) as connection:
            await peers.end(connection, peer_id=peer_id, now=services.clock.now())
        services.peers.forget()


async def _registered(services: OcpiServices, peer_id: UUID) -> tuple[PeerRecord, PeerCaller, str]:
    async with services.pool.acquire() as connection:
        peer = await peers.load_peer(connection, peer_id=peer_id)
    if (
        peer is None
        or peer.state is not PeerState.REGISTERED
        or peer.outbound is None
        or peer.versions_url is None
    ):
        raise PeerRejectedError("this peer is not registered", http_status=0, code=None)
    return peer, caller_of(services, peer), peer.versions_url


def caller_of(services: OcpiServices, peer: PeerRecord, *, party_id: str | None = None) -> PeerCaller:
    """Calls to a registered peer, with the routing headers of functional modules from our first role.

    Without `party_id` they are to the peer itself: to a hub for all its parties (Broadcast Push, GET All).
    """
    country, code = (party_id or peer.hub_party_id or peer.party_id).split("-", 1)
    own = services.roles[0]
    routing = {
        "OCPI-to-party-id": code,
        "OCPI-to-country-code": country,
        "OCPI-from-party-id": own.party_code,
        "OCPI-from-country-code": own.country_code,
    }
    return PeerCaller(
        http=services.outbound,
        token=services.token_of(peer),
        raw_token=peer.outbound_raw,
        allow_private=services.allow_private_peers,
        routing={} if peer.version is OcpiVersion.V2_1_1 else routing,
    )


async def _credentials_url(
    caller: PeerCaller, *, versions_url: str, version: OcpiVersion
) -> tuple[PeerVersion, str]:
    remote = await discover(caller, versions_url=versions_url, version=version)
    url = None if remote is None else remote.url("credentials", "SENDER")
    if remote is None or url is None:
        raise PeerRejectedError(
            f"the peer offers no credentials module in {version}", http_status=200, code=3003
        )
    return remote, url


async def _keep(
    services: OcpiServices,
    peer: PeerRecord,
    caller: PeerCaller,
    remote: PeerVersion,
    answer: PeerAnswer,
    *,
    versions_url: str,
    token_hash: bytes,
) -> None:
    theirs: Any = answer.data
    token = theirs.get("token") if isinstance(theirs, dict) else None
    if not isinstance(token, str) or not token:
        raise PeerRejectedError("the peer's credentials hold no token", http_status=200, code=None)
    try:
        roles, hub_party_id = agreed_roles(theirs, version=remote.version, peer=peer)
        url = theirs.get("url") if isinstance(theirs.get("url"), str) else versions_url
        check_url(url, allow_private=services.allow_private_peers)
    except OcpiRejectionError as error:
        raise PeerRejectedError(f"the peer's credentials: {error}", http_status=200, code=None) from None
    registration = Registration(
        version=remote.version,
        versions_url=url,
        outbound_raw=caller.raw_token,
        roles=roles,
        endpoints=remote.endpoints,
        hub_party_id=hub_party_id,
    )
    async with transaction(services.pool) as connection:
        done = await peers.register(
            connection,
            peer=peer,
            registration=registration,
            sealed=services.sealed(peer, token),
            token_hash=token_hash,
            now=services.clock.now(),
        )
        if done:
            await services.plan_pulls(connection, peer_id=peer.id)
    services.peers.forget()
    if not done:
        raise PeerRejectedError("another handshake of this peer finished first", http_status=0, code=None)
