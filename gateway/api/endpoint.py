"""What a path of the API is: one description that routes it, guards it and documents it.

Owns: the shape of a description, of a call and of an answer. Must not know any resource. The same description
is read by the dispatcher and by the OpenAPI generator, so that the two can't disagree.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict

from gateway.api import problems
from gateway.api.auth import Caller
from gateway.api.idempotency import KeyRule
from gateway.api.operation_scopes import scopes_of
from gateway.api.problems import FieldError, ProblemError, ProblemKind
from gateway.api.services import ApiServices
from gateway.api_versions import NEWEST
from gateway.errors import MalformedIdError
from gateway.ids import parse_id
from gateway.key_claim import UNKEYED, KeyClaim
from gateway.schemas.api_schemas import PublicSchema
from gateway.scopes import Scope

_MAX_VERSION_DIGITS: Final = 9
_encoder: Final = msgspec.json.Encoder(
    decimal_format="string", enc_hook=lambda value: value.model_dump(mode="json")
)


class WireModel(BaseModel):
    """A request's body or query: unknown fields are rejected, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class QueryModel(BaseModel):
    """A query string: each text is read as its field's type, unknown names are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """What a handler answers. `version` becomes the ETag; `secrets` are members no replay shows.

    A body of bytes goes out as it is, under the Content-Type in `headers`; so does `stream`, an open file
    that is read while it is sent and then closed.
    """

    body: PublicSchema | Mapping[str, Any] | bytes | None
    status: int = 200
    version: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    keep: bool = True  # False: not final yet, so a repeat of the request runs again
    stream: BinaryIO | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One authenticated, understood request."""

    services: ApiServices
    caller: Caller
    path: Mapping[str, str]
    query: Any
    body: Any
    raw: bytes
    headers: Mapping[str, str]
    resource_id: UUID
    key: KeyClaim = UNKEYED
    api_version: str = NEWEST  # of the caller; a handler sees bodies of the newest version only

    def path_id(self, name: str, prefix: str) -> UUID:
        """The id in the path. Raises ProblemError `not_found` where the text is no id of that kind."""
        try:
            return parse_id(prefix, self.path[name])
        except MalformedIdError as error:
            raise ProblemError(problems.NOT_FOUND, f"{error}.") from None

    @property
    def own_party(self) -> str | None:
        """The party whose objects the caller sees; None for the platform, which sees everybody's."""
        return None if self.caller.admin else self.caller.party_id

    @property
    def expected_version(self) -> int | None:
        """The version that If-Match demands; None where any will do.

        Raises:
            ProblemError: the header is not one strong ETag of ours.
        """
        text = self.headers.get("If-Match", "").strip()
        if text in {"", "*"}:
            return None
        digits = text.strip('"')
        if (
            text != f'"{digits}"'
            or not digits.isascii()
            or not digits.isdigit()
            or len(digits) > _MAX_VERSION_DIGITS
        ):
            raise ProblemError(
                problems.INVALID_PARAMETERS,
                "If-Match is not an ETag that this API returned.",
                errors=[FieldError(pointer="If-Match", expected='the object\'s ETag, such as "3"')],
            )
        return int(digits)


Handler = Callable[[ApiRequest], Awaitable[ApiResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedWork:
    """A handler in two parts, whose key is claimed with its first write and answered with its last.

    `perform` gives `ApiRequest.key` to the one service it calls; `answer` makes the answer of its outcome.
    """

    perform: Callable[[ApiRequest], Awaitable[Any]]
    answer: Callable[[ApiRequest, Any], ApiResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiEndpoint:
    """One method on one path, for keys with one of `scopes`; `public` means no key at all."""

    method: str
    path: str
    operation: str
    summary: str
    tag: str
    handler: Handler
    public: bool = False
    description: str = ""
    body: type[BaseModel] | None = None
    parse: Callable[[bytes], Any] | None = None  # reads the bytes; `body` then only documents
    body_required: bool = True
    large_body: bool = False
    media_type: str | None = None  # of a body that is no JSON: the handler reads `call.raw`
    query: type[QueryModel] | None = None
    answers: Mapping[int, type[BaseModel] | None] = field(default_factory=dict)
    listed: bool = False  # the answer is a list of that object
    etag: bool = False  # the answer carries the object's version
    located: bool = False  # the answer names the path of what was created
    also_gives: Sequence[str] = ()  # media types of a 200, by what the query asks for
    key_rule: KeyRule = KeyRule.NONE
    keyed_work: KeyedWork | None = None  # the handler's own parts, where its key is part of its writes
    problems: Sequence[ProblemKind] = ()

    @property
    def scopes(self) -> frozenset[Scope]:
        """The scopes of which the caller needs one, by the table of operations; none where it is public."""
        return scopes_of(self.operation)


def encode(body: PublicSchema | Mapping[str, Any] | bytes | None) -> bytes:
    """An answer's bytes; Decimal becomes text, so that no reader makes it a float."""
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    if isinstance(body, PublicSchema):
        return body.__pydantic_serializer__.to_json(body)
    return _encoder.encode(body)


def page(
    items: Sequence[PublicSchema], *, limit: int, cursor: Callable[[Any], str] | None = None
) -> dict[str, Any]:
    """A list's answer from up to `limit` + 1 items; the extra one only shows that there is a further page."""
    shown = items[:limit]
    has_more = len(items) > limit
    of = cursor or (lambda item: item.id)
    return {
        "object": "list",
        "data": shown,
        "has_more": has_more,
        "next_cursor": of(shown[-1]) if has_more and shown else None,
    }


def whole(items: Iterable[PublicSchema], *, more: bool = False) -> dict[str, Any]:
    """The answer of a list without a cursor; `more`: it was cut at its limit."""
    return {"object": "list", "data": list(items), "has_more": more, "next_cursor": None}
