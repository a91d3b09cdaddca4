"""The frame around every OCPI handler: who calls, what was sent, what goes back, what is kept of a rejection.

Owns: authentication by credentials token, bounded reading of bodies, the mapping of errors to answers.
Must not know: any module. The frame answers every request itself, so that no other error format shows up
here.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import asyncpg
import structlog
from aiohttp import web

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import transaction
from gateway.errors import DatabaseUnreachableError, RateLimitExceededError
from gateway.ocpi.envelope import OcpiResponse, message_headers, reject, respond
from gateway.ocpi.errors import OcpiError, OcpiRejectionError, StatusCode
from gateway.ocpi.repository import objects
from gateway.ocpi.repository.peers import PeerRecord, PeerState, find_peer, hash_token
from gateway.ocpi.request_bodies import Body, Tree, check_identifier, last_updated, read_object
from gateway.ocpi.services import OcpiServices

_log = structlog.get_logger(__name__)
_MAX_TOKEN_LENGTH: Final = 1024
_MAX_LOGGED: Final = 300
_MAX_REJECTED_BYTES: Final = 262_144
_WRITES: Final = frozenset({"POST", "PUT", "PATCH"})
_RETRIED: Final = (
    asyncpg.UniqueViolationError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)


class OcpiAccess(StrEnum):
    """Whom a handler serves."""

    INVITED = "invited"  # token A as well: versions and credentials
    REGISTERED = "registered"


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiRequest:
    """One authenticated request.

    `raw` is its body's bytes, empty for GET and DELETE; `sent_raw`: the token came bare.
    """

    services: OcpiServices
    request: web.Request
    peer: PeerRecord
    version: OcpiVersion
    raw: bytes
    sent_raw: bool

    def body(self, name: str) -> Body:
        """The body as a checked JSON object called `name` in errors. Raises Refusal."""
        return read_object(self.raw, name=name)

    def segment(self, name: str, *, limit: int = 36) -> str:
        """A CiString out of the URL. Raises Refusal."""
        return check_identifier(self.request.match_info[name], at=f"URL segment {name}", limit=limit)

    def changed_at(self, tree: Tree) -> datetime:
        """The object's last_updated. Raises OcpiRejectionError."""
        return last_updated(tree, version=self.version, now=self.services.clock.now())

    def party(self) -> str:
        """The slug of the party in the URL, when it is the caller's.

        Raises Refusal: HTTP 404 otherwise, as if it did not exist (OCPI transport, Client Owned Object
            Push, Errors).
        """
        country, party = self.request.match_info["country_code"], self.request.match_info["party_id"]
        return self.own_party(country, party, http_status=web.HTTPNotFound.status_code)

    def own_party(self, country: str, party: str, *, http_status: int = 200) -> str:
        """The slug of `country` and `party` when the caller speaks for it. Raises Refusal."""
        slug = f"{country}-{party}".upper()
        if slug not in self.peer.parties:
            raise OcpiRejectionError(
                f"{country[:2]}/{party[:3]} is not a party of this connection;"
                " push under your own country and party",
                http_status=http_status,
            )
        return slug


