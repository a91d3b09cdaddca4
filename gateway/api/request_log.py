"""The requests of API keys: noted in memory as they are answered, stored once a second in one statement.

Owns: the bounded queue, that loop of a gateway process, and the count of what was lost. Must not know how
requests are stored or read. No request waits for its entry: where more come than the queue holds, or the
database is away, entries are lost, counted and reported.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

import msgspec
import structlog
from aiohttp import web

from gateway.api.auth import Caller
from gateway.api.problems import CONTENT_TYPE
from gateway.api.services import ApiServices
from gateway.ids import new_id
from gateway.logs import first_line
from gateway.partners.request_log_repository import RequestRecord

CALLER: Final = web.RequestKey("caller", Caller)
QUEUE_LIMIT: Final = 5_000  # entries of one second, and so the rows of one statement
_EVERY_SECONDS: Final = 1.0
_MS: Final = 1000
_log = structlog.get_logger(__name__)


class _Problem(msgspec.Struct):
    code: str | None = None


_problem: Final = msgspec.json.Decoder(_Problem)


class RequestLog:
    """What this process answered to API keys and has not stored yet."""

    def __init__(
        self, services: ApiServices, *, count_lost: Callable[[int], None], limit: int = QUEUE_LIMIT
    ) -> None:
        self._services = services
        self._limit = limit
        self._waiting: deque[RequestRecord] = deque()
        self._unreported = 0
        self._count_lost = count_lost

    def note(
        self,
        request: web.Request,
        response: web.StreamResponse,
        *,
        request_id: str,
        route: str,
        seconds: float,
    ) -> None:
        """Keep one answered request for the next batch; one without a known key is nobody's."""
        caller = request.get(CALLER)
        if caller is None:
            return
        self.add(
            RequestRecord(
                id=new_id(),
                party_id=caller.party_id,
                key_prefix=caller.key,
                request_id=request_id,
                method=request.method,
                route=route,
                status=response.status,
                duration_ms=round(seconds * _MS),
                error_code=_error_code(response),
                requested_at=self._services.clock.wall_now() - timedelta(seconds=seconds),
            )
        )

    def add(self, record: RequestRecord) -> None:
        """Keep an entry for the next batch; it is lost, and counted, where the queue is full."""
        if len(self._waiting) >= self._limit:
            self._lose(1)
        else:
            self._waiting.append(record)

    @property
    def waiting(self) -> Sequence[RequestRecord]:
        """The entries that are not stored yet, oldest first."""
        return self._waiting

    async def store(self) -> int:
        """Store what waits, in one statement; how many entries that was."""
        batch, self._waiting = list(self._waiting), deque()
        if not batch:
            return 0
        try:
            await self._services.request_log.store(batch)
        except Exception as error:  # noqa: BLE001 - the loop's boundary: no entry is worth a process
            self._lose(len(batch))
            _log.warning("request_log_not_stored", requests=len(batch), reason=first_line(error))
            return 0
        if self._unreported:
            _log.warning("request_log_lost", requests=self._unreported, limit=self._limit)
            self._unreported = 0
        return len(batch)

    def context(self) -> Callable[[web.Application], AsyncIterator[None]]:
        """The context that stores entries from the server's start to its end, and once more then."""

        async def stored(_app: web.Application) -> AsyncIterator[None]:
            storing = asyncio.create_task(self._store_often(), name="request log")
            yield
            storing.cancel()
            with suppress(asyncio.CancelledError):
                await storing
            await self.store()

        return stored

    async def _store_often(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self.store()

    def _lose(self, count: int) -> None:
        self._count_lost(count)
        self._unreported += count


def _error_code(response: web.StreamResponse) -> str | None:
    """The `code` of a problem, also of one that an idempotent replay answers again."""
    if response.content_type != CONTENT_TYPE or not isinstance(response, web.Response):
        return None
    body = response.body
    try:
        return _problem.decode(body).code if isinstance(body, bytes) else None
    except msgspec.DecodeError:
        return None
