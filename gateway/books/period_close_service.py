"""Closing a period: what stands open, with who ends it and how, and the second person that it needs then.

Owns: which open points belong to a period. Must not know: HTTP, how a point is ended, how the books are
closed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from clearing.books.period import BooksPeriod, parse_period
from clearing.books.service import BooksService
from clearing.ledger import service as ledger_service
from clearing.ledger.period_close import CloseRequest
from clearing.reporting.closing_points import ClosingPoint, list_closing_points
from clearing.services import ClearingServices
from gateway.books import repository
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.exceptions.presenter import next_step_of
from gateway.exceptions.repository import ExceptionFilter
from gateway.exceptions.service import ExceptionService
from gateway.partners.principals import principal_transaction

_MOST: Final = 10_000
JOB: Final = "close_books_after_days"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingCheck:
    """What stands open at a period's end, whether it is closed, and who asked to close it all the same."""

    until: datetime
    closed: bool
    points: Sequence[ClosingPoint]
    request: CloseRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodCloseService:
    """Raises InvalidBooksRequestError for no period, ClearingConflictError for one that can't be closed."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def check(self, period: str) -> ClosingCheck:
        """What stands open at the end of a period."""
        async with transaction(self.pool) as connection:
            return await self._check(connection, await self._period(connection, period))

    async def close(self, period: str, *, key: str) -> ClosingCheck:
        """Close the books up to the end of a period, in the name of an API key's principal."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            return await self.close_as(connection, period, by=by)

    async def close_as(self, connection: Connection, period: str, *, by: str) -> ClosingCheck:
        """Close in a person's name: at once where nothing stands open, else once a second person asks."""
        found = await self._check(connection, await self._period(connection, period))
        request = await ledger_service.close_period_by_rule(
            connection, until=found.until, by=by, open_points=len(found.points), now=self.clock.now()
        )
        return ClosingCheck(until=found.until, closed=request is None, points=found.points, request=request)

    async def close_if_clean(self, connection: Connection, *, until: datetime, zone: str) -> bool:
        """Close a period that has no open point, as the job does; False: it waits for two people."""
        last = until.astimezone(ZoneInfo(zone)).date()
        if await self._points(connection, last_day=date.fromordinal(last.toordinal() - 1), until=until):
            return False
        await ledger_service.close_period(connection, until=until, by=JOB, now=self.clock.now())
        return True

    async def _check(self, connection: Connection, period: BooksPeriod) -> ClosingCheck:
        closed = await ledger_service.find_closed_until(connection)
        points = await self._points(connection, last_day=period.last, until=period.until)
        return ClosingCheck(
            until=period.until, closed=closed is not None and closed >= period.until, points=points
        )

    async def _points(self, connection: Connection, *, last_day: date, until: datetime) -> list[ClosingPoint]:
        points = await list_closing_points(connection, last_day=last_day, until=until)
        sessions, since = await repository.count_waiting_captures(connection, until=until)
        if sessions:
            points.append(
                ClosingPoint(
                    kind="sessions_not_cleared",
                    subject=f"{sessions} sessions",
                    owner="clearing",
                    next_step="Wait for the workers, or see networkcore status for what stopped them.",
                    since=since,
                )
            )
        exceptions = ExceptionService(clearing=self.clearing)
        await exceptions.refresh(connection, now=self.clock.now(), wall_now=self.clock.wall_now())
        listed = await exceptions.list_exceptions(
            connection, ExceptionFilter(since_before=until), limit=_MOST
        )
        points += [
            ClosingPoint(
                kind=one.kind.value,
                subject=one.subject_id,
                owner=one.assignee or one.owner,
                next_step=next_step_of(one).text,
                detail=f"{one.reason}: {one.detail}",
                amount_minor=one.amount_minor,
                currency=one.currency,
                since=one.since,
            )
            for one in listed
        ]
        return points

    async def _period(self, connection: Connection, text: str) -> BooksPeriod:
        books = BooksService(self.clearing.reference_data)
        return parse_period(text, time_zone=await books.platform_time_zone(connection))
