"""Delivers webhooks: fans events out, sends what is due, records the answers.

Owns: the loop around these steps. Must not know how a delivery is sent or when it is retried.
"""

import asyncio
from dataclasses import dataclass

import structlog

from gateway.acts.act import JobAct, acting
from gateway.jobs.job_loops import JobLoops, rest
from gateway.webhooks.delivery import WebhookDelivery


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDeliveryJob:
    """Sends what is due. `run_once` is one round that waits for its answers; `run` never waits for one."""

    delivery: WebhookDelivery
    name: str = "webhook_delivery"

    async def run_once(self) -> int:
        """Fan out, send what is due, wait for the answers, record them. Returns how much was done."""
        made = await self.delivery.fan_out()
        self.delivery.sweep_next()
        async with asyncio.TaskGroup() as group:
            started = await self.delivery.start(group)
        await self.delivery.record()
        return made + started

    async def run(self, *, stop: asyncio.Event, poll_s: float, loops: JobLoops) -> None:
        """Send until `stop` is set, then wait for the requests in flight and record their answers.

        A slow receiver holds only its own connections: a round starts what is due and never waits for it.
        """
        structlog.contextvars.bind_contextvars(job=self.name)
        loops.turned(self.name, None)
        with acting(JobAct(name=self.name)):
            await self._send(stop=stop, poll_s=poll_s, loops=loops)

    async def _send(self, *, stop: asyncio.Event, poll_s: float, loops: JobLoops) -> None:
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                try:
                    await self.delivery.record()
                    done = await self.delivery.fan_out() + await self.delivery.start(group)
                except Exception as error:  # noqa: BLE001 - the process boundary of a job: it must go on
                    await rest(stop, loops.turned(self.name, error))
                    continue
                loops.turned(self.name, None)
                if not done:
                    await self.delivery.wait(stop, poll_s)
        await self.delivery.record()
