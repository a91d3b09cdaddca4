"""How the gateway listens: limits of a connection, and short answers to what is no HTTP.

Owns: the server's timeouts, that bodies are never decompressed, and the answer to rubbish, which reaches no
handler and no middleware. Must not know paths. aiohttp would unpack a compressed body by itself, also the
unread rest of one that was rejected: a few KB/s then keep a core busy (GHSA-6mq8-rvhq-8wgg).
"""

from typing import Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from typing_extensions import override

from gateway.api.security_headers import security_headers

# A connection that is silent, or slow with its headers, is closed after the first; after an answer the unread
# rest of a body is waited for as long as the second.
KEEPALIVE_SECONDS: Final = 75.0
LINGERING_SECONDS: Final = 2.0
_SERVER_ERROR: Final = 500
_log = structlog.get_logger(__name__)


class GatewayRunner(web.AppRunner):
    """Runs the application on connections that are bounded and answer rubbish in one line."""

    def __init__(self, app: web.Application, *, shutdown_timeout_seconds: float) -> None:
        """`shutdown_timeout_seconds`: how long open requests may take to end at a stop."""
        super().__init__(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=shutdown_timeout_seconds,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGERING_SECONDS,
            auto_decompress=False,
        )

    @override
    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        return _Server(plain.request_handler, request_factory=plain.request_factory, **self._kwargs)


class _Server(web.Server):
    @override
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = _SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never reached the application: rubbish in one line, without repeating it."""
        if isinstance(exc, HttpProcessingError) or status < _SERVER_ERROR:
            _log.info("http_rejected", status=status, reason=type(exc).__name__)
        else:
            _log.error("http_failed", status=status, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer has been sent")
        answer = web.Response(
            status=status,
            text="The request is not valid HTTP.\n" if status < _SERVER_ERROR else "Internal error.\n",
            headers={**security_headers(tls=False), "Server": "networkcore"},
        )
        answer.force_close()
        return answer
