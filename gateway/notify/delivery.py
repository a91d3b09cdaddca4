"""The delivery lane: events become deliveries, deliveries become signed requests, until acknowledged.

Owns: who is sent to now, and which lanes are looked at. Must not know what an event means, the HTTP of a
request, or what an answer leads to. Order is kept per endpoint and object: a later event waits for an earlier
one. A receiver that fails is left alone for growing pauses and tried with one event at a time, so that it
delays nobody and loses no attempt of what waits behind. At least once: what a crash interrupts is leased
again.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import aiohttp
import structlog

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id
from gateway.notify.back_pressure import BackPressure, Limits
from gateway.notify.recording import Result, record
from gateway.notify.schedule import PAUSE_AFTER_FAILURES
from gateway.notify.secret_box import SecretBox
from gateway.notify.sender import TIMEOUT_SECONDS, Refused, Taken, send
from gateway.store import delivery_queue
from gateway.store.delivery_queue import ClaimedDelivery

FAN_OUT_BATCH: Final = 500
LEASE: Final = timedelta(seconds=60)
_ENDPOINTS: Final = 500  # looked at in one visit to a lane
_SWEEP_SECONDS: Final = 1.0
_FAILURE_PAUSE_SECONDS: Final = 1.0
_FIRST: Final = UUID(int=0)
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class DeliveryLane:
    """Sends what is due. `run_once` is one round that waits for its answers; `run` never waits for one.

    `client` comes from gateway.outbound, which guards every connection; `secrets` opens what signs. `chance`
    spreads retries.
    """

    pool: Pool
    client: aiohttp.ClientSession
    clock: Clock
    secrets: SecretBox = field(default_factory=SecretBox)
    limits: Limits = field(default_factory=Limits)
    timeout_seconds: float = TIMEOUT_SECONDS
    chance: random.Random = field(default_factory=random.SystemRandom)
    name: str = "deliver"
    _pressure: BackPressure = field(init=False)
    _unrecorded: Counter[UUID] = field(default_factory=Counter)  # failures not yet written
    _results: list[Result] = field(default_factory=list)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)
    _hot: set[int] = field(default_factory=set)  # lanes to look at
    _cut: set[int] = field(default_factory=set)  # lanes where there was less room than work
    _owed: defaultdict[UUID, set[int]] = field(default_factory=lambda: defaultdict(set))  # by endpoint
    _after: dict[int, UUID] = field(default_factory=dict)  # where the next visit to a lane begins
    _sweep_at: float = 0.0

    def __post_init__(self) -> None:
        """Start with nothing in the air."""
        self._pressure = BackPressure(limits=self.limits)

    async def run_once(self) -> int:
        """Fan out, send what is due, wait for the answers, record them. Returns how much was done."""
        made = await self._fan_out()
        self._sweep_at = 0.0
        async with asyncio.TaskGroup() as group:
            started = await self._start(group)
        await self._record()
        return made + started

    async def run(self, *, stop: asyncio.Event, poll_s: float) -> None:
        """Send without end until `stop` is set, then wait for what is in the air and record it.

        A slow receiver holds only its own connections: a round starts what is due and never waits for it.
        """
        structlog.contextvars.bind_contextvars(lane=self.name)
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                try:
                    await self._record()
                    done = await self._fan_out() + await self._start(group)
                except Exception:  # noqa: BLE001 - the process boundary of a lane: it must go on
                    _log.exception("lane_failed")
                    await _rest(stop, _FAILURE_PAUSE_SECONDS)
                    continue
                if not done:
                    await self._wait(stop, poll_s)
        await self._record()

    async def _wait(self, stop: asyncio.Event, poll_s: float) -> None:
        """Until an answer came, or the pause is over."""
        self._answered.clear()
        if self._results:
            return
        waiting = [asyncio.ensure_future(self._answered.wait()), asyncio.ensure_future(stop.wait())]
        try:
            await asyncio.wait(waiting, timeout=poll_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()

    async def _fan_out(self) -> int:
        made = await fan_out(self.pool, wall_now=self.clock.wall_now())
        self._hot |= made.keys()
        return sum(made.values())

    async def _start(self, group: asyncio.TaskGroup) -> int:
        """Visit the lanes where something may be due, in no order; once a second all that hold anything."""
        at = asyncio.get_running_loop().time()
        if at >= self._sweep_at:
            async with self.pool.acquire() as connection:
                self._hot |= await delivery_queue.lanes_pending(connection)
            self._sweep_at = at + _SWEEP_SECONDS
        if not self._hot or self._pressure.room(at=at) < self.limits.worth_a_visit:
            return 0
        visits = sorted(self._hot)
        self.chance.shuffle(visits)
        leased: list[tuple[ClaimedDelivery, int]] = []
        try:
            async with delivery_queue.light_transaction(self.pool) as connection:
                for lane in visits:
                    if self._pressure.room(at=asyncio.get_running_loop().time()) < self.limits.worth_a_visit:
                        break
                    leased += self._reserve(await self._visit(connection, lane))
        except BaseException:
            for delivery, call in leased:  # nothing was leased, nothing is sent
                self._pressure.give_up(delivery.endpoint_id, call)
            self._sweep_at = 0.0
            raise
        for delivery, call in leased:
            group.create_task(self._send(delivery, call))
        return len(leased)

    async def _visit(self, connection: Connection, lane: int) -> list[ClaimedDelivery]:
        """Lease what is due in a lane at the next few hundred endpoints, as far as there is room."""
        now = self.clock.wall_now()
        waiting = await delivery_queue.endpoints_waiting(
            connection, lane=lane, after=self._after.pop(lane, _FIRST), limit=_ENDPOINTS, wall_now=now
        )
        more = len(waiting) == _ENDPOINTS
        if more:
            self._after[lane] = waiting[-1].endpoint_id
        rooms: dict[UUID, int] = {}
        for one in waiting:
            room = self._room_of(one.endpoint_id) if one.callable else -1
            if room > 0:
                rooms[one.endpoint_id] = room
            elif room == 0:
                self._owed[one.endpoint_id].add(lane)
        room = self._pressure.room(at=asyncio.get_running_loop().time())
        asked = list(rooms)
        self.chance.shuffle(asked)
        claimed = await delivery_queue.claim(
            connection,
            lane=lane,
            rooms={endpoint: rooms[endpoint] for endpoint in asked},
            limit=room,
            wall_now=now,
            leased_until=now + LEASE,
            pause_after=PAUSE_AFTER_FAILURES,
        )
        for endpoint, count in Counter(delivery.endpoint_id for delivery in claimed).items():
            if count >= rooms[endpoint]:
                self._owed[endpoint].add(lane)
        if len(claimed) >= room:
            self._cut.add(lane)
        if not more and lane not in self._cut:
            self._hot.discard(lane)
        elif not more:
            self._cut.discard(lane)
        return claimed

    def _reserve(self, claimed: Sequence[ClaimedDelivery]) -> list[tuple[ClaimedDelivery, int]]:
        """Room for what was leased, before it is sent."""
        at = asyncio.get_running_loop().time()
        return [
            (
                delivery,
                self._pressure.start(
                    delivery.endpoint_id,
                    at=at,
                    probe=delivery.failures_in_a_row >= PAUSE_AFTER_FAILURES,
                ),
            )
            for delivery in claimed
        ]

    def _room_of(self, endpoint: UUID) -> int:
        """None for one that fails as we speak: its pause is about to be written."""
        if self._unrecorded[endpoint] >= PAUSE_AFTER_FAILURES:
            return 0
        return self._pressure.room_of(endpoint)

    async def _send(self, delivery: ClaimedDelivery, call: int) -> None:
        loop = asyncio.get_running_loop()
        began, taken = loop.time(), False
        try:
            wall_now = self.clock.wall_now()
            in_force = delivery.secrets_in_force(wall_now=wall_now)
            outcome, duration_ms = await send(
                self.client,
                delivery,
                signing=[self.secrets.open(delivery.endpoint_id, one) for one in in_force],
                wall_now=wall_now,
                timeout_seconds=self.timeout_seconds,
            )
            taken = isinstance(outcome, Taken)
            self._note(Result(delivery=delivery, outcome=outcome, duration_ms=duration_ms))
        except Exception:  # noqa: BLE001 - the process boundary of one delivery: the others go on
            _log.exception("delivery_failed", event_id=format_id("evt", delivery.event_id))
            failed = Refused(status=None, reason="an error on our side")
            self._note(Result(delivery=delivery, outcome=failed, duration_ms=0))
        finally:
            self._pressure.end(delivery.endpoint_id, call, taken=taken, seconds=loop.time() - began)
            owed = self._owed.get(delivery.endpoint_id)
            if owed:
                self._hot.add(owed.pop())
            if not owed:
                self._owed.pop(delivery.endpoint_id, None)
            self._answered.set()

    def _note(self, result: Result) -> None:
        endpoint = result.delivery.endpoint_id
        if isinstance(result.outcome, Refused):
            probe = result.delivery.failures_in_a_row >= PAUSE_AFTER_FAILURES
            self._unrecorded[endpoint] += PAUSE_AFTER_FAILURES if probe else 1
        else:
            self._unrecorded.pop(endpoint, None)
        self._results.append(result)

    async def _record(self) -> None:
        """Write the answers that came; what can't be written now is kept for the next round."""
        results = list(self._results)
        if not results:
            return
        async with transaction(self.pool) as connection:
            freed = await record(
                connection,
                results,
                wall_now=self.clock.wall_now(),
                business_now=self.clock.now(),
                chance=self.chance,
            )
        del self._results[: len(results)]
        self._hot |= freed
        for one in results:
            self._unrecorded.pop(one.delivery.endpoint_id, None)


async def fan_out(pool: Pool, *, wall_now: datetime, batch: int = FAN_OUT_BATCH) -> dict[int, int]:
    """Make deliveries of new events, a bounded batch for each lane; how many events were taken of which."""
    async with pool.acquire() as connection:
        lanes = await delivery_queue.lanes_to_fan_out(connection)
    if not lanes:
        return {}
    async with delivery_queue.light_transaction(pool) as connection:
        return {
            lane: await delivery_queue.fan_out(connection, lane=lane, batch=batch, wall_now=wall_now)
            for lane in lanes
        }


async def _rest(stop: asyncio.Event, pause_s: float) -> None:
    try:
        async with asyncio.timeout(pause_s):
            await stop.wait()
    except TimeoutError:
        return
