"""The hubclientinfo module as receiver; a party that its hub can't reach is not called.

Owns: reading ClientInfo, which party is a hub, when a party behind one may be called. Must not know: what it
is called for.
Source: OCPI mod_hub_client_info (a configuration module: no routing headers), credentials (`hub_party_id`, in
2.2.1 the role HUB).
"""

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Connection, transaction
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse, timestamp
from gateway.ocpi.errors import OcpiRejectionError, StatusCode
from gateway.ocpi.repository import hub_clients, objects
from gateway.ocpi.repository.hub_clients import HubClientRecord
from gateway.ocpi.repository.peers import PeerRecord, PeerRole
from gateway.ocpi.request_bodies import Tree, optional_moment, optional_text, shown, text

_NAME: Final = "client info"
_HUB: Final = "HUB"
_PARTY: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{3}")


class ConnectionStatus(StrEnum):
    """ConnectionStatus of OCPI."""

    CONNECTED = "CONNECTED"
    OFFLINE = "OFFLINE"
    PLANNED = "PLANNED"
    SUSPENDED = "SUSPENDED"


def hub_of(credentials: Tree, roles: Sequence[PeerRole], *, version: OcpiVersion) -> str | None:
    """The slug of the hub that a peer is, None for a peer that is none. Raises OcpiRejectionError."""
    if version is OcpiVersion.V2_1_1:
        return None
    stated = (optional_text(credentials, "hub_party_id", limit=5) or "").upper()
    if not stated:
        return next((role.party_id for role in roles if role.role == _HUB), None)
    if _PARTY.fullmatch(stated) is None:
        raise OcpiRejectionError(
            "$.hub_party_id: expected a country code of two letters and a party id of three characters"
        )
    return f"{stated[:2]}-{stated[2:]}"


async def put_client_info(call: OcpiRequest) -> OcpiResponse:
    """PUT what the hub says of one of its clients; 201 when it is new."""
    slug, now = _slug(call), call.services.clock.now()
    client = read_client_info(call.body(_NAME).tree, now=now)
    if client.party_id != slug:
        raise OcpiRejectionError(f"$: is of {client.party_id}, the URL says {slug}")
    async with transaction(call.services.pool) as connection:
        created = await hub_clients.save_client(connection, client, peer_id=call.peer.id, now=now)
        if created is None:
            await objects.count_stale(connection, peer_id=call.peer.id)
    return OcpiResponse(http_status=201 if created else 200)


async def get_client_info(call: OcpiRequest) -> OcpiResponse:
    """GET what is kept of a client; HTTP 404 when the hub has said nothing of it.

    Of a client with several roles the one that changed last.
    """
    slug = _slug(call)
    async with call.services.pool.acquire() as connection:
        found = await hub_clients.list_clients_of_party(connection, peer_id=call.peer.id, party_id=slug)
    if not found:
        raise _unknown(slug)
    client = max(found, key=lambda one: one.last_updated)
    country, party = client.party_id.split("-", 1)
    return OcpiResponse(
        data={
            "country_code": country,
            "party_id": party,
            "role": client.role,
            "status": client.status,
            "last_updated": timestamp(client.last_updated),
        }
    )


def read_client_info(tree: Tree, *, now: datetime) -> HubClientRecord:
    """A ClientInfo, pushed or pulled. Raises OcpiRejectionError.

    A missing last_updated is now: an example of the specification has none.
    """
    named = f"{text(tree, 'country_code', limit=2)}{text(tree, 'party_id', limit=3)}".upper()
    if _PARTY.fullmatch(named) is None:
        raise OcpiRejectionError("$.country_code, $.party_id: expected two letters and three characters")
    status = text(tree, "status", limit=20).upper()
    if status not in set(ConnectionStatus):
        raise OcpiRejectionError(f"$.status: expected {', '.join(ConnectionStatus)}, got {shown(status)}")
    return HubClientRecord(
        party_id=f"{named[:2]}-{named[2:]}",
        role=text(tree, "role", limit=20).upper(),
        status=status,
        last_updated=min(optional_moment(tree, "last_updated") or now, now),
    )


async def why_not_reached(connection: Connection, peer: PeerRecord, *, party_id: str) -> str | None:
    """Why a party behind a hub may not be called; None: it may, or the peer is no hub, or said nothing of it.

    A party is reached while one of its roles is connected.
    """
    if peer.hub_party_id is None:
        return None
    found = await hub_clients.list_clients_of_party(connection, peer_id=peer.id, party_id=party_id)
    if not found or any(client.status == ConnectionStatus.CONNECTED for client in found):
        return None
    return f"the hub {peer.hub_party_id} says that {party_id} is {found[0].status}"


def _slug(call: OcpiRequest) -> str:
    """The client in the URL. Raises OcpiRejectionError where the peer is no hub."""
    found = call.request.match_info
    slug = f"{found['country_code']}-{found['party_id']}".upper()
    if call.peer.hub_party_id is None:
        raise OcpiRejectionError(
            "this connection is to no hub; its credentials name none (hub_party_id, or the role HUB)",
            code=StatusCode.CLIENT_ERROR,
            http_status=404,
        )
    return slug


def _unknown(slug: str) -> OcpiRejectionError:
    return OcpiRejectionError(
        f"nothing is known of {slug[:6]}; PUT it", code=StatusCode.INVALID_PARAMETERS, http_status=404
    )
