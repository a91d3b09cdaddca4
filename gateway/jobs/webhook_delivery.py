"""Delivers webhooks: fans events out, sends what is due, records the answers.

Owns: the loops around these steps. Must not know how a delivery is sent or when it is retried.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from typing_extensions import override

from gateway.failure_log import is_transient, log_failure
from gateway.jobs.job_acts import acting_as
from gateway.jobs.job_loops import JobLoops, rest
from gateway.jobs.shard_job import ShardJob, own_shards
from gateway.webhooks.delivery import WebhookDelivery
from gateway.webhooks.fan_out import fan_out

NEW_EVENT: Final = "new_event"
_EVENT_FAN_OUT: Final = "event_fan_out"
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class EventFanOutJob(ShardJob):
    """Makes deliveries of new events and has them sent at once."""

    delivery: WebhookDelivery

    @property
    @override
    def kind(self) -> str:
        """As the look for work names it."""
        return _EVENT_FAN_OUT

    @override
    async def run_shards(self, fences: Mapping[int, int]) -> Mapping[int, int]:
        """A batch of each shard. Returns how many events of each.

        A shard whose events can't be handed out delays no other; its error is raised after them.
        """
        made: dict[int, int] = {}
        failed: Exception | None = None
        for shard, fence in fences.items():
            try:
                made |= await fan_out(self.pool, {shard: fence})
            except Exception as error:  # noqa: BLE001 - the boundary of one shard; raised after the others
                failed = failed or error
                if is_transient(error):
                    break
        self.delivery.activate(shard for shard, count in made.items() if count)
        if failed is not None:
            raise failed
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEventJob:
    """Has deliveries sent that were written with an event a moment ago, whatever else waits in the shard."""

    delivery: WebhookDelivery
    kind: str = NEW_EVENT

    async def run_shards(self, fences: Mapping[int, int]) -> Mapping[int, int]:
        """Nothing is done here: the shards are queried by the delivery's own loop."""
        self.delivery.activate(fences)
        return {}


# From round to round: one takes what has come since the last. While each finds something and takes all of it,
# the time grows: under load a statement serves many, and a lone event waits for none.
_ROUND_SECONDS: Final = 0.03
_GATHERING_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDeliveryJob:
    """Sends what is due. `run_once` is one round that waits for its answers; `run` never waits for one."""

    delivery: WebhookDelivery
    name: str = "webhook_delivery"

    @property
    def kind(self) -> str:
        """As the look for work names it."""
        return self.name

    async def run_shards(self, fences: Mapping[int, int]) -> Mapping[int, int]:
        """Has `run` query shards in which something is due; what it does not send, it may not send yet."""
        self.delivery.activate(fences)
        return {}

    async def run_once(self) -> int:
        """Fan out, send what is due, wait for the answers, record them. Returns how much was done."""
        pool, clock = self.delivery.pool, self.delivery.clock
        new = (await own_shards(pool, clock)).fences_of(_EVENT_FAN_OUT)
        made = await fan_out(pool, new)
        own = await own_shards(pool, clock)
        self.delivery.activate(own.fences_of(self.kind))
        async with asyncio.TaskGroup() as group:
            started = await self.delivery.start(group, fences=own.fences)
        await self.delivery.record()
        return sum(made.values()) + started

    async def run(
        self,
        *,
        stop: asyncio.Event,
        fences: Callable[[], Mapping[int, int]],
        poll_s: float,
        loops: JobLoops,
    ) -> None:
        """Send until `stop` is set, then wait for the requests in flight and record their answers.

        `fences` gives the shards that this worker owns. A slow receiver holds only its own connections: a
        round starts what is due and never waits for it.
        """
        structlog.contextvars.bind_contextvars(job=self.name)
        loops.turned(self.name, None)
        with acting_as(self.name):
            await self._send(stop=stop, fences=fences, poll_s=poll_s, loops=loops)

    async def _send(
        self,
        *,
        stop: asyncio.Event,
        fences: Callable[[], Mapping[int, int]],
        poll_s: float,
        loops: JobLoops,
    ) -> None:
        loop, began, apart = asyncio.get_running_loop(), 0.0, _ROUND_SECONDS
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                await asyncio.sleep(max(0.0, began + apart - loop.time()))
                began = loop.time()
                try:
                    await self.delivery.record()
                    done = await self.delivery.start(group, fences=fences())
                except Exception as error:  # noqa: BLE001 - the process boundary of a job: it must go on
                    await rest(stop, loops.turned(self.name, error))
                    continue
                loops.turned(self.name, None)
                gathers = done and not self.delivery.is_full
                apart = min(2 * apart, _GATHERING_SECONDS) if gathers else _ROUND_SECONDS
                if not done:
                    await self.delivery.wait(stop, poll_s)
        try:
            await self.delivery.record()
        except Exception as error:  # noqa: BLE001 - as above; what is not recorded is sent again
            log_failure(_log, "webhook_answers_not_recorded", error)
