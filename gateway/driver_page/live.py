"""A payment's page that follows what happens: server-sent events, bounded in time and number.

Owns: the stream. Must not know: what a page shows, or where it comes from.
Source: WHATWG HTML, server-sent events (text/event-stream).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

MOST_STREAMS: Final = 200  # of one process: beyond them a page asks every few seconds instead
_LOOKS: Final = 200  # then the browser opens the stream anew
_SILENT_LOOKS: Final = 5  # after so many without a change a page learns that the stream still lives
_UNAVAILABLE: Final = 503
_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a proxy must not collect the stream
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLook:
    """The page as it is now, None where it was not looked at; `moving`: it is about to change."""

    html: str | None
    moving: bool


Look = Callable[[int], Awaitable[LiveLook]]


@dataclass(slots=True)
class LiveStreams:
    """The open streams of a process."""

    pause_seconds: float
    most: int = MOST_STREAMS
    _open: int = field(default=0)

    async def run(self, request: web.Request, look: Look) -> web.StreamResponse:
        """Send the page whenever it changes, until it is final. `look` is given the number of the look."""
        if self._open >= self.most:
            return web.Response(status=_UNAVAILABLE, headers={"Retry-After": "10"})
        self._open += 1
        try:
            return await self._send(request, look)
        finally:
            self._open -= 1

    async def _send(self, request: web.Request, look: Look) -> web.StreamResponse:
        response: web.StreamResponse | None = None
        known, silent = "", 0
        for number in range(_LOOKS):
            seen = await look(number)  # an unknown token is answered before the stream begins
            if response is None:
                response = web.StreamResponse(headers=_HEADERS)
                await response.prepare(request)
                await response.write(f"retry: {round(self.pause_seconds * 1000)}\n\n".encode())
            if seen.html is not None and seen.html != known:
                known, silent = seen.html, 0
                await response.write(_event(seen.html))
            else:
                silent += 1
                if silent % _SILENT_LOOKS == 0:
                    await response.write(b"event: alive\ndata:\n\n")
            if not seen.moving:
                break
            await asyncio.sleep(self.pause_seconds)
        return response or web.Response(status=_UNAVAILABLE)


def _event(html: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in html.splitlines())
    return f"event: live\n{lines}\n".encode()
