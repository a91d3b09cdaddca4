"""The credentials module: registration (token A becomes B and C), renewal, and its end.

Owns: the handshake as its receiver. Must not know: what a registered peer will push.
The peer is called back between reading the request and writing the result, never inside a transaction.
Source: OCPI credentials (2.2.1, 2.3.0: roles; 2.1.1: one party).
"""

import base64
import re
import secrets
from collections.abc import Sequence
from typing import Any, Final

import structlog

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import transaction
from gateway.errors import GatewayError
from gateway.ocpi.client import PeerCaller, PeerVersion, discover, in_either_spelling
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse
from gateway.ocpi.errors import OcpiRejectionError, PeerRejectedError, PeerUnreachableError, StatusCode
from gateway.ocpi.handshake import Handshake
from gateway.ocpi.hub_clients import hub_of
from gateway.ocpi.repository import peers
from gateway.ocpi.repository.peers import PeerRecord, PeerRole, PeerState, Registration
from gateway.ocpi.request_bodies import Tree, objects, text
from gateway.ocpi.services import OcpiServices
from gateway.outbound import check_url

_log = structlog.get_logger(__name__)
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,64}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_PARTY: Final = re.compile(r"[A-Z0-9]{3}")
_MAX_ROLES: Final = 200
_TOKEN_BYTES: Final = 32


