"""Reading requests: bounded, timed, strict, and precise about what is wrong.

Owns: bytes off the wire and the way from a validation error to JSON pointers. Must not know any resource.
"""

import asyncio
import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.api import problems
from gateway.api.problems import FieldError, ProblemError
from gateway.card_numbers import find_card_number, holds_card_number

_MAX_ERRORS: Final = 20
_MOST_SHOWN: Final = 64
_WORDS: Final = {
    "missing": "this field is required",
    "json_invalid": "valid JSON",
}
# What this system keeps, logs or sends back of a request's headers.
_KEPT_HEADERS: Final = ("Idempotency-Key", "X-Request-Id", "X-Correlation-Id", "If-Match")


async def read_body(request: web.Request, *, limit: int, timeout_seconds: float) -> bytes:
    """The whole body.

    Raises:
        ProblemError: `body_too_large`, or `request_timeout` when it trickles in.
    """
    declared = request.content_length
    if declared is not None and declared > limit:
        raise _too_large(limit)
    if not request.can_read_body:
        return b""
    if request.content.is_eof():  # it has come whole with its head, as most do: nothing is waited for
        body = request.content.read_nowait()
        if len(body) > limit:
            raise _too_large(limit)
        return body
    chunks = bytearray()
    try:
        async with asyncio.timeout(timeout_seconds):
            async for chunk in request.content.iter_any():
                chunks += chunk
                if len(chunks) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise ProblemError(
            problems.REQUEST_TIMEOUT,
            f"The body took longer than {timeout_seconds:g} s.",
            headers={"Connection": "close"},
        ) from None
    return bytes(chunks)


def _too_large(limit: int) -> ProblemError:
    return ProblemError(
        problems.BODY_TOO_LARGE, f"This path takes at most {limit} bytes.", headers={"Connection": "close"}
    )


def check_media_type(request: web.Request, *, wanted: str = "application/json") -> None:
    """Raise `unsupported_media_type` unless the body is called so; no Content-Type at all is let pass."""
    if "Content-Type" in request.headers and request.content_type != wanted:
        raise ProblemError(
            problems.UNSUPPORTED_MEDIA_TYPE, f"Content-Type is {request.content_type}, not {wanted}."
        )


def check_address(request: web.Request) -> None:
    """Raise `card_number_rejected` where path, query or a header that is kept holds a card number."""
    if holds_card_number(request.path):
        raise _card_number("the path")
    for name, value in request.query.items():
        if holds_card_number(name) or holds_card_number(value):
            raise _card_number("the query")
    for name in _KEPT_HEADERS:
        if holds_card_number(request.headers.get(name, "")):
            raise _card_number(name)


def check_content(body: bytes) -> None:
    """Check what a JSON body holds, whatever its model: no card number, no member name twice in one object.

    A body that is not JSON is left to its reader.

    Raises:
        ProblemError: `card_number_rejected` with a pointer, or `malformed_json`.
    """
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs) and not repeated:
            names = [name for name, _ in pairs]
            repeated.append(next(name for name in names if names.count(name) > 1))
        return members

    try:
        tree = json.loads(body or b"{}", object_pairs_hook=unique)
    except (ValueError, RecursionError):
        return
    place = find_card_number(tree)
    if place is not None:
        raise _card_number(place or "the body")
    if repeated and not holds_card_number(repeated[0]):
        raise malformed(f"The member {repeated[0][:_MOST_SHOWN]!r} appears twice in one object")
    if repeated:
        raise _card_number("the body")


def _card_number(place: str) -> ProblemError:
    return ProblemError(
        problems.CARD_NUMBER_REJECTED,
        f"{place} holds a card number; nothing was stored.",
        errors=[FieldError(pointer=place, expected="no card number; a payment method is the PSP's token")],
    )


def parse_body(model: type[BaseModel], body: bytes) -> BaseModel:
    """The body as its model.

    Raises:
        ProblemError: `malformed_json`, or `invalid_parameters` with a pointer for each fault.
    """
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        if any(detail["type"] == "json_invalid" for detail in details):
            raise malformed(details[0]["msg"]) from None
        raise invalid(details, given=decoded(body), model=model) from None


def parse_query(model: type[BaseModel], query: Mapping[str, str]) -> BaseModel:
    """The query string as its model.

    Raises:
        ProblemError: `invalid_parameters` with the parameter's name for each fault.
    """
    try:
        return model.model_validate(dict(query))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(details, given=dict(query), model=model) from None


def malformed(reason: str) -> ProblemError:
    """The answer to a body that is not JSON."""
    return ProblemError(problems.MALFORMED_JSON, f"{reason}.")


def decoded(body: bytes) -> Any:
    """The body's plain values, only to find places in; None where even that fails."""
    try:
        return msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def invalid(details: Sequence[Any], *, given: Any, model: type[BaseModel] | None = None) -> ProblemError:
    """The answer to a body with faults: where each is, and what was expected there."""
    faults = [
        FieldError(pointer=pointer(detail["loc"], given=given), expected=_expected(detail, model))
        for detail in details[:_MAX_ERRORS]
    ]
    first = faults[0]
    place = first.pointer or "the body"
    return ProblemError(problems.INVALID_PARAMETERS, f"{place}: {first.expected}.", errors=faults)


def pointer(location: Sequence[str | int], *, given: Any) -> str:
    """The JSON pointer (RFC 6901) of a pydantic location.

    A location also names the branch of a union that was tried; only parts that are places in `given`, or the
    last one (a field that is missing), belong in a pointer.
    """
    place, parts = given, []
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if _leads_on(place, part):
            place = place[part]
        elif not last or not isinstance(place, dict):
            continue
        parts.append(str(part).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


def _leads_on(place: Any, part: str | int) -> bool:
    if isinstance(place, dict):
        return part in place
    return isinstance(place, list) and isinstance(part, int) and part < len(place)


def _expected(detail: Any, model: type[BaseModel] | None) -> str:
    kind, message = detail["type"], str(detail["msg"])
    if kind == "extra_forbidden":
        known = list(model.model_fields) if model is not None and len(detail["loc"]) == 1 else []
        close = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        return f"no field of this name; did you mean {close[0]}?" if close else "no field of this name"
    return _WORDS.get(kind, message.removeprefix("Value error, "))
