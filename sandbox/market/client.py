"""How the market's parties speak HTTP: JSON out and in, the same key on every retry, bounded in time.

Owns: retries after lost connections, 5xx, 429 and 409-in-flight, so that a killed gateway is only a pause.
Must not know: what is requested. Amounts travel as integers and OCPI numbers as exact decimals.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import msgspec

from sandbox.errors import SandboxError

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_CALL_TIMEOUT_S: Final = 30.0
_REPORT_INTERVAL_S: Final = 10.0
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500
_CONFLICT: Final = 409
_IN_FLIGHT: Final = "idempotency_in_flight"
_SHOWN_BYTES: Final = 600

_encoder = msgspec.json.Encoder(decimal_format="number")


class MarketError(SandboxError):
    """The market can't continue: an unexpected answer, or none in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An HTTP answer: `body` is decoded JSON, or None where there was none."""

    status: int
    body: Any
    headers: Mapping[str, str]


def encode_json(value: Any) -> bytes:
    """JSON bytes; Decimal becomes a number with its digits as they are."""
    return _encoder.encode(value)


def form(parameters: Mapping[str, Any]) -> bytes:
    """A form body with bracketed nesting, as the PSP's API expects it."""
    return urlencode(_flat(parameters, prefix="")).encode()


def _flat(parameters: Mapping[str, Any], *, prefix: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in parameters.items():
        path = f"{prefix}[{name}]" if prefix else name
        if isinstance(value, Mapping):
            pairs += _flat(value, prefix=path)
        else:
            pairs.append((path, str(value).lower() if isinstance(value, bool) else str(value)))
    return pairs


class Client:
    """One party's connection to one server.

    `authorization` is the whole header; `timeout_s` bounds all retries; `on_wait` gets a line for each ten
    seconds without a usable answer.
    """

    def __init__(
        self,
        *,
        http: aiohttp.ClientSession,
        base_url: str,
        authorization: str,
        timeout_s: float = 300.0,
        on_wait: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = http
        self._authorization = authorization
        self._timeout_s = timeout_s
        self._on_wait = on_wait

    async def get(self, path: str) -> Any:
        """The body of a 200. Raises MarketError."""
        return (await self.call("GET", path)).body

    async def post(
        self, path: str, body: Any, *, key: str | None = None, accept: tuple[int, ...] = ()
    ) -> HttpResponse:
        """POST JSON; 2xx and the statuses in `accept` are answers, everything else a MarketError."""
        return await self.call("POST", path, content=encode_json(body), key=key, accept=accept)

    async def put(self, path: str, body: Any, *, accept: tuple[int, ...] = ()) -> HttpResponse:
        """PUT JSON, answered as by `post`. Raises MarketError."""
        return await self.call("PUT", path, content=encode_json(body), accept=accept)

    async def post_form(self, path: str, parameters: Mapping[str, Any], *, key: str | None = None) -> Any:
        """POST a form, as to the PSP; the body of a 2xx. Raises MarketError."""
        answer = await self.call(
            "POST", path, content=form(parameters), key=key, media_type="application/x-www-form-urlencoded"
        )
        return answer.body

    async def call(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        key: str | None = None,
        media_type: str = "application/json",
        accept: tuple[int, ...] = (),
    ) -> HttpResponse:
        """Send until there is an answer or the time is over. Raises MarketError naming the request."""
        headers = {"Authorization": self._authorization, "Content-Type": media_type}
        if key is not None:
            headers["Idempotency-Key"] = key
        url = path if path.startswith("http") else self.base_url + path
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._timeout_s, _FIRST_PAUSE_S
        next_report = loop.time() + _REPORT_INTERVAL_S
        while True:
            problem = ""
            try:
                answer = await self._once(method, url, content=content, headers=headers)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if not _is_transient(answer):
                    return _accepted(answer, accept, what=f"{method} {url}")
                problem = f"{answer.status}: {_shown(answer.body)}"
            if loop.time() + pause > deadline:
                raise MarketError(f"{method} {url}: no answer within {self._timeout_s:.0f} s, last {problem}")
            if loop.time() > next_report:
                self._on_wait(f"still waiting for {method} {path}: {problem}")
                next_report += _REPORT_INTERVAL_S
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _once(
        self, method: str, url: str, *, content: bytes | None, headers: Mapping[str, str]
    ) -> HttpResponse:
        timeout = aiohttp.ClientTimeout(total=_CALL_TIMEOUT_S)
        async with self._http.request(
            method, url, data=content, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            raw = await response.read()
            body = _decoded(raw, what=f"{method} {url} -> {response.status}")
            return HttpResponse(status=response.status, body=body, headers=response.headers)


def _is_transient(answer: HttpResponse) -> bool:
    """Whether the same request may get another answer soon."""
    if answer.status == _CONFLICT:
        return isinstance(answer.body, dict) and str(answer.body.get("type", "")).endswith(_IN_FLIGHT)
    return answer.status >= _SERVER_ERROR or answer.status == _TOO_MANY


def _accepted(answer: HttpResponse, accept: tuple[int, ...], *, what: str) -> HttpResponse:
    good = 200 <= answer.status < 300  # noqa: PLR2004 - the success class of HTTP
    if good or answer.status in accept:
        return answer
    raise MarketError(f"{what} answered {answer.status}: {_shown(answer.body)}")


def _decoded(raw: bytes, *, what: str) -> Any:
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        text = raw[:_SHOWN_BYTES].decode("utf-8", "replace")
        return {"unreadable": text, "what": what}


def _shown(body: Any) -> str:
    return encode_json(body)[:_SHOWN_BYTES].decode("utf-8", "replace")