def new_token() -> str:
    """A credentials token of 256 random bits, within the 64 printable characters that OCPI allows."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


async def get_credentials(call: OcpiRequest) -> OcpiResponse:
    """GET: our credentials as the peer has them; its own token, since we keep no token in the clear."""
    token = _token_of(call)
    return OcpiResponse(data=own_credentials(call.services, version=call.version, token=token))


async def post_credentials(call: OcpiRequest) -> OcpiResponse:
    """POST: finish a registration that token A opened. 405 when the peer is registered already."""
    if call.peer.state is PeerState.REGISTERED:
        raise _not_allowed("this peer is registered already; renew with PUT")
    return await _recorded(call)


async def put_credentials(call: OcpiRequest) -> OcpiResponse:
    """PUT: new credentials, endpoints or version; the old token ends. 405 before registration."""
    if call.peer.state is not PeerState.REGISTERED:
        raise _not_allowed("this peer is not registered yet; register with POST")
    return await _recorded(call)


async def delete_credentials(call: OcpiRequest) -> OcpiResponse:
    """DELETE: end the registration; what was pushed stays. 405 before registration."""
    if call.peer.state is not PeerState.REGISTERED:
        raise _not_allowed("this peer is not registered")
    async with transaction(call.services.pool) as connection:
        await peers.end(connection, peer_id=call.peer.id, now=call.services.clock.now())
    call.services.peers.forget()
    _log.info("ocpi_peer_ended", party_id=call.peer.party_id)
    return OcpiResponse()


async def _recorded(call: OcpiRequest) -> OcpiResponse:
    """Agree, and keep each call with its answer."""
    services, method, path = call.services, call.request.method, call.request.path
    async with Handshake(pool=services.pool, clock=services.clock, party_id=call.peer.party_id) as handshake:
        try:
            response = await _agree(call, handshake)
        except OcpiRejectionError as error:
            handshake.received(method, path, error)
            raise
        handshake.received(method, path, f"registered in version {call.version.value}")
    return response


async def _agree(call: OcpiRequest, handshake: Handshake) -> OcpiResponse:
    credentials = call.body("credentials").tree
    token = text(credentials, "token", limit=64)
    if _TOKEN.fullmatch(token) is None:
        raise OcpiRejectionError("$.token: expected 1 to 64 printable ASCII characters without spaces")
    url = _checked_url(text(credentials, "url", limit=255), services=call.services)
    roles, hub_party_id = agreed_roles(credentials, version=call.version, peer=call.peer)
    remote, raw_token = await _call_back(call, handshake, token=token, url=url)
    registration = Registration(
        version=call.version,
        versions_url=url,
        outbound_raw=raw_token,
        roles=roles,
        endpoints=remote.endpoints,
        hub_party_id=hub_party_id,
    )
    fresh = new_token()
    async with transaction(call.services.pool) as connection:
        done = await peers.register(
            connection,
            peer=call.peer,
            registration=registration,
            sealed=call.services.sealed(call.peer, token),
            token_hash=peers.hash_token(fresh),
            now=call.services.clock.now(),
        )
        if done:
            await call.services.plan_pulls(connection, peer_id=call.peer.id)
    call.services.peers.forget()
    if not done:
        raise _not_allowed("another handshake of this peer finished first")
    _log.info("ocpi_peer_registered", party_id=call.peer.party_id, version=call.version.value)
    return OcpiResponse(data=own_credentials(call.services, version=call.version, token=fresh))


def _checked_url(url: str, *, services: OcpiServices) -> str:
    try:
        return check_url(url, allow_private=services.allow_private_peers)
    except GatewayError as error:
        raise OcpiRejectionError(f"$.url: {error}") from None


async def _call_back(
    call: OcpiRequest, handshake: Handshake, *, token: str, url: str
) -> tuple[PeerVersion, bool]:
    """Fetch the peer's endpoints with its token, written as the peer writes ours, else the other way.

    Raises Refusal: 3001 when its API can't be used, 3002 when it lacks this version, 3003 without endpoints.
    """
    caller = handshake.watched(
        PeerCaller(
            http=call.services.outbound,
            token=token,
            raw_token=call.sent_raw,
            allow_private=call.services.allow_private_peers,
        )
    )
    try:
        caller, remote = await in_either_spelling(
            caller, lambda tried: discover(tried, versions_url=url, version=call.version)
        )
    except (PeerUnreachableError, PeerRejectedError) as error:
        _log.warning("ocpi_peer_unusable", party_id=call.peer.party_id, error=str(error))
        raise OcpiRejectionError(
            f"your versions endpoint could not be used: {error}", code=StatusCode.CLIENT_API_UNUSABLE
        ) from None
    if remote is None:
        raise OcpiRejectionError(
            f"your versions endpoint does not list {call.version.value}", code=StatusCode.UNSUPPORTED_VERSION
        )
    if not remote.endpoints:
        raise OcpiRejectionError(
            "your version details list no endpoint", code=StatusCode.NO_MATCHING_ENDPOINTS
        )
    return remote, caller.raw_token


def agreed_roles(
    credentials: Tree, *, version: OcpiVersion, peer: PeerRecord
) -> tuple[Sequence[PeerRole], str | None]:
    """The roles that a peer's credentials name, none of them another's, and the hub that it is, if any.

    A hub names every party that it reaches (2.3.0); those that were not agreed are left out. Raises Refusal.
    """
    roles = _roles(credentials, version=version)
    hub_party_id = hub_of(credentials, roles, version=version)
    if hub_party_id is None:
        _check_roles(roles, peer=peer)
        return roles, None
    return [role for role in roles if role.role != "CPO" or role.party_id in peer.parties], hub_party_id


def _roles(credentials: Tree, *, version: OcpiVersion) -> tuple[PeerRole, ...]:
    """The roles that credentials name; 2.1.1 names one party without a role, and here that is a CPO."""
    if version is OcpiVersion.V2_1_1:
        return (_role(credentials, at="$", role="CPO"),)
    listed = objects(credentials, "roles", required=True)
    if len(listed) > _MAX_ROLES:
        raise OcpiRejectionError(f"$.roles: expected at most {_MAX_ROLES} roles")
    roles = tuple(
        _role(row, at=f"$.roles[{position}]", role=text(row, "role", at=f"$.roles[{position}]", limit=20))
        for position, row in enumerate(listed)
    )
    if len({(role.role, role.party_id) for role in roles}) < len(roles):
        raise OcpiRejectionError("$.roles: a role with the same country and party occurs twice")
    return roles


def _role(row: Tree, *, at: str, role: str) -> PeerRole:
    country = text(row, "country_code", at=at, limit=2).upper()
    party = text(row, "party_id", at=at, limit=3).upper()
    if _COUNTRY.fullmatch(country) is None or _PARTY.fullmatch(party) is None:
        raise OcpiRejectionError(
            f"{at}: expected a country code of two letters and a party id of three characters"
        )
    details = row.get("business_details")
    name = (
        text(details, "name", at=f"{at}.business_details", limit=100) if isinstance(details, dict) else party
    )
    return PeerRole(role=role.upper(), country_code=country, party_code=party, name=name)


def _check_roles(roles: tuple[PeerRole, ...], *, peer: PeerRecord) -> None:
    """Refuse a CPO role that was not agreed.

    Whoever holds an invitation may not claim another party's objects.
    """
    for position, role in enumerate(roles):
        if role.role == "CPO" and role.party_id not in peer.parties:
            raise OcpiRejectionError(
                f"$.roles[{position}]: {role.country_code}/{role.party_code} isn't agreed on this connection;"
                f" agreed are {', '.join(peer.parties)}"
            )


def own_credentials(services: OcpiServices, *, version: OcpiVersion, token: str) -> dict[str, Any]:
    """Our credentials object as the version writes it; 2.1.1 holds our first role only."""
    own = {"token": token, "url": services.versions_url}
    roles = services.roles
    if version is OcpiVersion.V2_1_1:
        return {
            **own,
            "business_details": {"name": roles[0].name},
            "party_id": roles[0].party_code,
            "country_code": roles[0].country_code,
        }
    return {
        **own,
        "roles": [
            {
                "role": role.role,
                "party_id": role.party_code,
                "country_code": role.country_code,
                "business_details": {"name": role.name},
            }
            for role in roles
        ],
    }


def _token_of(call: OcpiRequest) -> str:
    """The token that this request came with, in the clear: the one we gave."""
    sent = call.request.headers.get("Authorization", "").partition(" ")[2].strip()
    if call.sent_raw:
        return sent
    return base64.b64decode(sent).decode("utf-8").rstrip("\r\n")


def _not_allowed(why: str) -> OcpiRejectionError:
    return OcpiRejectionError(why, code=StatusCode.CLIENT_ERROR, http_status=405)
