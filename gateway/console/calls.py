"""The API's operations in a person's name: the same handlers, permissions and party limits as for a key.

Owns: that a page reads and acts through an operation of the API and nothing else, that a role acts only in
its areas, that a form sent twice acts once, and that each act is recorded. Must not know any page.
"""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

from gateway.acts.act import acting
from gateway.api import problems, request_bodies
from gateway.api.auth import Caller
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, encode
from gateway.api.error_mapping import problem_for
from gateway.api.idempotency import IdempotencyGate, PendingResponse, RequestIdentity, request_hash
from gateway.api.problems import ProblemDetails, ProblemError
from gateway.api.request_acts import act_of_page, reading_of_page
from gateway.api.services import ApiServices
from gateway.ids import new_id
from gateway.people.person import PersonRecord
from gateway.people.roles import ActArea

_SERVER_ERROR: Final = 500
_FIRST_REJECTION: Final = 400
_NO_HEADERS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleAct:
    """An act of a form: an operation on a path, its body, and the name under which it happens once."""

    operation: str
    area: ActArea
    once: str
    path: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None

    @property
    def subject(self) -> str:
        """What it is done to, for the record."""
        return "/".join(self.path.values()) or str((self.body or {}).get("session", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActOutcome:
    """How an act was answered."""

    status: int
    body: Any

    @property
    def rejected(self) -> bool:
        """Whether it was a problem; then `body` is the problem."""
        return self.status >= _FIRST_REJECTION

    @property
    def text(self) -> str:
        """The problem in a sentence."""
        return str(self.body.get("detail") or self.body.get("title")) if self.rejected else ""

    @property
    def field(self) -> str:
        """The first field of the body that the problem names; "" where it names none."""
        named = self.body.get("fields") if self.rejected else None
        return str(named[0]) if named else ""


class ConsoleCalls:
    """What one person may call."""

    def __init__(
        self,
        services: ApiServices,
        operations: Mapping[str, ApiEndpoint],
        person: PersonRecord,
        *,
        request_id: str,
    ) -> None:
        self.person = person
        self._services = services
        self._operations = operations
        self._request_id = request_id
        self._caller = Caller(
            party_id=person.party_id,
            key=person.public_id,
            scopes=person.rights.scopes,
            principal=person.public_id,
        )

    @property
    def platform(self) -> bool:
        """Whether the person sees every party."""
        return self._caller.admin

    def may_act(self, area: ActArea) -> bool:
        """Whether the person's role acts in an area."""
        return area in self.person.rights.areas

    def may_read(self, operation: str) -> bool:
        """Whether the person's scopes allow an operation."""
        return not self._caller.scopes.isdisjoint(self._operations[operation].scopes)

    def need(self, operation: str) -> None:
        """Let pass who may read an operation. Raises ProblemError `missing_scope` for others."""
        self._allowed(operation)

    async def read(
        self, operation: str, *, query: Mapping[str, str] = _NO_HEADERS, **path: str
    ) -> dict[str, Any]:
        """The JSON that the API would answer. Raises what the handler raises, and ProblemError."""
        found: dict[str, Any] = msgspec.json.decode(await self.download(operation, query=query, **path))
        return found

    async def read_where_there(
        self, operation: str, *, query: Mapping[str, str] = _NO_HEADERS, **path: str
    ) -> dict[str, Any] | None:
        """As `read`; None where the object does not have it, or not yet."""
        try:
            return await self.read(operation, query=query, **path)
        except Exception as error:
            rejection = problem_for(error)
            if rejection is None or rejection.kind not in {problems.NOT_FOUND, problems.STATE_CONFLICT}:
                raise
            return None

    async def download(self, operation: str, *, query: Mapping[str, str] = _NO_HEADERS, **path: str) -> bytes:
        """The bytes that the API would answer."""
        answer = await self.answer(operation, query=query, **path)
        if answer.stream is not None:
            with answer.stream as stream:
                return stream.read()
        return encode(answer.body)

    async def answer(
        self, operation: str, *, query: Mapping[str, str] = _NO_HEADERS, **path: str
    ) -> ApiResponse:
        """The handler's answer, with its headers."""
        endpoint = self._allowed(operation)
        if endpoint.method != "GET":
            raise ProblemError(problems.METHOD_NOT_ALLOWED, "A page reads; forms act.")
        return await self._run(endpoint, path=path, query=query, raw=b"", resource_id=new_id())

    async def act(self, act: ConsoleAct) -> ActOutcome:
        """Do what a form asks for, once, and record it with its answer."""
        try:
            outcome = await self._act(act)
        except Exception as error:
            rejection = problem_for(error)
            if rejection is None:
                await self._record(act, _SERVER_ERROR)
                raise
            outcome = ActOutcome(status=rejection.kind.status, body=_problem(rejection))
        await self._record(act, outcome.status)
        return outcome

    async def _act(self, act: ConsoleAct) -> ActOutcome:
        if not self.may_act(act.area):
            raise ProblemError(problems.MISSING_SCOPE, "Your role does not do this.")
        endpoint = self._allowed(act.operation)
        raw = b"" if act.body is None else msgspec.json.encode(act.body)

        async def work(resource_id: UUID) -> PendingResponse:
            try:
                answer = await self._run(endpoint, path=act.path, query={}, raw=raw, resource_id=resource_id)
            except Exception as error:
                rejection = problem_for(error)
                if rejection is None:
                    raise
                return PendingResponse(
                    status=rejection.kind.status,
                    headers={},
                    body=msgspec.json.encode(_problem(rejection)),
                    keep=not rejection.kind.transient and rejection.kind.status < _SERVER_ERROR,
                    frees_key=rejection.kind.frees_key,
                )
            return PendingResponse(
                status=answer.status,
                headers={},
                body=encode(answer.body),
                keep=answer.keep,
                kept_body=b"{}" if answer.secrets else None,
            )

        gate = IdempotencyGate(
            pool=self._services.pool,
            clock=self._services.clock,
            lock=self._services.options.idempotency_lock,
        )
        done = await gate.run(
            RequestIdentity(
                party_id=self._caller.party_id,
                key=f"console:{act.once}",
                request_hash=request_hash(
                    method=endpoint.method, path=f"{act.operation}:{act.subject}", body=raw
                ),
            ),
            work,
        )
        return ActOutcome(status=done.status, body=msgspec.json.decode(done.body) if done.body else {})

    async def _record(self, act: ConsoleAct, status: int) -> None:
        await self._services.people.record(
            self.person, operation=act.operation, subject=act.subject, status=status
        )

    def _allowed(self, operation: str) -> ApiEndpoint:
        endpoint = self._operations[operation]
        self._caller.need(endpoint.scopes)
        return endpoint

    async def _run(
        self,
        endpoint: ApiEndpoint,
        *,
        path: Mapping[str, str],
        query: Mapping[str, str],
        raw: bytes,
        resource_id: UUID,
    ) -> ApiResponse:
        body = None
        if endpoint.parse is not None:
            body = endpoint.parse(raw)
        elif endpoint.body is not None:
            body = request_bodies.parse_body(endpoint.body, raw)
        call = ApiRequest(
            services=self._services,
            caller=self._caller,
            path=path,
            query=None if endpoint.query is None else request_bodies.parse_query(endpoint.query, query),
            body=body,
            raw=raw,
            headers={},
            resource_id=resource_id,
        )
        act = act_of_page(endpoint, call, request_id=self._request_id)
        reading = reading_of_page(endpoint, call, query=query, request_id=self._request_id)
        async with asyncio.timeout(self._services.options.request_timeout_seconds):
            with nullcontext() if act is None else acting(act):
                answer = await endpoint.handler(call)
            if reading is not None:
                await self._services.acts.record_reading(reading)
        return answer


def _problem(rejection: ProblemDetails) -> dict[str, Any]:
    fields = [one.pointer.rpartition("/")[2] for one in rejection.errors]
    return {
        "title": rejection.kind.title,
        "detail": rejection.detail,
        "code": rejection.kind.code,
        **({"fields": fields} if fields else {}),
    }
