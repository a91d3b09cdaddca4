"""The sandbox PSP over HTTP: carries requests to the engine and carries out its faults on the connection.

Owns: sockets, delays, broken connections, the courier's life. Must not know: resources.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.stripe.access import PspRequest
from sandbox.stripe.delivery import Courier
from sandbox.stripe.engine import PspEngine, PspReply
from sandbox.stripe.pages import page_for
from sandbox.stripe.settings import PspSettings

ENGINE: Final = web.AppKey("engine", PspEngine)
COURIER: Final = web.AppKey("courier", Courier)
MAX_BODY: Final = 1024 * 1024
MAX_FILE: Final = 6 * 1024 * 1024  # a file of 5 MB with what is around it
_FILES: Final = "/v1/files"
MS: Final = 1000


def create_app(settings: PspSettings) -> web.Application:
    """The application over a new engine.

    Its courier runs while the application does, unless webhooks are pulled.
    """
    app = web.Application(client_max_size=MAX_FILE)
    engine = PspEngine(settings)
    app[ENGINE] = engine
    app[COURIER] = Courier(engine)
    app.router.add_route("*", "/{path:.*}", _serve)
    app.cleanup_ctx.append(_running_courier)
    return app


async def _running_courier(app: web.Application) -> AsyncIterator[None]:
    engine = app[ENGINE]
    task = None if engine.settings.pull_webhooks else asyncio.create_task(app[COURIER].run())
    yield
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    engine.close()


async def _serve(request: web.Request) -> web.StreamResponse:
    engine = request.app[ENGINE]
    limit = MAX_FILE if request.path == _FILES else MAX_BODY
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        body = None
    if body is None or len(body) > limit:
        error = {"type": "invalid_request_error", "message": f"The body is larger than {limit} bytes."}
        return web.json_response({"error": error}, status=413)
    received = PspRequest(
        method=request.method,
        path=request.path,
        query=request.rel_url.raw_query_string,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
    )
    page = page_for(engine.state, received, engine.handle)
    if page is not None:
        if len(engine.state.webhooks):
            request.app[COURIER].wake()
        return web.Response(status=page.status, body=page.body, headers=page.headers)
    admission = engine.admit(received)
    if admission.delay_ms:
        try:
            await asyncio.sleep(admission.delay_ms / MS)
        except asyncio.CancelledError:
            engine.abandon(admission)
            raise
    reply = engine.execute(admission)
    if len(engine.state.webhooks):
        request.app[COURIER].wake()
    if reply.lost is not None:
        return await _lose(request, reply)
    return web.Response(status=reply.status, body=reply.body, headers=reply.headers)


async def _lose(request: web.Request, reply: PspReply) -> web.StreamResponse:
    """Let the client wait, then break the connection without an answer."""
    if reply.hold_ms:
        await asyncio.sleep(reply.hold_ms / MS)
    transport = request.transport
    if transport is not None:
        transport.abort()
    return web.Response(status=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPsp:
    """A served sandbox: its base URL and its engine."""

    url: str
    port: int
    engine: PspEngine


@asynccontextmanager
async def start_psp(
    settings: PspSettings, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[RunningPsp]:
    """Serve the sandbox while the context lasts; port 0 chooses a free one.

    Raises OSError if the port is taken.
    """
    app = create_app(settings)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        yield RunningPsp(url=f"http://{host}:{bound}", port=bound, engine=app[ENGINE])
    finally:
        await runner.cleanup()
