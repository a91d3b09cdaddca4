"""One transaction of a command that works on the database and ends.

Owns: its connection and time limit. Must not know what is done in it.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from gateway.config import load_database_url
from gateway.database import Connection, Pool, create_pool, transaction

_TIMEOUT_MS: Final = 3_600_000
_Result = TypeVar("_Result")


def in_transaction(
    work: Callable[[Connection], Awaitable[_Result]], *, isolation: Any = "read_committed"
) -> _Result:
    """Run it in DATABASE_URL and commit; what it raises undoes it."""

    async def go() -> _Result:
        pool: Pool = await create_pool(
            load_database_url(os.environ), min_size=1, max_size=1, application="reconcile",
            statement_timeout_ms=_TIMEOUT_MS,
        )  # fmt: skip
        try:
            async with transaction(pool, isolation=isolation) as connection:
                return await work(connection)
        finally:
            await pool.close()

    return asyncio.run(go())
