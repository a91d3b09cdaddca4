"""Webhooks on their way: due deliveries are posted, acknowledged, or tried again later.

Owns: concurrency and timeouts of sending. Must not know: what an event means.
"""

import asyncio
import time
from typing import Final

import aiohttp

from sandbox.stripe.engine import PspEngine
from sandbox.stripe.problems import Json

CONCURRENCY: Final = 32
TIMEOUT_S: Final = 10
IDLE_S: Final = 0.2
_ACCEPTED: Final = range(200, 300)


class Courier:
    """Delivers in the background until it is cancelled. `wake` cuts its idling short."""

    def __init__(self, engine: PspEngine) -> None:
        self._engine = engine
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something may have been queued."""
        self._wake.set()

    async def run(self) -> None:
        """Fetch, send and acknowledge deliveries until cancelled.

        Run timers of the business clock meanwhile.
        """
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=CONCURRENCY)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            while True:
                self._wake.clear()
                self._engine.run_timers()
                batch = self._engine.state.webhooks.pop_due(now=int(time.time()), limit=CONCURRENCY)
                if batch:
                    await self._send_all(session, batch)
                    continue
                try:
                    await asyncio.wait_for(self._wake.wait(), IDLE_S)
                except TimeoutError:
                    continue

    async def _send_all(self, session: aiohttp.ClientSession, batch: list[Json]) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._send(session, delivery)) for delivery in batch]
        done: list[str] = []
        for delivery, task in zip(batch, tasks, strict=True):
            if task.result() or not self._engine.state.webhooks.retry(delivery, now=int(time.time())):
                done.append(delivery["id"])
        self._engine.delivered(done)

    async def _send(self, session: aiohttp.ClientSession, delivery: Json) -> bool:
        """Whether the receiver accepted it; a delivery without event or endpoint counts as done."""
        webhook = self._engine.signed(delivery, timestamp=int(time.time()))
        if webhook is None:
            return True
        try:
            async with session.post(
                webhook.url, data=webhook.body, headers=webhook.headers, allow_redirects=False
            ) as response:
                return response.status in _ACCEPTED
        except (aiohttp.ClientError, TimeoutError):
            return False
