"""A pool of connections in whose process somebody pulls the plug."""

from collections.abc import Generator
from typing import Any

from gateway.database import Pool


class Died(BaseException):
    """The process has ended; nothing of it runs any further."""


class DyingPool:
    """A pool that gives so many connections; before the next the process ends.

    With `in_hand` it ends when the last one is given back, and what that one wrote is rolled back.
    """

    def __init__(self, pool: Pool, *, gives: int, in_hand: bool = False) -> None:
        self.pool, self.left, self.in_hand = pool, gives, in_hand
        self.died = False
        self.last: Any = None  # the transaction around all that the last connection writes

    def acquire(self, **options: Any) -> "Acquiring":
        return Acquiring(self, options)

    async def give(self, options: dict[str, Any]) -> Any:
        if self.left <= 0:
            self.died = True
            raise Died
        self.left -= 1
        connection = await self.pool.acquire(**options)
        if not self.left and self.in_hand:
            self.last = connection.transaction()
            await self.last.start()
        return connection

    async def release(self, connection: Any) -> None:
        if self.last is None:
            await self.pool.release(connection)
            return
        await self.last.rollback()
        await self.pool.release(connection)
        self.last, self.died = None, True
        raise Died


class Acquiring:
    """A connection that is awaited, or held for a block, as asyncpg's pools give it."""

    def __init__(self, dying: DyingPool, options: dict[str, Any]) -> None:
        self._dying, self._options = dying, options
        self._connection: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._dying.give(self._options).__await__()

    async def __aenter__(self) -> Any:
        self._connection = await self._dying.give(self._options)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._dying.release(self._connection)
