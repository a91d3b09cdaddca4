"""The delivery lane: events become deliveries, deliveries become signed requests, until acknowledged.

Owns: who is sent to now, how many at once, and what an answer leads to. Must not know what an event
means, or the HTTP of a request. Order is kept per endpoint and object: a later event waits for an earlier
one. A receiver that fails is left alone for growing pauses and tried with one event at a time, so that it
delays nobody and loses no attempt of what waits behind. At least once: what a crash interrupts is leased
again.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, assert_never
from uuid import UUID

import aiohttp
import structlog

from gateway import objects
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id, lane_of
from gateway.notify import events
from gateway.notify.events import EventType, NewEvent
from gateway.notify.schedule import PAUSE_AFTER_FAILURES, gives_up, next_attempt, pause_until
from gateway.notify.sender import Gone, Refused, SendOutcome, Taken, send
from gateway.store import webhooks
from gateway.store.webhooks import Attempt, ClaimedDelivery, EndpointRow

FAN_OUT_BATCH: Final = 500
LEASE: Final = timedelta(seconds=60)
_FAILURE_PAUSE_SECONDS: Final = 1.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLimits:
    """How much is in the air at once: in all, and for one endpoint."""

    in_flight: int = 200
    per_endpoint: int = 16
    timeout_seconds: float = 15.0


@dataclass(slots=True, kw_only=True)
class DeliveryLane:
    """Sends what is due. `run_once` is one round that waits for its answers; `run` never waits for one.

    `client` comes from gateway.outbound, which guards every connection. `chance` spreads retries.
    """

    pool: Pool
    client: aiohttp.ClientSession
    clock: Clock
    limits: DeliveryLimits = field(default_factory=DeliveryLimits)
    chance: random.Random = field(default_factory=random.SystemRandom)
    name: str = "deliver"
    _busy: Counter[UUID] = field(default_factory=Counter)
    _failing: set[UUID] = field(default_factory=set)
    _unrecorded: Counter[UUID] = field(default_factory=Counter)  # failures not yet written
    _results: list[tuple[ClaimedDelivery, SendOutcome, int]] = field(default_factory=list)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def run_once(self) -> int:
        """Fan out, send what is due, wait for the answers, record them. Returns how much was done."""
        made = await fan_out(self.pool, wall_now=self.clock.wall_now())
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
                    done = await self._round(group)
                except Exception:  # noqa: BLE001 - the process boundary of a lane: it must go on
                    _log.exception("lane_failed")
                    await _rest(stop, _FAILURE_PAUSE_SECONDS)
                    continue
                if not done:
                    await self._wait(stop, poll_s)
        await self._record()

    async def _round(self, group: asyncio.TaskGroup) -> int:
        await self._record()
        made = await fan_out(self.pool, wall_now=self.clock.wall_now())
        return made + await self._start(group)

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

    def _full(self) -> list[UUID]:
        """Endpoints that get nothing more for now: at their limit, being tried, or failing as we speak."""
        held = {
            endpoint
            for endpoint, count in self._busy.items()
            if count >= self.limits.per_endpoint or endpoint in self._failing
        }
        failing = {one for one, count in self._unrecorded.items() if count >= PAUSE_AFTER_FAILURES}
        return list(held | failing)

    async def _start(self, group: asyncio.TaskGroup) -> int:
        started = 0
        async with self.pool.acquire() as connection:
            due = await webhooks.due(connection, wall_now=self.clock.wall_now(), busy=self._full())
            self.chance.shuffle(due)
            for lane, endpoints in due:
                if self._busy.total() >= self.limits.in_flight:
                    break
                started += await self._start_lane(connection, lane, endpoints, group)
        return started

    async def _start_lane(
        self, connection: Connection, lane: int, endpoints: Sequence[UUID], group: asyncio.TaskGroup
    ) -> int:
        now = self.clock.wall_now()
        claimed = await webhooks.claim(
            connection,
            lane=lane,
            endpoints=endpoints,
            wall_now=now,
            leased_until=now + LEASE,
            per_endpoint=self.limits.per_endpoint,
            pause_after=PAUSE_AFTER_FAILURES,
            busy=self._full(),
        )
        for delivery in claimed:
            self._busy[delivery.endpoint_id] += 1
            if delivery.failures_in_a_row >= PAUSE_AFTER_FAILURES:
                self._failing.add(delivery.endpoint_id)
            group.create_task(self._send(delivery))
        return len(claimed)

    async def _send(self, delivery: ClaimedDelivery) -> None:
        try:
            outcome, duration_ms = await send(
                self.client,
                delivery,
                wall_now=self.clock.wall_now(),
                timeout_seconds=self.limits.timeout_seconds,
            )
            self._results.append((delivery, outcome, duration_ms))
            if isinstance(outcome, Refused):
                probe = delivery.failures_in_a_row >= PAUSE_AFTER_FAILURES
                self._unrecorded[delivery.endpoint_id] += PAUSE_AFTER_FAILURES if probe else 1
            else:
                self._unrecorded.pop(delivery.endpoint_id, None)
        except Exception:  # noqa: BLE001 - the process boundary of one delivery: the others go on
            _log.exception("delivery_failed", event_id=format_id("evt", delivery.event_id))
            self._results.append((delivery, Refused(status=None, reason="an error on our side"), 0))
        finally:
            self._busy[delivery.endpoint_id] -= 1
            if self._busy[delivery.endpoint_id] <= 0:
                del self._busy[delivery.endpoint_id]
                self._failing.discard(delivery.endpoint_id)
            self._answered.set()

    async def _record(self) -> None:
        """Write the answers that came; what can't be written now is kept for the next round."""
        results = list(self._results)
        if not results:
            return
        now = self.clock.wall_now()
        attempts = [self._attempt(one, outcome, took, now) for one, outcome, took in results]
        async with transaction(self.pool) as connection:
            await webhooks.record_attempts(connection, attempts)
            await self._note_health(connection, results, now=now)
        del self._results[: len(results)]
        for delivery, _, _ in results:
            self._unrecorded.pop(delivery.endpoint_id, None)

    def _attempt(
        self, delivery: ClaimedDelivery, outcome: SendOutcome, duration_ms: int, now: datetime
    ) -> Attempt:
        state, again, status, error = "delivered", None, outcome.status, None
        match outcome:
            case Taken():
                pass
            case Gone():
                state, error = "abandoned", "the receiver is gone (410)"
            case Refused(reason=reason, retry_after=asked):
                again = next_attempt(
                    attempts=delivery.attempts,
                    now=now,
                    spread=self.chance.randrange(100),
                    retry_after=asked,
                )
                state, error = ("failed" if again is None else "pending"), reason
            case never:
                assert_never(never)
        return Attempt(
            lane=delivery.lane,
            endpoint_id=delivery.endpoint_id,
            event_id=delivery.event_id,
            state=state,
            next_attempt_at=again,
            status=status,
            error=error,
            at=now,
            duration_ms=duration_ms,
        )

    async def _note_health(
        self,
        connection: Connection,
        results: Sequence[tuple[ClaimedDelivery, SendOutcome, int]],
        *,
        now: datetime,
    ) -> None:
        """Per endpoint: well again, failing, gone. Rows are touched in the order of their ids."""
        well, gone, failed = set(), set(), Counter[UUID]()
        for delivery, outcome, _ in results:
            match outcome:
                case Taken():
                    well.add(delivery.endpoint_id)
                case Gone():
                    gone.add(delivery.endpoint_id)
                case Refused():
                    failed[delivery.endpoint_id] += 1
                case never:
                    assert_never(never)
        for endpoint_id in sorted(well | gone | set(failed)):
            if endpoint_id in gone:
                await self._disable(connection, endpoint_id, reason="the receiver answered 410 Gone")
            elif endpoint_id in well:
                await webhooks.endpoints_recovered(connection, [endpoint_id])
            else:
                await self._note_failures(connection, endpoint_id, failures=failed[endpoint_id], now=now)

    async def _note_failures(
        self, connection: Connection, endpoint_id: UUID, *, failures: int, now: datetime
    ) -> None:
        failure = await webhooks.endpoint_failed(
            connection, endpoint_id=endpoint_id, failures=failures, wall_now=now
        )
        if failure is None:
            return
        if gives_up(failing_since=failure.failing_since, now=now):
            await self._disable(connection, endpoint_id, reason="no delivery succeeded for five days")
            return
        pause = pause_until(failures_in_a_row=failure.failures_in_a_row, now=now)
        if pause is not None:
            await webhooks.pause_endpoint(connection, endpoint_id=endpoint_id, resume_at=pause)

    async def _disable(self, connection: Connection, endpoint_id: UUID, *, reason: str) -> None:
        """Stop sending, and tell the party by an event, which it can pull or hear of elsewhere."""
        if not await webhooks.disable_endpoint(connection, endpoint_id=endpoint_id, reason=reason):
            return
        stored = await webhooks.find_endpoint(connection, endpoint_id=endpoint_id, party_id=None)
        if stored is None:
            return
        _log.warning("webhook_endpoint_disabled", endpoint=format_id("whe", endpoint_id), reason=reason)
        shown = endpoint_object(stored)
        told = NewEvent(
            type=EventType.WEBHOOK_ENDPOINT_DISABLED,
            party_id=stored.party_id,
            object_id=shown.id,
            data=shown.as_json(),
            lane=lane_of(endpoint_id),
        )
        await events.record(connection, [told], now=self.clock.now())


async def fan_out(pool: Pool, *, wall_now: datetime, batch: int = FAN_OUT_BATCH) -> int:
    """Make deliveries of new events, a bounded batch for each lane; how many events were taken."""
    taken = 0
    async with pool.acquire() as connection:
        for lane in await webhooks.lanes_to_fan_out(connection):
            taken += await webhooks.fan_out(connection, lane=lane, batch=batch, wall_now=wall_now)
    return taken


def endpoint_object(row: EndpointRow, *, secret: str | None = None) -> objects.WebhookEndpoint:
    """The public endpoint; its secret only where it was just made."""
    return objects.WebhookEndpoint(
        id=format_id("whe", row.id),
        url=row.url,
        events=list(row.event_types),
        state="enabled" if row.state == "enabled" else "disabled",
        disabled_reason=row.disabled_reason,
        failing_since=row.failing_since,
        created=row.created_at,
        secret=secret,
    )


async def _rest(stop: asyncio.Event, pause_s: float) -> None:
    try:
        async with asyncio.timeout(pause_s):
            await stop.wait()
    except TimeoutError:
        return
