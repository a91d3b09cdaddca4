"""Calls that share a statement: one is as quick as alone, and nobody's failure is another's."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
import pytest

from gateway.database import NamedStatement, Pool
from gateway.shared_statements import SharedStatements

STATEMENT = NamedStatement(name="write", sql="WRITE $1", parameters=("value",))
UNIQUE = asyncpg.UniqueViolationError("taken")


class Server:
    """A pool of connections to a server that writes when it is let, and keeps what was committed."""

    def __init__(self) -> None:
        self.sent: list[list[Any]] = []
        self.committed: list[Any] = []
        self.rejects: dict[Any, Exception] = {}
        self.breaks_with: BaseException | None = None
        self.gate = asyncio.Semaphore(1000)
        self.rows_short = 0
        self.connections = asyncio.Semaphore(1000)
        self.acquired = 0

    def let(self, statements: int = 1000) -> None:
        """Let so many statements be written."""
        for _ in range(statements):
            self.gate.release()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["Server"]:
        await self.connections.acquire()
        self.acquired += 1
        yield self

    async def fetchrow(self, sql: str, *arguments: Any) -> Any:
        rows = await self._write([arguments])
        return rows[0] if rows else None

    async def fetchmany(self, sql: str, arguments: Sequence[Sequence[Any]]) -> Any:
        return await self._write(arguments)

    async def _write(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        values = [row[0] for row in rows]
        self.sent.append(values)
        await self.gate.acquire()
        if self.breaks_with is not None:
            raise self.breaks_with
        for value in values:
            if value in self.rejects:
                raise self.rejects[value]
        self.committed += values
        return [{"value": value} for value in values][: len(values) - self.rows_short]


def shared(server: Server, **options: Any) -> SharedStatements:
    options.setdefault("patience_seconds", 10.0)
    return SharedStatements(pool=cast("Pool", server), statement=STATEMENT, **options)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def call(statements: SharedStatements, value: Any, group: int = 0) -> "asyncio.Task[Any]":
    return asyncio.create_task(statements.run(order=value, group=group, value=value))


async def held(server: Server, statements: SharedStatements) -> "asyncio.Task[Any]":
    """A call whose statement is under way until the server is let."""
    server.gate = asyncio.Semaphore(0)
    first = call(statements, 0)
    await settle()
    assert server.sent == [[0]]
    return first


async def test_a_call_that_meets_nothing_is_sent_at_once_in_its_own_task() -> None:
    server = Server()
    statements = shared(server)
    tasks = len(asyncio.all_tasks())
    assert await statements.run(order=1, group=0, value=1) == {"value": 1}
    assert await statements.run(order=2, group=0, value=2) == {"value": 2}
    assert server.sent == [[1], [2]]
    assert len(asyncio.all_tasks()) == tasks


async def test_what_gathers_while_a_statement_is_under_way_is_one_statement_in_order() -> None:
    server = Server()
    statements = shared(server)
    first = await held(server, statements)
    others = [call(statements, value) for value in (3, 1, 2)]
    await settle()
    assert server.sent == [[0]]
    server.let()
    assert [row["value"] for row in await asyncio.gather(first, *others)] == [0, 3, 1, 2]
    assert server.sent == [[0], [1, 2, 3]]


async def test_no_more_than_the_most_are_written_together_and_the_longest_waiting_first() -> None:
    server = Server()
    statements = shared(server, most=2)
    first = await held(server, statements)
    others = [call(statements, value) for value in (5, 4, 3, 2, 1)]
    await settle()
    server.let()
    await asyncio.gather(first, *others)
    assert server.sent == [[0], [4, 5], [2, 3], [1]]


async def test_a_row_that_is_rejected_fails_its_own_caller_alone() -> None:
    server = Server()
    server.rejects[2] = UNIQUE
    statements = shared(server)
    first = await held(server, statements)
    others = [call(statements, value) for value in (1, 2, 3)]
    await settle()
    server.let()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert results[0] == {"value": 0}
    assert [results[1], results[3]] == [{"value": 1}, {"value": 3}]
    assert results[2] is UNIQUE
    assert sorted(server.committed) == [0, 1, 3]
    assert server.sent[1:] == [[1, 2, 3], [1], [2], [3]]


@pytest.mark.parametrize(
    "rejection",
    [
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.LockNotAvailableError("lock timeout"),
        asyncpg.QueryCanceledError("statement timeout"),
        asyncpg.CheckViolationError("check"),
    ],
)
async def test_after_each_rejection_that_rolls_back_the_others_are_written(rejection: Exception) -> None:
    server = Server()
    statements = shared(server)
    first = await held(server, statements)
    others = [call(statements, value) for value in (1, 2)]
    await settle()
    server.rejects[2] = rejection
    server.let()
    assert await first == {"value": 0}
    assert await others[0] == {"value": 1}
    with pytest.raises(type(rejection)):
        await others[1]


def of_server(code: str, severity: str = "ERROR") -> Exception:
    made: Exception = asyncpg.PostgresError.new({"S": severity, "V": severity, "C": code, "M": "rejected"})
    return made


@pytest.mark.parametrize("code", ["54000", "P0001", "42501", "XX000"])
async def test_whatever_the_server_rejects_of_one_call_is_no_error_of_the_others(code: str) -> None:
    """A value too long for an index (54000), a right that is missing, a rule of the database's own."""
    server = Server()
    statements = shared(server)
    first = await held(server, statements)
    others = [call(statements, value) for value in (1, 2)]
    await settle()
    server.rejects[2] = of_server(code)
    server.let()
    assert await asyncio.gather(first, others[0]) == [{"value": 0}, {"value": 1}]
    with pytest.raises(type(server.rejects[2])):
        await others[1]


