"""The worker: every lane of work in a loop of its own, until told to stop.

Owns: pauses, failures and the graceful end of lanes. Must not know what a lane does. A lane that fails is
logged, waits, and goes on: what it held is leased again. At a stop each lane finishes the round it is in.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

_log = structlog.get_logger(__name__)
_FAILURE_PAUSE_S: Final = 1.0


class Lane(Protocol):
    """A kind of work that is repeated."""

    @property
    def name(self) -> str:
        """What the logs call it."""
        ...

    async def run_once(self) -> int:
        """Do what is due, bounded. Returns how much was done; 0 lets the lane rest."""
        ...


async def run_lanes(lanes: Sequence[Lane], *, stop: asyncio.Event, poll_s: float) -> None:
    """Run every lane until `stop` is set; returns when each has finished its round."""
    async with asyncio.TaskGroup() as group:
        for lane in lanes:
            group.create_task(_run(lane, stop=stop, poll_s=poll_s), name=f"lane {lane.name}")


async def _run(lane: Lane, *, stop: asyncio.Event, poll_s: float) -> None:
    structlog.contextvars.bind_contextvars(lane=lane.name)
    while not stop.is_set():
        try:
            pause = 0.0 if await lane.run_once() else poll_s
        except Exception:  # noqa: BLE001 - the process boundary of a lane: the others must go on
            _log.exception("lane_failed")
            pause = _FAILURE_PAUSE_S
        await _rest(stop, pause)


async def _rest(stop: asyncio.Event, pause_s: float) -> None:
    if pause_s == 0:
        await asyncio.sleep(0)
        return
    try:
        async with asyncio.timeout(pause_s):
            await stop.wait()
    except TimeoutError:
        return
