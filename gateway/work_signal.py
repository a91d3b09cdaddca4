"""The signal of one process that work was left: its loops look for it at once, not at their next turn.

Owns: who waits, and that no signal is missed between a look and the wait after it. Must not know what the
work is.
"""

import asyncio
from typing import Final

from aiohttp import hdrs, web

SHORTEST_WAIT_S: Final = 0.001
_DAY_S: Final = 86_400.0
_READS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})


class WorkSignal:
    """Wakes every loop that waits. A loop takes a mark, looks for work, and waits with that mark."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._left = asyncio.Event()

    def mark(self) -> asyncio.Event:
        """What to wait with; whatever wakes the loops from now on ends the wait."""
        return self._woken

    def give(self) -> None:
        """This process left work, which may be another's to do."""
        self._left.set()
        self.wake()

    def wake(self) -> None:
        """There may be work for the loops of this process."""
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()

    async def wait_for_work_left(self, *, stop: asyncio.Event) -> bool:
        """Wait until this process has left work since the last call; False: `stop` is set."""
        await wait_for(self._left, stop=stop, seconds=_DAY_S)
        self._left.clear()
        return not stop.is_set()


async def wait_for(event: asyncio.Event, *, stop: asyncio.Event, seconds: float) -> bool:
    """Wait until `event` or `stop` is set or the time has passed; whether `event` is set."""
    if event.is_set() or stop.is_set():
        await asyncio.sleep(0)
        return event.is_set()
    waiting = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(
            waiting, timeout=max(seconds, SHORTEST_WAIT_S), return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for one in waiting:
            one.cancel()
    return event.is_set()


def signal_requests(app: web.Application, signal: WorkSignal) -> None:
    """Have every request that may have changed something give the signal, once its answer is ready."""

    async def give(request: web.Request, _answer: web.StreamResponse) -> None:
        if request.method not in _READS:
            signal.give()

    app.on_response_prepare.append(give)
