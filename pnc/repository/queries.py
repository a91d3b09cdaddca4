"""Loading named queries, and reading the rows of those that return many.

Owns how a file of SQL becomes callable. Must not know any query.
"""

from importlib.resources import as_file, files
from typing import Any

import aiosql


def load_queries(name: str) -> Any:
    """Return the named queries of `pnc/sql/<name>.sql`."""
    with as_file(files("pnc").joinpath("sql", f"{name}.sql")) as path:
        return aiosql.from_path(path, "asyncpg", mandatory_parameters=False)


async def fetch_all(rows: Any) -> list[Any]:
    """The rows of a query that returns many: aiosql hands back an asynchronous generator."""
    return [row async for row in rows]
