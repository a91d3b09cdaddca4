"""The signal of one process that work was left: its loops look for it at once, not at their next turn.

Owns: who waits, and that no signal is missed between a look and the wait after it. Must not know what the
work is.
"""

import asyncio
from typing import Final

from aiohttp import hdrs, web

SHORTEST_WAIT_S: Final = 0.001
_READS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})


class WorkSignal:
    """Wakes every loop that waits. A loop takes a mark, looks for work, and waits with that mark."""

    def __init__(self) -> None:
        self._given = asyncio.Event()

    def mark(self) -> asyncio.Event:
        """What to wait with; a signal that is given from now on ends the wait."""
        return self._given

    def give(self) -> None:
        """Work was left."""
        given, self._given = self._given, asyncio.Event()
        given.set()

    async def wait(self, mark: asyncio.Event, *, stop: asyncio.Event, seconds: float) -> bool:
        """Wait until the signal is given, `stop` is set or the time has passed; whether it was given."""
        if mark.is_set() or stop.is_set():
            await asyncio.sleep(0)
            return mark.is_set()
        waiting = [asyncio.ensure_future(mark.wait()), asyncio.ensure_future(stop.wait())]
        try:
            await asyncio.wait(
                waiting, timeout=max(seconds, SHORTEST_WAIT_S), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for one in waiting:
                one.cancel()
        return mark.is_set()


def signal_requests(app: web.Application, signal: WorkSignal) -> None:
    """Have every request that may have changed something give the signal, once its answer is ready."""

    async def give(request: web.Request, _answer: web.StreamResponse) -> None:
        if request.method not in _READS:
            signal.give()

    app.on_response_prepare.append(give)
