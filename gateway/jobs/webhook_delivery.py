"""Delivers webhooks: fans events out, sends what is due, records the answers.

Owns: the loop around these steps. Must not know how a delivery is sent or when it is retried.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.webhooks.delivery import WebhookDelivery

_FAILURE_PAUSE_SECONDS: Final = 1.0
_log = structlog.get_logger(__name__)


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

    async def run(self, *, stop: asyncio.Event, poll_s: float) -> None:
        """Send until `stop` is set, then wait for the requests in flight and record their answers.

        A slow receiver holds only its own connections: a round starts what is due and never waits for it.
        """
        structlog.contextvars.bind_contextvars(job=self.name)
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                try:
                    await self.delivery.record()
                    done = await self.delivery.fan_out() + await self.delivery.start(group)
                except Exception:  # noqa: BLE001 - the process boundary of a job: it must go on
                    _log.exception("job_failed")
                    await self.delivery.wait(stop, _FAILURE_PAUSE_SECONDS)
                    continue
                if not done:
                    await self.delivery.wait(stop, poll_s)
        await self.delivery.record()