Handler = Callable[[OcpiRequest], Awaitable[OcpiResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiEndpoint:
    """A handler in its frame; `handle` is what aiohttp calls.

    `version` None takes it from the URL; `module` names it in records.
    """

    services: OcpiServices
    handler: Handler
    module: str
    version: OcpiVersion
    access: OcpiAccess = OcpiAccess.REGISTERED
    routed: bool = True

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request; only cancellation passes."""
        headers = message_headers(request, routed=self.routed and self.version is not OcpiVersion.V2_1_1)
        began = time.monotonic()
        try:
            return respond(await self._answer(request), headers=headers, now=self.services.clock.now())
        except OcpiRejectionError as caught:
            rejection = caught
        except Exception as error:  # noqa: BLE001 - the boundary: a bug answers as one, and is logged
            rejection = _failure(error)
            _log.exception("ocpi_request_failed", module=self.module)
        _log.info(
            "ocpi_request_rejected",
            module=self.module,
            method=request.method,
            http_status=rejection.http_status,
            ocpi_status=int(rejection.code),
            reason=rejection.text[:_MAX_LOGGED],
            elapsed_ms=round((time.monotonic() - began) * 1000, 1),
        )
        return reject(rejection, headers=headers, now=self.services.clock.now())

    async def _answer(self, request: web.Request) -> OcpiResponse:
        peer, sent_raw = await self._authenticate(request)
        structlog.contextvars.bind_contextvars(party_id=peer.party_id)
        raw = await _read_body(request, services=self.services) if request.method in _WRITES else b""
        call = OcpiRequest(
            services=self.services,
            request=request,
            peer=peer,
            version=self.version,
            raw=raw,
            sent_raw=sent_raw,
        )
        try:
            try:
                return await self.handler(call)
            except _RETRIED:  # two pushes of one object met; the second now finds the first
                return await self.handler(call)
        except OcpiRejectionError as rejection:
            if raw and self.access is OcpiAccess.REGISTERED:
                await self._keep_rejected(call, rejection)
            raise

    async def _authenticate(self, request: web.Request) -> tuple[PeerRecord, bool]:
        scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "token" or not 0 < len(credential) <= _MAX_TOKEN_LENGTH:
            self._check_address(request)
            self.services.addresses.count(request)
            raise _unauthorized("expected the header 'Authorization: Token <credentials token>'")
        bare, decoded = hash_token(credential), _decoded(credential)
        hashes = [bare] if decoded is None else [hash_token(decoded), bare]
        peer = self.services.peers.find(hashes)
        if peer is None:
            if not self.services.peers.recognizes(hashes):
                self._check_address(request)
            async with self.services.pool.acquire() as connection:
                peer = await find_peer(connection, token_hashes=hashes)
            if peer is not None and peer.state is PeerState.REGISTERED:
                self.services.peers.remember(peer)
        if peer is None or (peer.state is not PeerState.REGISTERED and self.access is OcpiAccess.REGISTERED):
            self.services.addresses.count(request)
            raise _unauthorized("this credentials token is unknown, or registration is not finished")
        return peer, peer.token_hash == bare

    def _check_address(self, request: web.Request) -> None:
        try:
            self.services.addresses.check(request)
        except RateLimitExceededError as exceeded:
            raise OcpiRejectionError(
                str(exceeded),
                code=StatusCode.CLIENT_ERROR,
                http_status=web.HTTPTooManyRequests.status_code,
                headers=exceeded.headers,
            ) from None

    async def _keep_rejected(self, call: OcpiRequest, rejection: OcpiRejectionError) -> None:
        """Keep what was rejected, so that nothing a CPO sent is lost without a trace.

        Never fails the answer.
        """
        found = call.request.match_info
        named = f"{found.get('country_code', '')}-{found.get('party_id', '')}".upper()
        try:
            async with transaction(self.services.pool) as connection:
                await objects.add_rejection(
                    connection,
                    party_id=named if named in call.peer.parties else call.peer.party_id,
                    module=self.module,
                    object_id=(found.get("object_id") or None),
                    version=self.version,
                    status_code=int(rejection.code),
                    reason=rejection.text.replace("\x00", "")[:2000],
                    raw=call.raw[:_MAX_REJECTED_BYTES],
                    url=call.request.path,
                    now=self.services.clock.now(),
                )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            _log.exception("ocpi_rejected_push_not_kept", module=self.module)


def _failure(error: Exception) -> OcpiRejectionError:
    """The answer to what went wrong on our side.

    A value that the database can't hold is the sender's; a database that is away is worth another try;
    anything else is a bug.
    """
    if isinstance(error, asyncpg.DataError):
        return OcpiRejectionError("a value is outside what can be kept")
    away = (asyncpg.PostgresError, asyncpg.InterfaceError, DatabaseUnreachableError, TimeoutError, OSError)
    if isinstance(error, away) and not isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return OcpiRejectionError(
            "temporarily unable to store this; send it again", code=StatusCode.SERVER_ERROR, http_status=503
        )
    if isinstance(error, OcpiError):
        return OcpiRejectionError("the request failed", code=StatusCode.SERVER_ERROR)
    return OcpiRejectionError(
        "an internal error; it is logged", code=StatusCode.SERVER_ERROR, http_status=500
    )


def _unauthorized(text: str) -> OcpiRejectionError:
    return OcpiRejectionError(text, code=StatusCode.CLIENT_ERROR, http_status=401)


def _decoded(credential: str) -> str | None:
    """The token inside Base64, without the line break that some encoders add.

    None when it is no Base64 text.
    """
    try:
        return base64.b64decode(credential, validate=True).decode("utf-8").rstrip("\r\n")
    except (binascii.Error, ValueError):
        return None


async def _read_body(request: web.Request, *, services: OcpiServices) -> bytes:
    limit = services.max_body_bytes
    too_large = OcpiRejectionError(f"the body is longer than {limit} bytes", http_status=413)
    if (request.content_length or 0) > limit:
        raise too_large
    parts = bytearray()
    try:
        async with asyncio.timeout(services.body_seconds):
            async for part in request.content.iter_any():
                parts += part
                if len(parts) > limit:
                    raise too_large
    except TimeoutError:
        raise OcpiRejectionError("the body did not arrive in time", http_status=408) from None
    return bytes(parts)


async def no_resource(_call: OcpiRequest) -> OcpiResponse:
    """Answer paths that no module has in OCPI's own format: 404. Raises OcpiRejectionError."""
    raise OcpiRejectionError(
        "no such resource; see the version details", code=StatusCode.CLIENT_ERROR, http_status=404
    )


def method_not_allowed(allowed: str) -> Handler:
    """Answer methods that a resource does not have: 405, in OCPI's own format."""

    async def answer(_call: OcpiRequest) -> OcpiResponse:
        raise OcpiRejectionError(
            f"expected {allowed}", code=StatusCode.CLIENT_ERROR, http_status=405, headers={"Allow": allowed}
        )

    return answer
