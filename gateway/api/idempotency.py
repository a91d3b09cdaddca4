"""The Idempotency-Key header: the same request, the same answer, the work at most once.

Owns: reading the header, claiming the key before or with the work, keeping the answer with or after it. Must
not know what the work is. Only a request that was understood claims its key; answers of 5xx and problems
that time may pass by themselves are not kept, so a retry runs the work again, with the same resource id.
Source: draft-ietf-httpapi-idempotency-key-header (400 missing, 422 reused, 409 in flight).
"""

import asyncio
import hashlib
import math
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import BinaryIO, Final, assert_never
from uuid import UUID

from gateway import idempotency_repository as store
from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.clock import Clock
from gateway.database import TRANSIENT, Pool
from gateway.idempotency_repository import shard_of_key
from gateway.ids import new_id
from gateway.key_claim import KeptAnswer, KeyClaim, KeyInUseError

HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotent-Replayed"
LOCK: Final = timedelta(seconds=8)
_RENEWALS: Final = 3  # in the time of a lock: a holder that is alive keeps it
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]{1,255}")
_FIRST_SERVER_ERROR: Final = 500


class KeyRule(StrEnum):
    """Whether a path takes the header."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingResponse:
    """An answer about to be sent. `keep`: whether a repeat of the request gets this very answer.

    `frees_key`: nothing came of the request; its key may carry another one. `kept_body` differs from `body`
    where the answer shows a secret once. `stream` is sent instead of `body` and never kept.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    keep: bool = True
    frees_key: bool = False
    kept_body: bytes | None = None
    stream: BinaryIO | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestIdentity:
    """What makes two requests the same: whose, under which key, and the hash of method, path and body.

    `shard` is that of the session whose path was called; None: the key's own.
    """

    party_id: str
    key: str
    request_hash: bytes
    shard: int | None = None


def read_key(header: str | None, *, rule: KeyRule) -> str | None:
    """The key that a request carries, None where it has none and needs none.

    Raises:
        ProblemError: `idempotency_key_missing` or `idempotency_key_invalid`.
    """
    if rule is KeyRule.NONE:
        return None
    if header is None:
        if rule is KeyRule.REQUIRED:
            raise ProblemError(
                problems.IDEMPOTENCY_KEY_MISSING, f"Send the header {HEADER} with this request."
            )
        return None
    key = header.strip()
    if len(key) > 1 and key[0] == key[-1] == '"':  # the draft's structured form; the plain form is as common
        key = key[1:-1]
    if _PRINTABLE.fullmatch(key) is None:
        raise ProblemError(
            problems.IDEMPOTENCY_KEY_INVALID, "The key is empty, longer than 255, or not printable ASCII."
        )
    return key


def request_hash(*, method: str, path: str, body: bytes) -> bytes:
    """SHA-256 over method, path with query, and body, each set apart."""
    return hashlib.sha256(f"{method}\n{path}\n".encode() + body).digest()


class IdempotencyGate:
    """Runs the work of a key at most once at a time, and answers its repeats."""

    def __init__(self, *, pool: Pool, clock: Clock, lock: timedelta = LOCK) -> None:
        """`lock` is how long a holder that died keeps others out; one that is alive renews it."""
        self._pool = pool
        self._clock = clock
        self._lock = lock

    async def run(
        self, request: RequestIdentity, work: Callable[[UUID], Awaitable[PendingResponse]]
    ) -> PendingResponse:
        """Answer from the store, or claim the key and do the work on the resource id that the key names.

        Raises:
            ProblemError: `idempotency_in_flight` with Retry-After, or `idempotency_key_reused`.
        """

        async def after_claim(key: KeyClaim) -> PendingResponse:
            await key.ensure(self._pool)
            return await work(key.resource_id)

        return await self.run_claiming(request, after_claim)

    async def run_claiming(
        self, request: RequestIdentity, work: Callable[[KeyClaim], Awaitable[PendingResponse]]
    ) -> PendingResponse:
        """As `run`; the work claims the key with its first write and may store the answer with its last.

        Work that wrote nothing has its key claimed after it: an answer that the key has already, stands. Work
        that meets a key in use has had no effect; it is done again where its holder has died.
        """
        now = self._clock.wall_now()
        shard = shard_of_key(request.party_id, request.key) if request.shard is None else request.shard
        key = KeyClaim(
            store.Claim(
                name=store.KeyName(shard=shard, party_id=request.party_id, key=request.key),
                request_hash=request.request_hash,
                resource_id=new_id(shard=shard),
                now=now,
                locked_until=now + self._lock,
            ),
            wall_now=self._clock.wall_now,
        )
        held = _HeldKey(pool=self._pool, clock=self._clock, lock=self._lock, key=key)
        held.begin()
        try:
            return await self._run(key, held, work)
        finally:
            await held.end()

    async def _run(
        self, key: KeyClaim, held: "_HeldKey", work: Callable[[KeyClaim], Awaitable[PendingResponse]]
    ) -> PendingResponse:
        while True:
            resource_id, found = key.resource_id, None
            try:
                answer = await work(key)
            except KeyInUseError as in_use:
                answer, found = None, in_use.outcome
            if key.kept is not None:
                held.done = True
                sent: PendingResponse = key.kept.sent
                return sent
            if not key.claimed and answer is not None and answer.status >= _FIRST_SERVER_ERROR:
                return answer  # it may have been written all the same: the next attempt looks
            if not key.claimed:
                stored = await self._claim(key, found)
                if stored is not None:
                    return stored
            if answer is None or key.resource_id != resource_id:
                continue  # an earlier holder has died: its work goes on, on its resource
            return await held.finish(answer)

    async def _claim(self, key: KeyClaim, outcome: store.ClaimOutcome | None) -> PendingResponse | None:
        """Claim the key by itself; the answer that it has already. Raises ProblemError where it is in use."""
        if key.wanted is None:
            return None
        if outcome is None:
            async with self._pool.acquire() as connection:
                outcome = await store.claim(connection, key.now_wanted())
        match outcome:
            case store.ClaimedKey():
                key.take(outcome)
                return None
            case store.AnswerRecord():
                return _replayed(outcome)
            case store.OtherRequest():
                raise ProblemError(
                    problems.IDEMPOTENCY_KEY_REUSED,
                    "An earlier request with this key had another method, path or body.",
                )
            case store.RequestInFlight(locked_until=until):
                raise _in_flight(until, now=key.wanted.now)
            case never:
                assert_never(never)


