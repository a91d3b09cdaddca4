"""Calling a peer over OCPI: one request, its envelope checked; lists page by page.

Owns: headers, the token's two spellings, reading the envelope, what counts as failure. Must not know: our
tables, or why a call is made. Every call is bounded in time and size by the session it is given.
Sources: OCPI transport_and_format, credentials, status_codes.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp

from clearing.errors import MalformedDocumentError
from clearing.pricing import json_document as document
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.ocpi.errors import PeerRejectedError, PeerUnreachableError
from gateway.ocpi.list_pages import ListPage, read_list_page
from gateway.ocpi.repository.peers import PeerEndpoint
from gateway.outbound import (
    AnswerTooLargeError,
    ForbiddenAddressError,
    RedirectRejectedError,
    check_url,
    read_bounded,
)

T = TypeVar("T")
_SUCCESS: Final = range(1000, 2000)
_FIRST_HTTP_ERROR: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAnswer:
    """A successful answer: `data` with every number a Decimal, HTTP status, headers as they came."""

    data: Any
    http_status: int
    headers: Sequence[tuple[str, str]]


def authorization(token: str, *, raw: bool) -> str:
    """The Authorization header.

    Base64 of the token, as 2.2-d2 and later have it, or bare, as older implementations want it.
    """
    return f"Token {token if raw else base64.b64encode(token.encode()).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCaller:
    """Makes requests to one peer with one token.

    `routing` are the four OCPI-to/from headers for functional modules of 2.2 and later; `observe` is given
    each call with its answer.
    """

    http: aiohttp.ClientSession
    token: str
    raw_token: bool = False
    allow_private: bool = False
    routing: Mapping[str, str] = field(default_factory=dict)
    observe: Callable[[str, str, PeerAnswer | Exception], None] | None = None

    async def call(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        routed: bool = False,
        correlation_id: str | None = None,
    ) -> PeerAnswer:
        """Send one request and return its answer when OCPI calls it a success.

        Raises:
            PeerUnreachableError: no answer in time, no connection, or an address that may not be called.
            PeerRejectedError: an HTTP error, a redirect, an OCPI status outside 1xxx, or no OCPI envelope.
        """
        answer: PeerAnswer | Exception
        try:
            answer = await self._send(method, url, body=body, routed=routed, correlation_id=correlation_id)
        except (PeerUnreachableError, PeerRejectedError) as error:
            answer = error
        if self.observe is not None:
            self.observe(method, url, answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _send(
        self, method: str, url: str, *, body: bytes | None, routed: bool, correlation_id: str | None
    ) -> PeerAnswer:
        headers = {
            "Authorization": authorization(self.token, raw=self.raw_token),
            "X-Request-ID": str(uuid4()),
            "X-Correlation-ID": correlation_id or str(uuid4()),
            "Accept": "application/json",
            **(self.routing if routed else {}),
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            check_url(url, allow_private=self.allow_private)
            async with self.http.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await read_bounded(response)
        except (aiohttp.ClientError, TimeoutError, ForbiddenAddressError, OSError) as error:
            raise PeerUnreachableError(
                f"{method} {_place(url)}: {str(error) or type(error).__name__}"
            ) from error
        except (AnswerTooLargeError, RedirectRejectedError) as error:
            raise PeerRejectedError(f"{method} {_place(url)}: {error}", http_status=0, code=None) from error
        return _read_answer(content, response=response, what=f"{method} {_place(url)}")

    async def page(self, url: str, *, routed: bool = True) -> ListPage:
        """Read one page of a list; `routed` for functional modules.

        Raises as `call`; PeerRejectedError as well when it is no list.
        """
        answer = await self.call("GET", url, routed=routed)
        if not isinstance(answer.data, list):
            raise PeerRejectedError(
                f"GET {_place(url)}: expected a list", http_status=answer.http_status, code=None
            )
        return read_list_page(answer.headers, answer.data, url=url)


def _read_answer(content: bytes, *, response: aiohttp.ClientResponse, what: str) -> PeerAnswer:
    status = response.status
    try:
        envelope = document.load(content, document="answer")
    except MalformedDocumentError:
        raise PeerRejectedError(
            f"{what}: HTTP {status} without an OCPI envelope", http_status=status, code=None
        ) from None
    code, said = envelope.get("status_code"), envelope.get("status_message")
    number = int(code) if not isinstance(code, str | bool | list | dict | None) else None
    if status >= _FIRST_HTTP_ERROR or number is None or number not in _SUCCESS:
        words = f": {said[:300]}" if isinstance(said, str) else ""
        raise PeerRejectedError(
            f"{what}: HTTP {status}, OCPI status {number}{words}", http_status=status, code=number
        )
    return PeerAnswer(data=envelope.get("data"), http_status=status, headers=tuple(response.headers.items()))


def _place(url: str) -> str:
    """A URL as a log may show it: no query, for it may carry secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerVersion:
    """What a peer's version details say: the endpoints of one version."""

    version: OcpiVersion
    endpoints: tuple[PeerEndpoint, ...]

    def url(self, module: str, role: str) -> str | None:
        """Where `module` answers in `role`; credentials in any role."""
        for endpoint in self.endpoints:
            if endpoint.module == module and (endpoint.role == role or module == "credentials"):
                return endpoint.url
        return None


