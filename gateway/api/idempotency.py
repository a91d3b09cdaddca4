"""The Idempotency-Key header: the same request, the same answer, the work at most once.

Owns: reading the header, claiming the key before the work, keeping the answer after it. Must not know
what the work is. Only a request that was understood claims its key; answers of 5xx and problems that time
may pass by themselves are not kept, so a retry runs the work again, with the same resource id.
Source: draft-ietf-httpapi-idempotency-key-header (400 missing, 422 reused, 409 in flight).
"""

import asyncio
import hashlib
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import BinaryIO, Final, assert_never
from uuid import UUID

from gateway import idempotency_repository as store
from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import new_id

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
    """What makes two requests the same: whose, under which key, and the hash of method, path and body."""

    party_id: str
    key: str
    request_hash: bytes


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
        now = self._clock.wall_now()
        locked_until = now + self._lock
        wanted = store.Claim(
            party_id=request.party_id,
            key=request.key,
            request_hash=request.request_hash,
            resource_id=new_id(),
            now=now,
            locked_until=locked_until,
        )
        async with self._pool.acquire() as connection:
            outcome = await store.claim(connection, wanted)
        match outcome:
            case store.ClaimedKey(resource_id=resource_id):
                return await self._work(
                    request, work, resource_id=resource_id, held=_Lock(locked_until=locked_until)
                )
            case store.AnswerRecord(status=status, headers=headers, body=body):
                return PendingResponse(status=status, headers={**headers, REPLAYED_HEADER: "true"}, body=body)
            case store.OtherRequest():
                raise ProblemError(
                    problems.IDEMPOTENCY_KEY_REUSED,
                    "An earlier request with this key had another method, path or body.",
                )
            case store.RequestInFlight(locked_until=until):
                raise _in_flight(until, now=now)
            case never:
                assert_never(never)

    async def _work(
        self,
        request: RequestIdentity,
        work: Callable[[UUID], Awaitable[PendingResponse]],
        *,
        resource_id: UUID,
        held: "_Lock",
    ) -> PendingResponse:
        done = False
        renewing = asyncio.create_task(self._renew(request, held))
        try:
            answer = await work(resource_id)
            await _stop(renewing)
            if answer.frees_key:
                await self._free(request, held)
                done = True
            elif answer.keep and answer.status < _FIRST_SERVER_ERROR:
                await self._keep(request, answer)
                done = True
            return answer
        finally:
            await _stop(renewing)
            if not done:
                await self._unlock(request, held)

    async def _renew(self, request: RequestIdentity, held: "_Lock") -> None:
        """Keep the lock while the work goes on."""
        while True:
            await asyncio.sleep(self._lock.total_seconds() / _RENEWALS)
            until = self._clock.wall_now() + self._lock
            async with self._pool.acquire() as connection:
                kept = await store.renew(
                    connection,
                    party_id=request.party_id,
                    key=request.key,
                    locked_until=held.locked_until,
                    renewed_until=until,
                )
            if not kept:
                return
            held.locked_until = until

    async def _free(self, request: RequestIdentity, held: "_Lock") -> None:
        async with self._pool.acquire() as connection:
            await store.free(
                connection, party_id=request.party_id, key=request.key, locked_until=held.locked_until
            )

    async def _keep(self, request: RequestIdentity, answer: PendingResponse) -> None:
        async with self._pool.acquire() as connection:
            await store.store_answer(
                connection,
                party_id=request.party_id,
                key=request.key,
                status=answer.status,
                headers=answer.headers,
                body=answer.body if answer.kept_body is None else answer.kept_body,
            )

    async def _unlock(self, request: RequestIdentity, held: "_Lock") -> None:
        async with self._pool.acquire() as connection:
            await store.unlock(
                connection, party_id=request.party_id, key=request.key, locked_until=held.locked_until
            )


@dataclass(slots=True, kw_only=True)
class _Lock:
    """A claimed key, until when."""

    locked_until: datetime


async def _stop(task: asyncio.Task[None]) -> None:
    """End the renewing; what it met counts for nothing beside the work's own outcome."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _in_flight(until: datetime, *, now: datetime) -> ProblemError:
    # A holder usually answers within a second; only a dead one keeps its lock to the end.
    wait = max(1, min(2, math.ceil((until - now).total_seconds())))
    return ProblemError(
        problems.IDEMPOTENCY_IN_FLIGHT,
        "The first request with this key has not been answered yet.",
        headers={"Retry-After": str(wait)},
    )
