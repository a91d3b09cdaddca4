"""The type of a connection that clearing's repositories take, and their named SQL.

Owns: nothing but these names. Must not know: how a connection is made, who ends its transaction.
"""

from collections.abc import AsyncIterator
from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import aiosql
import asyncpg
from asyncpg import InternalServerError, UniqueViolationError
from asyncpg.pool import PoolConnectionProxy

__all__ = ["Connection", "InternalServerError", "UniqueViolationError", "named_queries", "rows"]

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:  # Generic for the type checker only.
    Connection = asyncpg.Connection | PoolConnectionProxy


@cache
def named_queries(name: str) -> Any:
    """The queries of `sql/<name>.sql`, one asynchronous function each."""
    with as_file(files("clearing") / "sql" / f"{name}.sql") as path:
        return aiosql.from_path(path, "asyncpg", mandatory_parameters=False)


async def rows(found: AsyncIterator[Any]) -> list[Any]:
    """Every row of a query that answers with many; they have been fetched in one go."""
    return [row async for row in found]