async def in_either_spelling(
    caller: PeerCaller, ask: Callable[[PeerCaller], Awaitable[T]]
) -> tuple[PeerCaller, T]:
    """What a peer answers, and the caller whose spelling of the token it knows: as given, else the other.

    Versions before 2.2-d2 left the spelling open, and peers still differ, also in how they refuse the wrong
    one: some answer 401, others 500, or 200 with status 3000. Raises as `ask`; the first refusal where both
    spellings are refused.
    """
    try:
        return caller, await ask(caller)
    except PeerRejectedError as refused:
        if refused.http_status == 0:  # a redirect, or an answer that is too large: no answer about the token
            raise
        other = replace(caller, raw_token=not caller.raw_token)
        try:
            return other, await ask(other)
        except PeerRejectedError:
            raise refused from None


async def discover(caller: PeerCaller, *, versions_url: str, version: OcpiVersion) -> PeerVersion | None:
    """Read a peer's versions and the details of `version`; None when it does not speak that version.

    Raises PeerUnreachableError or PeerRejectedError, also for answers that are not version information.
    """
    versions = await caller.call("GET", versions_url)
    details_url = None
    for offered in versions.data if isinstance(versions.data, list) else ():
        if isinstance(offered, dict) and offered.get("version") == version.value:
            details_url = offered.get("url")
    if details_url is None:
        return None
    details = await caller.call("GET", _url(details_url, what="version url"))
    listed = details.data.get("endpoints") if isinstance(details.data, dict) else None
    if not isinstance(listed, list):
        raise PeerRejectedError("the version details have no list of endpoints", http_status=200, code=None)
    return PeerVersion(version=version, endpoints=tuple(_endpoint(row, version=version) for row in listed))


def _endpoint(row: Any, *, version: OcpiVersion) -> PeerEndpoint:
    if not isinstance(row, dict) or not isinstance(row.get("identifier"), str):
        raise PeerRejectedError("an endpoint has no identifier", http_status=200, code=None)
    # 2.1.1 has no role: a CPO serves what it owns, so a functional module of its is the sender's.
    role = row.get("role") if version is not OcpiVersion.V2_1_1 else "SENDER"
    return PeerEndpoint(
        module=row["identifier"],
        role="RECEIVER" if role == "RECEIVER" else "SENDER",
        url=_url(row.get("url"), what=f"endpoint {row['identifier'][:40]}"),
    )


def _url(value: Any, *, what: str) -> str:
    if not isinstance(value, str):
        raise PeerRejectedError(f"{what}: expected a URL", http_status=200, code=None)
    return value
