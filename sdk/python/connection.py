"""A connection to networkcore: safe repeats, problems as exceptions, lists to their end.

from networkcore_sdk.api.authorizations import create_authorization
from networkcore_sdk.connection import connect, new_key, unwrap

with connect("https://pay.example", api_key) as client:
authorization = unwrap(create_authorization.sync(client=client, body=body, idempotency_key=new_key()))
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from .api_version import API_VERSION
from .client import AuthenticatedClient
from .models.problem import Problem
from .types import UNSET

T = TypeVar("T")
_PASSING = frozenset({429, 502, 503, 504})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_LONGEST_WAIT = 30.0  # seconds


class NetworkcoreError(Exception):
    """The gateway's problem; `problem.code` is stable, `problem.detail` says how to mend it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.code}: {problem.detail} ({problem.instance})")
        self.problem = problem


class RepeatingTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Sends a request again after 429, 502, 503, 504 and lost connections, where that is safe.

    Safe are methods that change nothing twice, and requests with an Idempotency-Key: the gateway gives the
    same answer to the same key. Waits as long as Retry-After says, at most 30 seconds, else twice as long
    each time, from half a second.
    """

    def __init__(self, *, attempts: int = 5) -> None:
        self._attempts = attempts
        self._blocking = httpx.HTTPTransport()
        self._waiting = httpx.AsyncHTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, again where that is safe."""
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts or not _repeatable(request)
            try:
                response = self._blocking.handle_request(request)
            except httpx.TransportError:
                if last:
                    raise
                time.sleep(_pause(attempt, None))
                continue
            if last or response.status_code not in _PASSING:
                return response
            response.close()
            time.sleep(_pause(attempt, response))
        raise AssertionError("the last attempt returns or raises")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, again where that is safe."""
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts or not _repeatable(request)
            try:
                response = await self._waiting.handle_async_request(request)
            except httpx.TransportError:
                if last:
                    raise
                await asyncio.sleep(_pause(attempt, None))
                continue
            if last or response.status_code not in _PASSING:
                return response
            await response.aclose()
            await asyncio.sleep(_pause(attempt, response))
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Close the connections of blocking calls."""
        self._blocking.close()

    async def aclose(self) -> None:
        """Close the connections of asynchronous calls."""
        await self._waiting.aclose()


def connect(
    base_url: str, api_key: str, *, timeout_s: float = 30.0, attempts: int = 5
) -> AuthenticatedClient:
    """A client for every operation in `networkcore_sdk.api`, with `with` or `async with`.

    Each request names the version of the API that the package was made from, whatever the key is pinned to.
    """
    return AuthenticatedClient(
        base_url=base_url.rstrip("/"),
        token=api_key,
        headers={"Networkcore-Version": API_VERSION},
        timeout=httpx.Timeout(timeout_s),
        httpx_args={"transport": RepeatingTransport(attempts=attempts)},
        raise_on_unexpected_status=True,
    )


def new_key() -> str:
    """A fresh Idempotency-Key: keep it with your order, and repeat it with the same body."""
    return uuid4().hex


def unwrap(answer: T | Problem | None) -> T:
    """The answer of a call. Raises NetworkcoreError where it is a problem."""
    if isinstance(answer, Problem):
        raise NetworkcoreError(answer)
    if answer is None:
        raise TypeError("the call has no answer to read")
    return answer


def list_all(operation: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Every object of a list, page by page: `list_all(list_sessions.sync, client=client)`."""
    cursor: Any = UNSET
    while True:
        page = unwrap(operation(cursor=cursor, **arguments))
        yield from page.data
        if not page.has_more:
            return
        cursor = page.next_cursor


async def alist_all(operation: Callable[..., Any], **arguments: Any) -> AsyncIterator[Any]:
    """Every object of a list, by an operation's `asyncio`, with `async for`."""
    cursor: Any = UNSET
    while True:
        page = unwrap(await operation(cursor=cursor, **arguments))
        for one in page.data:
            yield one
        if not page.has_more:
            return
        cursor = page.next_cursor


def _repeatable(request: httpx.Request) -> bool:
    return request.method in _SAFE or "idempotency-key" in request.headers


def _pause(attempt: int, response: httpx.Response | None) -> float:
    said = None if response is None else response.headers.get("retry-after")
    if said is not None and said.isdigit():
        return min(float(said), _LONGEST_WAIT)
    return min(0.5 * 2.0 ** (attempt - 1), _LONGEST_WAIT) * random.uniform(0.8, 1.2)
