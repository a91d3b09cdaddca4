"""Every named statement of the three packages, with the shard that it is given written into it.

Owns: how the .sql files are walked for a check. Must not know a table.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import aiosql

from gateway.migrations import PACKAGES

_SHARD: Final = re.compile(r"(?<!:):shard\b")
# SET, ANALYZE and the like have no plan.
_UTILITIES: Final = frozenset({"allow_minutes", "analyze_items", "plan_each", "raise_work_mem"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledStatement:
    """`place` such as `gateway/payments: find_session`; `sql` with `$1` for each parameter but the shard."""

    place: str
    sql: str


def named_statements(*, shard: int) -> Iterator[FiledStatement]:
    """Yield each statement that has a plan, with `shard` in place of its parameter `:shard`."""
    for package in PACKAGES:
        for path in sorted((files(package) / "sql").iterdir(), key=lambda entry: entry.name):
            if not path.name.endswith(".sql"):
                continue
            text = _SHARD.sub(f"({shard}::smallint)", path.read_text(encoding="utf-8"))
            queries = aiosql.from_str(text, "asyncpg", mandatory_parameters=False)
            for name in queries.available_queries:
                if not name.endswith("_cursor") and name not in _UTILITIES:
                    yield FiledStatement(
                        place=f"{package}/{path.name.removesuffix('.sql')}: {name}",
                        sql=getattr(queries, name).sql,
                    )