@pytest.mark.parametrize(("code", "severity"), [("57P01", "FATAL"), ("25006", "ERROR"), ("53100", "ERROR")])
async def test_a_server_that_goes_away_is_not_asked_once_more_for_each_call(code: str, severity: str) -> None:
    server = Server()
    statements = shared(server)
    first = await held(server, statements)
    others = [call(statements, value) for value in (1, 2)]
    await settle()
    server.let(1)
    await first
    server.breaks_with = of_server(code, severity)
    server.let()
    results = await asyncio.gather(*others, return_exceptions=True)
    assert [type(result) for result in results] == [type(server.breaks_with)] * 2
    assert server.sent == [[0], [1, 2]]


async def test_a_lost_connection_reaches_each_caller_and_nothing_is_sent_again() -> None:
    server = Server()
    statements = shared(server)
    first = await held(server, statements)
    others = [call(statements, value) for value in (1, 2, 3)]
    await settle()
    server.breaks_with = asyncpg.ConnectionDoesNotExistError("gone")
    server.let()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert {type(result) for result in results} == {asyncpg.ConnectionDoesNotExistError}
    assert server.sent == [[0], [1, 2, 3]]
    server.breaks_with = None
    assert await statements.run(order=4, group=0, value=4) == {"value": 4}


async def test_a_caller_that_is_cancelled_while_it_waits_is_never_written() -> None:
    server = Server()
    statements = shared(server)
    first = await held(server, statements)
    gone, stays = call(statements, 1), call(statements, 2)
    await settle()
    gone.cancel()
    await settle()
    server.let()
    assert await asyncio.gather(first, stays) == [{"value": 0}, {"value": 2}]
    assert gone.cancelled()
    assert server.committed == [0, 2]


@pytest.mark.parametrize("stays", [0, 1, 2])
async def test_a_caller_that_is_gone_before_there_is_a_connection_is_never_written(stays: int) -> None:
    """All connections are in use for so long that callers give up: nobody is charged without an answer."""
    server = Server()
    statements = shared(server)
    first = await held(server, statements)
    gone, waits = call(statements, 1), [call(statements, 2 + number) for number in range(stays)]
    await settle()
    server.connections = asyncio.Semaphore(0)
    server.let()
    await first
    await settle()
    gone.cancel()
    await settle()
    for _ in range(10):
        server.connections.release()
    assert [row["value"] for row in await asyncio.gather(*waits)] == [2, 3][:stays]
    await settle()
    assert gone.cancelled()
    assert server.committed == [0, 2, 3][: 1 + stays]
    assert await statements.run(order=9, group=0, value=9) == {"value": 9}


async def test_a_caller_that_is_cancelled_under_way_leaves_the_others_theirs() -> None:
    server = Server()
    statements = shared(server)
    first = await held(server, statements)
    gone, stays = call(statements, 1), call(statements, 2)
    await settle()
    server.let(1)
    await first
    await settle()
    assert server.sent[1:] == [[1, 2]]
    gone.cancel()
    await settle()
    server.let()
    assert await stays == {"value": 2}
    assert gone.cancelled()
    assert server.committed == [0, 1, 2]


async def test_the_first_caller_takes_only_its_own_statement_along_when_it_is_cancelled() -> None:
    server = Server()
    statements = shared(server)
    first = await held(server, statements)
    others = [call(statements, value) for value in (1, 2)]
    await settle()
    first.cancel()
    await settle()
    server.let()
    assert await asyncio.gather(*others) == [{"value": 1}, {"value": 2}]
    assert server.committed == [1, 2]


