"""Passes requests for the console on to the processes that serve it, over a socket in the group's directory.

Owns: which requests are passed, what of them and of their answers is passed, and the answer where nobody
takes them. Must not know a page. The process that passes does nothing else for a page: no log line, no
metric, no database connection; the process that makes it does. An answer is passed as it comes, so that files
and live views stay streams. The socket is in a directory of the group's user alone, and only over it are
`PEER` and `SCHEME` believed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

import aiohttp
import structlog
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from gateway import live_streams
from gateway.api.security_headers import security_headers
from gateway.console.busy import busy_page
from gateway.console.rendering import PATH
from gateway.logs import first_line

PEER: Final = "X-Networkcore-Peer"
SCHEME: Final = "X-Networkcore-Scheme"
MOST_AT_ONCE: Final = 400  # of one process, open live views included
_CONNECT_SECONDS: Final = 5.0
_BEYOND_A_REQUEST_SECONDS: Final = 10.0
_GROUP_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
# Of one connection (RFC 9110, 7.6.1), or made anew by whoever passes the message on.
_OF_ONE_CONNECTION: Final = frozenset(
    name.lower()
    for name in (
        hdrs.CONNECTION,
        hdrs.KEEP_ALIVE,
        hdrs.PROXY_AUTHENTICATE,
        hdrs.PROXY_AUTHORIZATION,
        hdrs.TE,
        hdrs.TRAILER,
        hdrs.TRANSFER_ENCODING,
        hdrs.UPGRADE,
        hdrs.EXPECT,
        PEER,
        SCHEME,
    )
)
_log = structlog.get_logger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_console(path: str) -> bool:
    """Whether a path is the console's."""
    return path == PATH or path.startswith(f"{PATH}/")


def pass_console(app: web.Application, socket: Path, *, request_seconds: float, tls: bool) -> None:
    """Have the application pass every request for the console on to the socket's listeners.

    `request_seconds`: how long a request may take there; `tls`: this process speaks it.
    """
    console = _ConsolePass(socket, request_seconds=request_seconds, tls=tls)

    @web.middleware
    async def passed(request: web.Request, handler: _Handler) -> web.StreamResponse:
        return await (console.hand_on(request) if is_console(request.path) else handler(request))

    app.middlewares.insert(0, passed)
    app.cleanup_ctx.append(console.context)
    app.on_shutdown.append(console.end_live)


def take_console(app: web.Application) -> None:
    """Have the application answer the console's paths alone, for whom the process that passed them says."""

    @web.middleware
    async def passed(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.remote:  # at a port: nothing that such a request says of itself is believed
            return await handler(request)
        scheme = request.headers.get(SCHEME, request.scheme)
        return await handler(request.clone(remote=request.headers.get(PEER, ""), scheme=scheme))

    @web.middleware
    async def console_alone(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if is_console(request.path) or request.path in _GROUP_PATHS:
            return await handler(request)
        raise web.HTTPNotFound

    app.middlewares.insert(0, passed)
    app.middlewares.append(console_alone)  # inside the boundary, which makes a problem of it


class _ConsolePass:
    def __init__(self, socket: Path, *, request_seconds: float, tls: bool) -> None:
        self._socket = socket
        self._seconds = request_seconds + _BEYOND_A_REQUEST_SECONDS
        self._secure = security_headers(tls=tls)
        self._client: aiohttp.ClientSession | None = None
        self._open = 0
        self._live: set[aiohttp.ClientResponse] = set()

    async def context(self, _app: web.Application) -> AsyncIterator[None]:
        """Keep the connections to the console processes while the application runs."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=self._seconds)
        self._client = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=str(self._socket), limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=timeout,
            skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
        )
        yield
        await self._client.close()

    async def end_live(self, _app: web.Application) -> None:
        """End the live views, whose browsers open them anew; everything else is finished first."""
        for answer in tuple(self._live):
            answer.close()

    async def hand_on(self, request: web.Request) -> web.StreamResponse:
        """The console's answer; 503 where no console process takes the request."""
        if self._open >= MOST_AT_ONCE or self._client is None:
            return self._busy(request)
        self._open += 1
        try:
            return await self._pass(self._client, request)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.warning("console_not_reached", reason=first_line(error))
            return self._busy(request)
        finally:
            self._open -= 1

    async def _pass(self, client: aiohttp.ClientSession, request: web.Request) -> web.StreamResponse:
        headers = _passed(request.headers.items())
        headers[PEER] = request.remote or ""
        headers[SCHEME] = request.scheme
        async with client.request(
            request.method,
            URL(f"http://console{request.raw_path}", encoded=True),
            headers=headers,
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as answer:
            if answer.content_type == live_streams.CONTENT_TYPE:
                self._live.add(answer)
            if answer.content_length is None:
                try:
                    return await _stream(request, answer)
                finally:
                    self._live.discard(answer)
            body = await answer.read()
        passed = _passed(answer.headers.items())
        passed.popall(hdrs.CONTENT_LENGTH, None)
        return web.Response(status=answer.status, headers=passed, body=body)

    def _busy(self, request: web.Request) -> web.Response:
        response = busy_page(request)
        for name, value in self._secure.items():
            response.headers.setdefault(name, value)
        return response


async def _stream(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_passed(answer.headers.items()))
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # Either the reader is gone, or what it has got is not whole: it must see that.
        _log.info("console_answer_broke_off", reason=first_line(error))
        if request.transport is not None:
            request.transport.abort()
        return response
    except asyncio.CancelledError:
        if request.transport is not None:
            request.transport.abort()
        raise
    await response.write_eof()
    return response


def _passed(headers: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers if name.lower() not in _OF_ONE_CONNECTION)
