"""The response format of OCPI: data, status code, message, timestamp; and the headers of every answer.

Owns: bytes of an answer, ids and routing headers returned, pagination headers. Must not know: any module.
Source: OCPI transport_and_format, "Response format", "Message Routing Headers", "Unique message IDs",
"Paginated Response".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import msgspec
from aiohttp import web

from gateway.ocpi.errors import OcpiRejectionError, StatusCode

_encoder: Final = msgspec.json.Encoder(decimal_format="number")
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]{1,255}")
_ROUTED: Final = ("OCPI-to-party-id", "OCPI-to-country-code", "OCPI-from-party-id", "OCPI-from-country-code")


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiResponse:
    """What a handler returns. `data` None leaves the field out; msgspec.Raw passes JSON through unread."""

    data: Any = None
    http_status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def respond(answer: OcpiResponse, *, headers: Mapping[str, str], now: datetime) -> web.Response:
    """The HTTP response of a success, dated `now`."""
    content: dict[str, Any] = {} if answer.data is None else {"data": answer.data}
    return _response(
        content,
        code=StatusCode.SUCCESS,
        text="Success",
        http_status=answer.http_status,
        headers={**headers, **answer.headers},
        now=now,
    )


def reject(rejection: OcpiRejectionError, *, headers: Mapping[str, str], now: datetime) -> web.Response:
    """The HTTP response of a rejection, dated `now`."""
    extra = {"WWW-Authenticate": "Token"} if rejection.http_status == web.HTTPUnauthorized.status_code else {}
    return _response(
        {},
        code=rejection.code,
        text=rejection.text,
        http_status=rejection.http_status,
        headers={**headers, **extra, **rejection.headers},
        now=now,
    )


def _response(
    content: dict[str, Any],
    *,
    code: StatusCode,
    text: str,
    http_status: int,
    headers: Mapping[str, str],
    now: datetime,
) -> web.Response:
    body = _encoder.encode(
        {
            **content,
            "status_code": int(code),
            "status_message": text,
            "timestamp": timestamp(now),
        }
    )
    return web.Response(body=body, status=http_status, headers=headers, content_type="application/json")


def timestamp(at: datetime) -> str:
    """An OCPI DateTime: UTC with milliseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def message_headers(request: web.Request, *, routed: bool) -> dict[str, str]:
    """The ids of the request, made where they are missing or malformed.

    Sender and receiver swapped where `routed`.
    """
    headers = {
        name: _fit(request.headers.get(name)) or str(uuid4()) for name in ("X-Request-ID", "X-Correlation-ID")
    }
    if routed:
        for name in _ROUTED:
            value = _fit(request.headers.get(name))
            if value is not None:
                headers[_mirrored(name)] = value
    return headers


def _mirrored(name: str) -> str:
    return name.replace("-to-", "-from-") if "-to-" in name else name.replace("-from-", "-to-")


def _fit(value: str | None) -> str | None:
    return value if value is not None and _HEADER_VALUE.fullmatch(value) else None