async def test_nobody_waits_longer_than_the_patience_for_a_statement_that_hangs() -> None:
    server = Server()
    statements = shared(server, patience_seconds=0.005)
    first = await held(server, statements)
    others = [call(statements, value) for value in (1, 2)]
    async with asyncio.timeout(5):
        while len(server.sent) == 1:
            await asyncio.sleep(0.001)
    assert server.sent[1:] == [[1, 2]]
    server.let()
    await asyncio.gather(first, *others)


async def test_a_distributed_database_is_given_one_shard_at_a_time() -> None:
    server = Server()
    statements = shared(server, by_group=True)
    first = await held(server, statements)
    others = [call(statements, value, group=value % 2) for value in (1, 2, 3, 4)]
    await settle()
    server.let()
    await asyncio.gather(first, *others)
    assert sorted(server.sent[1:]) == [[1, 3], [2, 4]]


async def test_a_statement_that_gives_too_few_rows_fails_and_gives_nobody_anothers() -> None:
    server = Server()
    statements = shared(server)
    first = await held(server, statements)
    others = [call(statements, value) for value in (1, 2)]
    await settle()
    server.let(1)
    await first
    server.rows_short = 1
    server.let()
    results = await asyncio.gather(*others, return_exceptions=True)
    assert [type(result) for result in results] == [RuntimeError, RuntimeError]
    with pytest.raises(RuntimeError, match="returned no row"):
        await statements.run(order=4, group=0, value=4)


async def test_a_call_that_locks_what_others_need_neither_waits_nor_is_waited_for() -> None:
    server = Server()
    statements = shared(server)
    first = await held(server, statements)
    alone = asyncio.create_task(statements.run_alone(value=1))
    await settle()
    assert server.sent == [[0], [1]]
    server.let()
    assert await asyncio.gather(first, alone) == [{"value": 0}, {"value": 1}]


async def test_calls_that_come_fast_begin_a_statement_only_so_often_and_the_first_at_once() -> None:
    server = Server()
    statements = shared(server, patience_seconds=0.005, pace_seconds=0.1)
    assert await statements.run(order=0, group=0, value=0) == {"value": 0}
    began = asyncio.get_running_loop().time()
    others = [call(statements, value) for value in (2, 1)]
    await settle()
    assert server.sent == [[0]]
    assert await asyncio.gather(*others) == [{"value": 2}, {"value": 1}]
    assert server.sent == [[0], [1, 2]]
    assert 0.05 < asyncio.get_running_loop().time() - began < 5
    await asyncio.sleep(0.11)
    tasks = len(asyncio.all_tasks())
    assert await statements.run(order=3, group=0, value=3) == {"value": 3}
    assert len(asyncio.all_tasks()) == tasks


async def test_at_that_pace_the_end_of_a_statement_starts_nothing_and_its_hanging_holds_up_nothing() -> None:
    server = Server()
    statements = shared(server, patience_seconds=0.005, pace_seconds=0.1)
    first = await held(server, statements)
    others = [call(statements, value) for value in (1, 2)]
    server.let(1)
    await first
    await settle()
    assert server.sent == [[0]]
    server.gate = asyncio.Semaphore(0)
    async with asyncio.timeout(5):
        while len(server.sent) == 1:
            await asyncio.sleep(0.001)
    later = call(statements, 3)
    async with asyncio.timeout(5):
        while len(server.sent) == 2:
            await asyncio.sleep(0.001)
    assert server.sent == [[0], [1, 2], [3]]
    server.let()
    await asyncio.gather(*others, later)


async def test_what_gathers_again_and_again_is_written_on_one_connection_that_is_given_back_in_time() -> None:
    server = Server()
    statements = shared(server, most=1)
    first = await held(server, statements)
    statement = call(statements, 1)
    await settle()
    server.let(1)
    await first
    await settle()
    calls = [statement]
    for value in range(2, 20):
        calls.append(call(statements, value))
        await settle()
        server.let(1)
        await settle()
    server.let()
    assert [row["value"] for row in await asyncio.gather(*calls)] == list(range(1, 20))
    assert server.sent == [[value] for value in range(20)]
    assert 3 <= server.acquired - 1 <= 5


async def test_an_error_ends_the_use_of_a_connection() -> None:
    server = Server()
    server.rejects[1] = UNIQUE
    statements = shared(server, most=1)
    first = await held(server, statements)
    others = [call(statements, 1)]
    await settle()
    server.let(1)
    await first
    await settle()
    others.append(call(statements, 2))
    await settle()
    server.let()
    results = await asyncio.gather(*others, return_exceptions=True)
    assert results == [UNIQUE, {"value": 2}]
    assert server.acquired == 3
    assert server.sent == [[0], [1], [2]]
