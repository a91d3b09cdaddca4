"""The exceptions queue as people use it: listed, read, resolved, assigned.

Owns: the transaction of each, and that the queue is in step with its causes before it is read. Must not know:
HTTP, who may ask, any kind of exception. `key` is the API key that asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.exception_kinds import ExceptionKind
from gateway.exceptions.age_limits import AgeLimits, read_age_limits, set_age_limits
from gateway.exceptions.decisions import Decision
from gateway.exceptions.repository import ExceptionFilter, OpenExceptionCount
from gateway.exceptions.rules import ExceptionRecord
from gateway.exceptions.service import ExceptionService, ExceptionView
from gateway.partners.principals import principal_transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionAdministration:
    """Raises ExceptionNotFoundError, ExceptionConflictError."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def list(
        self, wanted: ExceptionFilter, *, before: UUID | None, limit: int
    ) -> Sequence[ExceptionRecord]:
        """The queue as it is now, newest first, those older than `before`."""
        async with transaction(self.pool) as connection:
            await self._queue.refresh(connection, now=self.clock.now(), wall_now=self.clock.wall_now())
            return await self._queue.list_exceptions(connection, wanted, before=before, limit=limit)

    async def get(self, exception_id: UUID) -> ExceptionView:
        """One exception with its history."""
        async with transaction(self.pool) as connection:
            await self._queue.refresh(connection, now=self.clock.now(), wall_now=self.clock.wall_now())
            return await self._queue.get(connection, exception_id)

    async def resolve(
        self, exception_id: UUID, *, note: str, key: str, decision: Decision | None = None
    ) -> ExceptionView:
        """Try the cause again, or carry out `decision`; see `ExceptionService.resolve`."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            return await self._queue.resolve(
                connection,
                exception_id,
                by=by,
                note=note,
                decision=decision,
                now=self.clock.now(),
                wall_now=self.clock.wall_now(),
            )

    async def assign(self, exception_id: UUID, *, assignee: str, note: str, key: str) -> ExceptionView:
        """Name the person who looks after it."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            return await self._queue.assign(
                connection, exception_id, assignee=assignee, by=by, note=note, now=self.clock.now()
            )

    async def count_open(self, *, refresh: bool = True) -> Sequence[OpenExceptionCount]:
        """The open exceptions by kind, as of now; without `refresh` as of the last one.

        A refresh looks for the cause of every kind, and no two run at once: not for each page that somebody
        opens.
        """
        async with transaction(self.pool) as connection:
            if refresh:
                await self._queue.refresh(connection, now=self.clock.now(), wall_now=self.clock.wall_now())
            return await self._queue.count_open(connection, now=self.clock.now())

    async def age_limits(self) -> AgeLimits:
        """From which age exceptions of each kind are overdue."""
        async with self.pool.acquire() as connection:
            return await read_age_limits(connection)

    async def set_age_limits(self, hours: Mapping[ExceptionKind, int | None], *, key: str) -> AgeLimits:
        """Set the limits of these kinds, in hours; None: its default. Raises ExceptionConflictError."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            return await set_age_limits(connection, hours, by=by, now=self.clock.now())

    @property
    def _queue(self) -> ExceptionService:
        return ExceptionService(clearing=self.clearing)
