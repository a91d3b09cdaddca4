"""Webhook delivery: events become deliveries, deliveries become signed requests until they are acknowledged.

Owns: which deliveries are sent now, and which shards are queried. Must not know what an event means, the HTTP
of a request, what an answer leads to, or the loop that repeats this. Order is kept per endpoint and object: a
later event waits for an earlier one. A failing receiver is paused for growing intervals and retried with one
event at a time: it delays no other receiver, and pending deliveries lose no attempt. Delivery is at least
once: after a crash a delivery is leased again.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import aiohttp
import structlog

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.failure_log import is_transient, log_failure
from gateway.ids import SHARD_COUNT, format_id
from gateway.webhooks import delivery_queue
from gateway.webhooks.back_pressure import BackPressure, Limits
from gateway.webhooks.delivery_queue import ClaimedDelivery, PendingEndpoint, Quota
from gateway.webhooks.delivery_results import Result, record, takes_transaction
from gateway.webhooks.own_headers import read_headers
from gateway.webhooks.retry import PAUSE_AFTER_FAILURES
from gateway.webhooks.secret_cipher import SecretCipher
from gateway.webhooks.sender import (
    TIMEOUT_SECONDS,
    Acknowledged,
    MessageProof,
    NotAcknowledged,
    SentMessage,
    send,
)
from gateway.webhooks.signing import SigningKey
from gateway.work_signal import wait_for

LEASE: Final = timedelta(seconds=60)
_ENDPOINTS: Final = 512  # in one query, of all its shards
_MIN_ENDPOINTS: Final = 16  # of one shard in one query
_PAIRS_PER_CALL: Final = 4  # shards and endpoints in one query, for each request that may be started
_FIRST: Final = UUID(int=0)
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class WebhookDelivery:
    """Sends what is due, in steps that a job repeats: `activate`, `start`, `record`. No step waits.

    `client` comes from gateway.outbound, which guards every connection; `secrets` decrypts the signing
    secrets. `chance` spreads retries.
    """

    pool: Pool
    client: aiohttp.ClientSession
    clock: Clock
    secrets: SecretCipher = field(default_factory=SecretCipher)
    limits: Limits = field(default_factory=Limits)
    timeout_seconds: float = TIMEOUT_SECONDS
    shards_per_statement: int = SHARD_COUNT  # 1 on a database that is distributed by shard
    chance: random.Random = field(default_factory=random.SystemRandom)
    _pressure: BackPressure = field(init=False)
    _unrecorded: Counter[UUID] = field(default_factory=Counter)  # failures not yet written
    _results: list[Result] = field(default_factory=list)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)
    _active: set[int] = field(default_factory=set)  # shards to query
    _shards_of: defaultdict[UUID, set[int]] = field(  # by endpoint: shards to query after its next answer
        default_factory=lambda: defaultdict(set)
    )
    _after: dict[int, UUID] = field(default_factory=dict)  # where the next query of a shard begins
    _left: set[int] = field(default_factory=set)  # shards to query from the beginning once their pages end
    _at_once: int = field(init=False)  # shards in one statement
    _full: bool = False  # the last `start` left something

    def __post_init__(self) -> None:
        """Start with no request in flight."""
        self._pressure = BackPressure(limits=self.limits)
        self._at_once = self.shards_per_statement

    def activate(self, shards: Iterable[int]) -> None:
        """Have the next `start` query these shards, and end a wait for it."""
        self._active |= set(shards)
        self._answered.set()

    @property
    def is_full(self) -> bool:
        """Whether the last `start` met a limit: of an endpoint, of all, or of what one query reads."""
        return self._full

    async def wait(self, stop: asyncio.Event, poll_s: float) -> None:
        """Wait until an answer arrived, `stop` is set, or `poll_s` seconds have passed."""
        if self._answered.is_set():
            self._answered.clear()
            return
        await wait_for(self._answered, stop=stop, seconds=poll_s)

    async def start(self, group: asyncio.TaskGroup, *, fences: Mapping[int, int]) -> int:
        """Lease what is due and send it in `group`. Returns how many deliveries.

        Active shards are queried in random order, those with a fencing number; the others are another
        worker's.
        """
        at = asyncio.get_running_loop().time()
        self._active &= fences.keys()
        if not self._active or self._pressure.capacity(at=at) < self.limits.min_query_capacity:
            return 0
        # What is activated from here on, as by an answer that comes during a statement, is queried again.
        queried, self._active = self._active, set()
        shards = sorted(queried)
        self.chance.shuffle(shards)
        started, self._full = 0, False
        try:
            async with self.pool.acquire() as connection:
                while shards:
                    at = asyncio.get_running_loop().time()
                    if self._pressure.capacity(at=at) < self.limits.min_query_capacity:
                        break
                    # Each statement commits by itself: what it leased is sent, whatever becomes of the next.
                    leased = self._reserve(await self._lease(connection, self._take_shards(shards), fences))
                    for delivery, call in leased:
                        group.create_task(self._send(delivery, call))
                    started += len(leased)
        except BaseException:
            self._active |= queried
            raise
        self._active |= set(shards)  # no capacity was left for these
        self._full |= bool(shards)
        return started

    def _take_shards(self, shards: list[int]) -> list[int]:
        """The next shards for one statement, taken from the list."""
        taken = shards[: self._at_once]
        del shards[: self._at_once]
        return taken

    def _adapt(self, *, claimed: int, limit: int) -> None:
        """Fewer shards in a statement where a backlog fills it anyway, more where little is found in each."""
        if 2 * claimed >= limit:
            self._at_once = max(1, self._at_once // 2)
        elif 8 * claimed < limit:
            self._at_once = min(self.shards_per_statement, 2 * self._at_once)

    async def _lease(
        self, connection: Connection, shards: Sequence[int], fences: Mapping[int, int]
    ) -> list[ClaimedDelivery]:
        """Lease what is due in these shards for the next few hundred endpoints, as far as capacity allows."""
        now = self.clock.wall_now()
        page = max(_MIN_ENDPOINTS, _ENDPOINTS // len(shards))
        pending = await delivery_queue.list_pending_endpoints(
            connection,
            after={shard: self._after.pop(shard, _FIRST) for shard in shards},
            limit=page,
            wall_now=now,
        )
        await self._abandon_deleted(connection, pending)
        more = {shard for shard, count in Counter(one.shard for one in pending).items() if count == page}
        self._after |= {one.shard: one.endpoint_id for one in pending if one.shard in more}
        limit = self._pressure.capacity(at=asyncio.get_running_loop().time())
        quotas, left = self._quotas(pending, most=_PAIRS_PER_CALL * max(limit, 1))
        claimed = await delivery_queue.claim(
            connection,
            quotas=quotas,
            fences=fences,
            limit=limit,
            wall_now=now,
            leased_until=now + LEASE,
            pause_after=PAUSE_AFTER_FAILURES,
        )
        self._adapt(claimed=len(claimed), limit=limit)
        self._note_rest(quotas, claimed)
        unfinished = left | (set(shards) if len(claimed) >= limit else set())
        self._left |= unfinished
        ended = set(shards) - more
        self._active |= more | (ended & self._left)
        self._left -= ended
        self._full |= bool(more or unfinished)
        return claimed

    async def _abandon_deleted(self, connection: Connection, pending: Sequence[PendingEndpoint]) -> None:
        """Abandon what was written by transactions that did not see yet that an endpoint was deleted."""
        gone: defaultdict[int, list[UUID]] = defaultdict(list)
        for one in pending:
            if one.deleted:
                gone[one.shard].append(one.endpoint_id)
        for shard, endpoints in sorted(gone.items()):
            await delivery_queue.abandon_pending(connection, shard=shard, endpoints=endpoints)

    def _quotas(self, pending: Sequence[PendingEndpoint], *, most: int) -> tuple[list[Quota], set[int]]:
        """How much to lease of whom, in random order; and the shards of which a part waits for another query.

        An endpoint's capacity is shared among the shards in which something is pending for it.
        """
        shards_of: defaultdict[UUID, list[int]] = defaultdict(list)
        for one in pending:
            capacity = self._capacity_of(one.endpoint_id) if one.callable else -1
            if capacity > 0:
                shards_of[one.endpoint_id].append(one.shard)
            elif capacity == 0:
                self._shards_of[one.endpoint_id].add(one.shard)
        quotas = [
            Quota(shard=shard, endpoint_id=endpoint, quota=-(-capacity // len(shards)), capacity=capacity)
            for endpoint, shards in shards_of.items()
            for capacity in (self._capacity_of(endpoint),)
            for shard in shards
        ]
        self.chance.shuffle(quotas)
        return quotas[:most], {one.shard for one in quotas[most:]}

    def _note_rest(self, quotas: Sequence[Quota], claimed: Sequence[ClaimedDelivery]) -> None:
        """Remember where more may be due for an endpoint once one of its requests is answered."""
        by_endpoint = Counter(one.endpoint_id for one in claimed)
        by_pair = Counter((one.shard, one.endpoint_id) for one in claimed)
        for one in quotas:
            full = by_endpoint[one.endpoint_id] >= one.capacity
            self._full |= full
            if full or by_pair[one.shard, one.endpoint_id] >= one.quota:
                self._shards_of[one.endpoint_id].add(one.shard)

    def _reserve(self, claimed: Sequence[ClaimedDelivery]) -> list[tuple[ClaimedDelivery, int]]:
        """Count what was leased as in flight, before it is sent."""
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

    def _capacity_of(self, endpoint: UUID) -> int:
        """0 for an endpoint whose latest failures are not recorded yet: its pause is about to be written."""
        if self._unrecorded[endpoint] >= PAUSE_AFTER_FAILURES:
            return 0
        return self._pressure.capacity_of(endpoint)

    async def _send(self, delivery: ClaimedDelivery, call: int) -> None:
        loop = asyncio.get_running_loop()
        began, acknowledged = loop.time(), False
        try:
            wall_now = self.clock.wall_now()
            sent = await send(
                self.client,
                delivery,
                proof=self._proof(delivery, wall_now=wall_now),
                wall_now=wall_now,
                timeout_seconds=self.timeout_seconds,
            )
            acknowledged = isinstance(sent.outcome, Acknowledged)
            self._note(Result.of(delivery, sent))
        except Exception as error:  # noqa: BLE001 - the process boundary of one delivery: the others go on
            log_failure(_log, "delivery_failed", error, event_id=format_id("evt", delivery.event_id))
            failed = NotAcknowledged(status=None, reason="an error on our side")
            self._note(Result.of(delivery, SentMessage(outcome=failed, duration_ms=0)))
        finally:
            self._pressure.end(
                delivery.endpoint_id, call, acknowledged=acknowledged, seconds=loop.time() - began
            )
            shards = self._shards_of.get(delivery.endpoint_id)
            if shards:
                self._active.add(shards.pop())
            if not shards:
                self._shards_of.pop(delivery.endpoint_id, None)
            self._answered.set()

    def _proof(self, delivery: ClaimedDelivery, *, wall_now: datetime) -> MessageProof:
        """The keys that sign now and the endpoint's own headers, opened."""
        endpoint, headers = delivery.endpoint_id, delivery.sealed_headers
        return MessageProof(
            signing=[
                SigningKey(scheme=scheme, secret=self.secrets.decrypt(endpoint, sealed))
                for scheme, sealed in delivery.secrets_in_force(wall_now=wall_now)
            ],
            headers={} if headers is None else read_headers(self.secrets.decrypt(endpoint, headers)),
        )

    def _note(self, result: Result) -> None:
        endpoint = result.delivery.endpoint_id
        if isinstance(result.sent.outcome, NotAcknowledged):
            probe = result.delivery.failures_in_a_row >= PAUSE_AFTER_FAILURES
            self._unrecorded[endpoint] += PAUSE_AFTER_FAILURES if probe else 1
        else:
            self._unrecorded.pop(endpoint, None)
        self._results.append(result)

    async def record(self) -> None:
        """Write the answers that arrived; what can't be written now is kept for the next call.

        An answer that can't be stored is replaced by its outcome alone: it must not hold up the others.
        """
        results = list(self._results)
        if not results:
            return
        try:
            await self._record(results)
        except Exception as error:
            if is_transient(error):
                raise
            # The error may repeat what a receiver answered, which is not logged.
            _log.error("delivery_results_not_recorded", reason=type(error).__name__, results=len(results))
            for one in results:
                await self._record_alone(one)

    async def _record_alone(self, result: Result) -> None:
        try:
            await self._record([result])
        except Exception as error:
            if is_transient(error):
                raise
            event_id = format_id("evt", result.delivery.event_id)
            _log.error("delivery_result_not_recorded", reason=type(error).__name__, event_id=event_id)
            self._results[0] = replace(result, sent=result.sent.without_text())
            try:
                await self._record(self._results[:1])
            except Exception as again:
                if is_transient(again):
                    raise
                _log.error("delivery_outcome_not_recorded", reason=type(again).__name__, event_id=event_id)
                del self._results[0]  # its lease ends, and it is sent again

    async def _record(self, results: Sequence[Result]) -> None:
        """Write results, which are the first of those that wait to be written."""
        # Acknowledged and no more to say: a statement that needs no transaction around it. A second one keeps
        # attempts at what is another worker's by now; if the process ends between them, these are not kept.
        scope = transaction(self.pool) if takes_transaction(results) else self.pool.acquire()
        async with scope as connection:
            freed = await record(
                connection,
                results,
                wall_now=self.clock.wall_now(),
                business_now=self.clock.now(),
                chance=self.chance,
            )
        del self._results[: len(results)]
        self._active |= freed
        for one in results:
            self._unrecorded.pop(one.delivery.endpoint_id, None)
