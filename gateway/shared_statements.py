"""One statement for many callers: calls in flight at the same moment share a round trip and a commit.

Owns: which calls are written together, how long one waits, and whose failure is whose. Must not know: what
is written. A call that meets nothing under way runs at once, in its caller's own task, as it would without
this module: there is no timer. While a statement is under way the next calls wait, and its end starts what
has gathered: one execution of the prepared statement per call, in one transaction, in the order of `order`,
each with its own parameters, snapshot and row. So what one call does is what it does alone.

Where PostgreSQL rejects one of them (a broken key or check, a lock that was not got, a deadlock, a value too
long for an index), the transaction has failed and nothing of it was written: each of its calls is run again
alone, so that the others don't notice. Where the connection is lost the outcome is not known, and each caller
gets that error. A caller that is cancelled while it waits, for a connection too, is never written; one whose
statement was sent no longer hears of it.

Where calls come faster than `pace_seconds` apart and nobody waits for an answer, one after another is written
so seldom, with what has gathered: such calls are quick to write, and would seldom meet.

On a distributed database only calls of one shard are written together (`by_group`).
"""

import asyncio
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from gateway.database import TRANSIENT, Connection, NamedStatement, Pool

MOST_TOGETHER: Final = 32
PATIENCE_SECONDS: Final = 0.005
_STATEMENTS_IN_A_ROW: Final = 8  # then the connection goes back to its pool, where others wait for one
# The server has answered, so that the transaction is rolled back and nothing of it was written.
_ROLLED_BACK: Final = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)


