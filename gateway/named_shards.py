"""The text of a statement over rows of several shards, as a distributed database gets it.

Owns: the mark `-- shards of t` in the .sql files, and what stands there instead. Must not know a table.

Such a statement gets its rows as arrays, the first of which names their shards, and joins each table by its
shard. Citus sends it to every shard there is: a join does not say which. A condition on each table does,
and is sent in the mark's place: `AND t.shard = ANY ($1)`. One PostgreSQL has no use for it and would look up
the whole array for each row; to it the mark is a comment.
"""

import re
from functools import lru_cache
from typing import Final

_MARK: Final = re.compile(r" +-- shards of (\w+)$", re.MULTILINE)
_SHARDS: Final = re.compile(r"\bunnest\(\s*(\$\d+)::smallint\[\]")


@lru_cache(maxsize=2048)
def with_shards_named(sql: str) -> str:
    """The statement with a condition on the shard of each table that is marked; without a mark as it is.

    Raises:
        ValueError: it has a mark and no array of shards.
    """
    if _MARK.search(sql) is None:
        return sql
    shards = _SHARDS.search(sql)
    if shards is None:
        raise ValueError(f"a statement names its tables' shards and is given none: {sql[:100]}")
    condition = rf" AND \1.shard = ANY ({shards[1]}::smallint[])"
    return _MARK.sub(condition, sql)
