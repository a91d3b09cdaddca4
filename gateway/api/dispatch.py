"""One way through the edge for every endpoint: who, how often, what, once, answer.

Owns: the order of the guards and the bytes of the answer. Must not know any resource. The order matters:
nothing is read from a caller who is not known, and an Idempotency-Key is claimed only by a request that
was understood.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import Any, Final
from uuid import UUID

import structlog
from aiohttp import web
from pydantic import BaseModel

from gateway.acts.act import acting
from gateway.api import problems, request_bodies, versioning
from gateway.api.auth import Caller
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, KeyedWork, encode
from gateway.api.error_mapping import problem_for
from gateway.api.idempotency import (
    HEADER,
    IdempotencyGate,
    KeyRule,
    PendingResponse,
    RequestIdentity,
    kept_answer,
    read_key,
    request_hash,
)
from gateway.api.problems import CONTENT_TYPE, FieldError, ProblemDetails, ProblemError, document
from gateway.api.request_acts import act_of, reading_of
from gateway.api.request_log import CALLER
from gateway.api.services import ApiServices
from gateway.api.tls import peer_fingerprint
from gateway.errors import MalformedIdError
from gateway.ids import new_id, parse_id, shard_of
from gateway.key_claim import UNKEYED, KeptAnswer, KeyClaim
from gateway.limits.address_limit import AddressLimiter
from gateway.version_rules import bytes_in_newest, bytes_in_version, newer_query

# What belongs to a session, by the path of one, with its id's prefix: its keys lie in the session's shard.
_OF_A_SESSION: Final = (
    ("/v1/sessions/{id}/", "ses"),
    ("/v1/authorizations/{id}/", "auth"),
    ("/v1/disputes/{id}/", "dsp"),
)
REQUEST_ID: Final = web.RequestKey("request_id", str)
RATE_HEADERS: Final = web.RequestKey("rate_headers", dict)
_JSON: Final = "application/json"
_SERVER_ERROR: Final = 500
_log = structlog.get_logger(__name__)


class Dispatcher:
    """Turns endpoints into aiohttp handlers over one set of services."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        options = services.options
        self._gate = IdempotencyGate(pool=services.pool, clock=services.clock, lock=options.idempotency_lock)
        self._by_key = services.limits.limiter(options.key_rate)

    @property
    def addresses(self) -> AddressLimiter:
        """The limit of callers without a known key."""
        return self._services.addresses

    def handler(self, endpoint: ApiEndpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The aiohttp handler of one endpoint."""
        services = self._services

        async def handle(request: web.Request) -> web.StreamResponse:
            work = await self._answer(endpoint, request)
            if work.stream is not None:
                return web.Response(status=work.status, headers=work.headers, body=work.stream)
            shown = work.body
            if work.headers.get("Content-Type") == _JSON:
                shown = bytes_in_version(
                    services.options.versions, shown, version=request[versioning.VERSION]
                )
            return web.Response(status=work.status, headers=work.headers, body=shown)

        return handle

    async def _answer(self, endpoint: ApiEndpoint, request: web.Request) -> PendingResponse:
        caller = await self._caller(endpoint, request)
        structlog.contextvars.bind_contextvars(
            party_id=caller.party_id, key_prefix=caller.key, principal=caller.principal or caller.key
        )
        if not endpoint.public:
            request[CALLER] = caller
            request[RATE_HEADERS] = dict(self._by_key.take(caller.key, at=time.monotonic()))
        if not endpoint.public:
            caller.need(endpoint.scopes)
        version = self._version(endpoint, request, caller)
        request_bodies.check_address(request)
        raw = await self._read(endpoint, request)
        if endpoint.media_type is None:
            request_bodies.check_content(raw)
        key = read_key(request.headers.get(HEADER), rule=endpoint.key_rule)
        versions = self._services.options.versions
        newest = bytes_in_newest(versions, endpoint.operation, raw, version=version)
        body = _understood(endpoint, newest)
        query = _query(endpoint, newer_query(versions, endpoint.operation, request.query, version=version))

        def call_of(resource_id: UUID, claim: KeyClaim) -> ApiRequest:
            return ApiRequest(
                services=self._services,
                caller=caller,
                path=request.match_info,
                query=query,
                body=body,
                raw=newest,
                headers=request.headers,
                resource_id=resource_id,
                key=claim,
                api_version=version,
            )

        if key is None:
            return await self._work(endpoint, request, call_of(new_id(), UNKEYED))
        identity = RequestIdentity(
            party_id=caller.party_id,
            key=key,
            request_hash=request_hash(method=request.method, path=request.path_qs, body=raw),
            shard=_shard_of_path(endpoint.path, request.match_info),
        )
        if endpoint.keyed_work is None:
            return await self._gate.run(
                identity, lambda resource: self._work(endpoint, request, call_of(resource, UNKEYED))
            )
        keyed = endpoint.keyed_work
        return await self._gate.run_claiming(
            identity,
            lambda claim: self._keyed(keyed, request, call_of(claim.resource_id, claim)),
        )

    async def _keyed(self, keyed: KeyedWork, request: web.Request, call: ApiRequest) -> PendingResponse:
        """Work that claims its key with its first write and stores its answer with its last."""

        def answer(outcome: Any) -> PendingResponse:
            try:
                answered = keyed.answer(call, outcome)
            except ProblemError as error:
                return self.reject(error.rejection, request)
            return _work_of(answered, keep=answered.keep)

        def render(outcome: Any) -> KeptAnswer | None:
            rendered = answer(outcome)
            final = rendered.keep and not rendered.frees_key and rendered.status < _SERVER_ERROR
            return kept_answer(rendered) if final else None

        call.key.render = render
        try:
            async with asyncio.timeout(self._services.options.request_timeout_seconds):
                outcome = await keyed.perform(call)
        except Exception as error:  # a rejection is an answer to keep; the rest is raised again
            rejection = problem_for(error)
            if rejection is None:
                raise
            return self.reject(rejection, request)
        return answer(outcome) if call.key.kept is None else call.key.kept.sent

    def _version(self, endpoint: ApiEndpoint, request: web.Request, caller: Caller) -> str:
        options = self._services.options
        version = versioning.choose_version(
            options.versions, request.headers.get(versioning.HEADER), pinned=caller.api_version
        )
        versioning.note_version(
            request, options.versions, version, operation=endpoint.operation, base_url=options.base_url
        )
        return version

    async def _caller(self, endpoint: ApiEndpoint, request: web.Request) -> Caller:
        addresses = self._services.addresses
        if endpoint.public:
            addresses.check(request)
            addresses.count(request)
            return Caller(party_id="", key="public", scopes=frozenset())
        header = request.headers.get("Authorization")
        if not self._services.keys.recognizes(header):
            addresses.check(request)
        try:
            return await self._services.keys.authenticate(
                header, certificate=peer_fingerprint(request), address=addresses.origin(request)
            )
        except ProblemError:
            addresses.count(request)
            raise

    async def _read(self, endpoint: ApiEndpoint, request: web.Request) -> bytes:
        options = self._services.options
        if endpoint.method in {"GET", "DELETE"}:
            return b""
        if endpoint.body is not None and request.can_read_body:
            request_bodies.check_media_type(request)
        elif endpoint.media_type is not None and request.can_read_body:
            request_bodies.check_media_type(request, wanted=endpoint.media_type)
        limit = options.max_body_bytes if endpoint.large_body else options.small_body_bytes
        return await request_bodies.read_body(
            request, limit=limit, timeout_seconds=options.body_timeout_seconds
        )

    async def _work(self, endpoint: ApiEndpoint, request: web.Request, call: ApiRequest) -> PendingResponse:
        request_id = request.get(REQUEST_ID, "")
        act = act_of(endpoint, request, call, request_id=request_id)
        reading = reading_of(endpoint, request, call, request_id=request_id)
        try:
            async with asyncio.timeout(self._services.options.request_timeout_seconds):
                with nullcontext() if act is None else acting(act):
                    answer = await endpoint.handler(call)
                if reading is not None:
                    await self._services.acts.record_reading(reading)
        except Exception as error:  # a rejection is an answer to keep; the rest is raised again
            rejection = problem_for(error)
            if rejection is None:
                raise
            return self.reject(rejection, request)
        return _work_of(answer, keep=answer.keep and endpoint.key_rule is not KeyRule.NONE)

    def reject(self, rejection: ProblemDetails, request: web.Request) -> PendingResponse:
        """The bytes of a rejection."""
        shown = document(
            rejection, base_url=self._services.options.base_url, instance=request.get(REQUEST_ID, "")
        )
        return PendingResponse(
            status=rejection.kind.status,
            headers={"Content-Type": CONTENT_TYPE, **rejection.headers},
            body=encode(shown),
            keep=not rejection.kind.transient and rejection.kind.status < _SERVER_ERROR,
            frees_key=rejection.kind.frees_key,
        )


def _query(endpoint: ApiEndpoint, given: Mapping[str, str]) -> BaseModel | None:
    """The query string as the endpoint's model. Raises ProblemError `invalid_parameters`."""
    if endpoint.query is not None:
        return request_bodies.parse_query(endpoint.query, given)
    if given:
        faults = [{"loc": (name,), "type": "extra_forbidden", "msg": ""} for name in given]
        raise request_bodies.invalid(faults, given=dict(given))
    return None


def _understood(endpoint: ApiEndpoint, raw: bytes) -> Any:
    """The body as what it means; a body that may be left out has its defaults then."""
    if endpoint.parse is not None:
        return endpoint.parse(raw)
    if endpoint.body is None:
        return None
    if endpoint.body_required and not raw:
        raise ProblemError(
            problems.INVALID_PARAMETERS,
            "The body is missing; send a JSON object.",
            errors=[FieldError(pointer="", expected="a JSON object")],
        )
    return request_bodies.parse_body(endpoint.body, raw)


def _shard_of_path(path: str, given: Mapping[str, str]) -> int | None:
    """The shard of the session that a path names; None: it names none, or no id of ours."""
    prefix = next((kind for beginning, kind in _OF_A_SESSION if path.startswith(beginning)), None)
    try:
        return None if prefix is None else shard_of(parse_id(prefix, given["id"]))
    except MalformedIdError:
        return None


def _work_of(answer: ApiResponse, *, keep: bool) -> PendingResponse:
    headers: dict[str, str] = dict(answer.headers)
    if answer.version is not None:
        headers["ETag"] = f'"{answer.version}"'
    if answer.stream is not None:
        return PendingResponse(
            status=answer.status, headers=headers, body=b"", stream=answer.stream, keep=False
        )
    if answer.body is None:
        return PendingResponse(status=answer.status, headers=headers, body=b"", keep=keep)
    headers.setdefault("Content-Type", _JSON)
    kept = encode(_without(answer.body, answer.secrets)) if keep and answer.secrets else None
    return PendingResponse(
        status=answer.status, headers=headers, body=encode(answer.body), keep=keep, kept_body=kept
    )


def _without(body: Any, secrets: Any) -> Mapping[str, Any]:
    shown: dict[str, Any] = body.as_json() if hasattr(body, "as_json") else dict(body)
    return {name: None if name in secrets else value for name, value in shown.items()}