@dataclass(slots=True, kw_only=True, eq=False)
class _Call:
    """A call that waits: its parameters in the statement's order, and who waits for its row."""

    arguments: Sequence[Any]
    order: Any
    group: int
    row: "asyncio.Future[asyncpg.Record]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class SharedStatements:
    """The calls of one statement, which returns exactly one row for each of them."""

    def __init__(
        self,
        *,
        pool: Pool,
        statement: NamedStatement,
        most: int = MOST_TOGETHER,
        patience_seconds: float = PATIENCE_SECONDS,
        pace_seconds: float = 0.0,
        by_group: bool = False,
    ) -> None:
        """`most` calls are written together; after `patience_seconds` one waits for no other statement.

        A statement begins `pace_seconds` after the one before at the earliest; the first one does at once.
        """
        self._pool = pool
        self.statement = statement
        self._most = most
        self._patience_seconds = patience_seconds
        self._pace_seconds = pace_seconds
        self._next_at = 0.0  # the loop's time before which no statement begins
        self.by_group = by_group
        self._waiting: list[_Call] = []
        self._under_way = 0
        self._impatience: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, *, order: Any, group: int, **fields: Any) -> asyncpg.Record:
        """Write one call and return its row. `order`: calls together lock their rows in this order.

        Raises what the statement raises when it is run alone.
        """
        arguments = self.statement.arguments(fields)
        if not self._under_way and not self._rests():
            return await self._at_once(arguments)
        call = _Call(arguments=arguments, order=order, group=group)
        self._waiting.append(call)
        if self._impatience is None:
            self._wait_for_patience()
        try:
            return await call.row
        finally:
            if not call.row.done() or call.row.cancelled():
                self._forget(call)

    async def run_alone(self, **fields: Any) -> asyncpg.Record:
        """Write one call that must not wait for others, nor let others wait for its locks."""
        return await self._execute(self.statement.arguments(fields))

    async def _at_once(self, arguments: Sequence[Any]) -> asyncpg.Record:
        self._begin()
        try:
            return await self._execute(arguments)
        finally:
            self._ended()

    async def _execute(self, arguments: Sequence[Any]) -> asyncpg.Record:
        async with self._pool.acquire() as connection:
            return await self._fetch(connection, arguments)

    async def _fetch(self, connection: Connection, arguments: Sequence[Any]) -> asyncpg.Record:
        row = await connection.fetchrow(self.statement.sql, *arguments)
        if row is None:
            raise RuntimeError(f"the statement {self.statement.name} returned no row")
        return row

    async def _together(self, calls: list[_Call]) -> None:
        """Write several calls, and on the same connection what gathers meanwhile, a few times.

        Each caller gets its row or its own error; an error ends the use of that connection.
        """
        try:
            try:
                async with self._pool.acquire() as connection:
                    for left in reversed(range(_STATEMENTS_IN_A_ROW)):
                        calls = [call for call in calls if not call.row.done()]  # callers still there
                        if calls:
                            await self._write(connection, calls)
                        calls = self._go_on() if left else []
                        if not calls:
                            break
            except Exception as error:
                if len(calls) == 1 or not _rolled_back(error):
                    raise
                await asyncio.gather(*(self._alone(call) for call in calls))
        except BaseException as error:
            for call in calls:
                _fail(call.row, error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._ended()

    async def _write(self, connection: Connection, calls: list[_Call]) -> None:
        if len(calls) == 1:
            _give(calls[0].row, await self._fetch(connection, calls[0].arguments))
            return
        rows = await connection.fetchmany(self.statement.sql, [call.arguments for call in calls])
        if len(rows) != len(calls):
            raise RuntimeError(f"{len(calls)} calls of {self.statement.name} returned {len(rows)} rows")
        for call, row in zip(calls, rows, strict=True):
            _give(call.row, row)

    async def _alone(self, call: _Call) -> None:
        try:
            async with self._pool.acquire() as connection:
                if call.row.done():  # the caller is gone
                    return
                row = await self._fetch(connection, call.arguments)
        except Exception as error:  # noqa: BLE001 - it is the caller's
            _fail(call.row, error)
        else:
            _give(call.row, row)

    def _go_on(self) -> list[_Call]:
        """At the end of a statement: the calls of the next one, which takes its place; none: it rests."""
        if not self._waiting or self._rests():
            return []
        self._under_way -= 1
        self._stop_waiting()
        calls = self._next_calls()
        self._begin()
        self._start()  # what is too much for one, or of other shards
        return calls

    def _begin(self) -> None:
        self._under_way += 1
        if self._pace_seconds > 0:
            self._next_at = asyncio.get_running_loop().time() + self._pace_seconds

    def _rests(self) -> bool:
        """Whether the last statement began a moment ago, so that the next one gathers calls."""
        return self._pace_seconds > 0 and asyncio.get_running_loop().time() < self._next_at

    def _ended(self) -> None:
        self._under_way -= 1
        if not self._rests():  # else the timer of who waits first starts them
            self._start()

    def _start(self) -> None:
        """Start what has gathered, in a task of its own: no caller's end may end the others' statement."""
        self._stop_waiting()
        while self._waiting:
            calls = self._next_calls()
            self._begin()
            task = asyncio.get_running_loop().create_task(
                self._together(calls), name=f"shared {self.statement.name}", context=Context()
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next_calls(self) -> list[_Call]:
        """The next calls that are written together, the longest waiting first."""
        group = self._waiting[0].group if self.by_group else None
        calls: list[_Call] = []
        others: list[_Call] = []
        for call in self._waiting:
            fits = len(calls) < self._most and group in {None, call.group}
            (calls if fits else others).append(call)
        self._waiting = others
        return sorted(calls, key=lambda call: call.order)

    def _stop_waiting(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _wait_for_patience(self) -> None:
        loop = asyncio.get_running_loop()
        at = max(loop.time() + (self._patience_seconds if self._under_way else 0.0), self._next_at)
        self._impatience = loop.call_at(at, self._lose_patience)

    def _lose_patience(self) -> None:
        self._impatience = None
        self._start()

    def _forget(self, call: _Call) -> None:
        """The caller is gone: what has not been sent is not written."""
        self._waiting = [other for other in self._waiting if other is not call]


def _rolled_back(error: Exception) -> bool:
    """Whether the server rejected one of the calls, and not all of them, or nobody knows."""
    if isinstance(error, _ROLLED_BACK):
        return True
    rejected = isinstance(error, asyncpg.PostgresError) and error.severity_en == "ERROR"
    return rejected and not isinstance(error, TRANSIENT)


def _give(future: "asyncio.Future[asyncpg.Record]", row: asyncpg.Record) -> None:
    if not future.done():
        future.set_result(row)


def _fail(future: "asyncio.Future[asyncpg.Record]", error: BaseException) -> None:
    if future.done():
        return
    if isinstance(error, asyncio.CancelledError):
        future.cancel()
    else:
        future.set_exception(error)
