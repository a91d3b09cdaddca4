"""A part of a page that follows what happens: server-sent events, bounded in time and number.

Owns: the streams of a process, and one reading for all of them. Must not know: what a page shows, or where it
comes from. Source: WHATWG HTML, server-sent events (text/event-stream).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import structlog
from aiohttp import web

from gateway.logs import first_line

MOST_STREAMS: Final = 200  # of one process: beyond them a page asks every few seconds instead
CONTENT_TYPE: Final = "text/event-stream"
_LOOKS: Final = 200  # then the browser opens the stream anew
_SILENT_LOOKS: Final = 5  # after so many without a change a page learns that the stream still lives
_UNAVAILABLE: Final = 503
_HEADERS: Final = {
    "Content-Type": f"{CONTENT_TYPE}; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a proxy must not collect the stream
    "X-Content-Type-Options": "nosniff",
}
_NO_HEADERS: Final[Mapping[str, str]] = {}
_log = structlog.get_logger(__name__)
_CLOSING: Final = web.AppKey("live_streams_closing", asyncio.Event)
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLook:
    """The part as it is now, None where it was not looked at.

    `moving`: it is about to change. `over`: who looks may no longer see it; the page is to be opened anew.
    """

    html: str | None
    moving: bool
    over: bool = False


Look = Callable[[int], Awaitable[LiveLook]]


def end_streams_at_shutdown(app: web.Application) -> None:
    """Have the application's streams end when it stops: their browsers open them anew elsewhere."""
    app[_CLOSING] = asyncio.Event()

    async def close(closing: web.Application) -> None:
        closing[_CLOSING].set()

    app.on_shutdown.append(close)


@dataclass(slots=True)
class LiveStreams:
    """The open streams of a process; `most_of_one`: those of whoever `run` is given as `viewer`."""

    pause_seconds: float
    most: int = MOST_STREAMS
    most_of_one: int = MOST_STREAMS
    _open: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many are open."""
        return self._open.total()

    async def run(
        self,
        request: web.Request,
        look: Look,
        *,
        viewer: str = "",
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> web.StreamResponse:
        """Send the part whenever it changes, until it is final. `look` is given the number of the look."""
        if self.count >= self.most or self._open[viewer] >= self.most_of_one:
            return web.Response(status=_UNAVAILABLE, headers={"Retry-After": "10"})
        self._open[viewer] += 1
        try:
            return await self._send(request, look, headers)
        finally:
            self._open[viewer] -= 1
            if not self._open[viewer]:
                del self._open[viewer]

    async def _send(self, request: web.Request, look: Look, headers: Mapping[str, str]) -> web.StreamResponse:
        response: web.StreamResponse | None = None
        known, silent = "", 0
        for number in range(_LOOKS):
            try:
                seen = await look(number)  # an unknown token is answered before the stream begins
            except Exception as error:
                if response is None:
                    raise
                _log.warning("live_stream_broke_off", reason=first_line(error))
                break  # the browser opens it anew, and is answered what is wrong
            if response is None:
                response = web.StreamResponse(headers={**headers, **_HEADERS})
                await response.prepare(request)
                await response.write(f"retry: {round(self.pause_seconds * 1000)}\n\n".encode())
            if seen.over:
                await response.write(_event("over", ""))
                break
            if seen.html is not None and seen.html != known:
                known, silent = seen.html, 0
                await response.write(_event("live", seen.html))
            else:
                silent += 1
                if silent % _SILENT_LOOKS == 0:
                    await response.write(b"event: alive\ndata:\n\n")
            if not seen.moving or await self._closes(request):
                break
        return response or web.Response(status=_UNAVAILABLE)

    async def _closes(self, request: web.Request) -> bool:
        """Pause; whether the process stops."""
        closing = request.app.get(_CLOSING)
        if closing is None:
            await asyncio.sleep(self.pause_seconds)
            return False
        try:
            async with asyncio.timeout(self.pause_seconds):
                await closing.wait()
        except TimeoutError:
            return False
        return True


@dataclass(slots=True)
class SharedReading(Generic[_Found]):
    """What many streams show is read once for all of them, and again once it is `seconds` old."""

    seconds: float
    _reading: "asyncio.Task[_Found] | None" = field(default=None)
    _read_at: float = field(default=float("-inf"))

    async def get(self, read: Callable[[], Awaitable[_Found]]) -> _Found:
        """What was last read, or is being read now. Raises what `read` raises, to all who wait for it."""
        old = time.monotonic() - self._read_at >= self.seconds
        if self._reading is None or (self._reading.done() and (old or self._failed(self._reading))):
            self._read_at = time.monotonic()
            self._reading = asyncio.ensure_future(self._run(read))
        return await asyncio.shield(self._reading)  # who goes away takes it from nobody

    async def _run(self, read: Callable[[], Awaitable[_Found]]) -> _Found:
        return await read()

    @staticmethod
    def _failed(reading: "asyncio.Task[_Found]") -> bool:
        return reading.cancelled() or reading.exception() is not None


def _event(name: str, html: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in html.splitlines()) or "data:\n"
    return f"event: {name}\n{lines}\n".encode()