@dataclass(slots=True, kw_only=True)
class _HeldKey:
    """A claimed key: kept while its work goes on, and given back or answered at its end."""

    pool: Pool
    clock: Clock
    lock: timedelta
    key: KeyClaim
    done: bool = False
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _renewed_until: datetime | None = None
    _timer: asyncio.TimerHandle | None = None
    _renewing: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Renew the lock from a third of its time on: most work is done before."""
        self._timer = asyncio.get_running_loop().call_later(self._pause_seconds, self._begin_to_renew)

    async def finish(self, answer: PendingResponse) -> PendingResponse:
        """Store the answer, or free the key, as the answer says; the answer that the request has.

        That is another one where the key was taken over from a holder that stood still, and is answered.
        """
        await self._stop()
        first = None
        async with self.pool.acquire() as connection:
            if answer.frees_key:
                await store.free(connection, self._name, locked_until=self._locked_until)
            elif answer.keep and answer.status < _FIRST_SERVER_ERROR:
                kept = kept_answer(answer)
                stored = await store.store_answer(
                    connection, self._name, status=kept.status, headers=kept.headers, body=kept.body
                )
                first = None if stored else await store.find_answer(connection, self._name)
            else:
                await store.unlock(connection, self._name, locked_until=self._locked_until)
        self.done = True
        return answer if first is None else _replayed(first)

    async def end(self) -> None:
        """Give a key back that was claimed and has no answer, so that a retry need not wait."""
        await self._stop()
        if self.key.claimed and not self.done:
            async with self.pool.acquire() as connection:
                await store.unlock(connection, self._name, locked_until=self._locked_until)

    @property
    def _wanted(self) -> store.Claim:
        if self.key.wanted is None:
            raise ValueError("a key is held that there is not")
        return self.key.wanted

    @property
    def _name(self) -> store.KeyName:
        return self._wanted.name

    @property
    def _locked_until(self) -> datetime:
        return self._renewed_until or self._wanted.locked_until

    @property
    def _pause_seconds(self) -> float:
        return self.lock.total_seconds() / _RENEWALS

    def _begin_to_renew(self) -> None:
        self._renewing = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        while not self._ended.is_set():
            try:
                if self.key.claimed and not await self._renew_once():
                    return
            except TRANSIENT:
                pass  # the next one may come in time
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), self._pause_seconds)

    async def _renew_once(self) -> bool:
        until = self.clock.wall_now() + self.lock
        async with self.pool.acquire() as connection:
            kept = await store.renew(
                connection, self._name, locked_until=self._locked_until, renewed_until=until
            )
        if kept:
            self._renewed_until = until
        return kept

    async def _stop(self) -> None:
        """End the renewing; what it met counts for nothing beside the work's own outcome.

        One under way is awaited: a key is given back or freed by the lock that it has.
        """
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._renewing is not None:
            await asyncio.gather(self._renewing, return_exceptions=True)
            self._renewing = None


def kept_answer(answer: PendingResponse) -> KeptAnswer:
    """An answer as it is stored: without secrets that are shown once."""
    return KeptAnswer(
        status=answer.status,
        headers=answer.headers,
        body=answer.body if answer.kept_body is None else answer.kept_body,
        sent=answer,
    )


def _replayed(found: store.AnswerRecord) -> PendingResponse:
    return PendingResponse(
        status=found.status, headers={**found.headers, REPLAYED_HEADER: "true"}, body=found.body
    )


def _in_flight(until: datetime, *, now: datetime) -> ProblemError:
    # A holder usually answers within a second; only a dead one keeps its lock to the end.
    wait = max(1, min(2, math.ceil((until - now).total_seconds())))
    return ProblemError(
        problems.IDEMPOTENCY_IN_FLIGHT,
        "The first request with this key has not been answered yet.",
        headers={"Retry-After": str(wait)},
    )
