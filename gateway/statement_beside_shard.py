"""A shared statement that runs beside its shard where the database is distributed.

Owns: when it does, and that it runs whole where its functions are not on the nodes. Must not know what it
writes. How such a statement is made stands in gateway/shard_statements.py.
"""

import time
from dataclasses import dataclass
from typing import Any, Final, Self

import asyncpg
import structlog

from gateway.database import NamedStatement, Pool, is_distributed
from gateway.shard_statements import ShardStatement
from gateway.shared_statements import SharedStatements

_log: Final = structlog.get_logger(__name__)
_MISSING_SECONDS: Final = 60.0


@dataclass(slots=True, kw_only=True)
class StatementBesideShard:
    """A statement whole, and beside its shard where the database is distributed and has its functions."""

    whole: SharedStatements
    at_shard: SharedStatements | None
    missing_until: float = 0.0

    @classmethod
    def over(cls, pool: Pool, statement: ShardStatement, *, pace_seconds: float = 0.0) -> Self:
        """The statement of one pool; `pace_seconds` as `SharedStatements` has it."""
        distributed = is_distributed(pool)

        def shared(one: NamedStatement) -> SharedStatements:
            return SharedStatements(pool=pool, statement=one, by_group=distributed, pace_seconds=pace_seconds)

        return cls(
            whole=shared(statement.statement), at_shard=shared(statement.call) if distributed else None
        )

    async def run(self, *, order: Any, group: int, beside: bool, **fields: Any) -> asyncpg.Record:
        """One call. `beside`: nothing that it reads or writes lies elsewhere but what its functions know.

        `order` and `group` as `SharedStatements.run` has them.
        """
        return await self._run(alone=False, beside=beside, order=order, group=group, **fields)

    async def run_alone(self, *, beside: bool, **fields: Any) -> asyncpg.Record:
        """One call that must not wait for others, nor let others wait for its locks."""
        return await self._run(alone=True, beside=beside, **fields)

    async def _run(self, *, alone: bool, beside: bool, **given: Any) -> asyncpg.Record:
        if beside and self.at_shard is not None and time.monotonic() >= self.missing_until:
            try:
                return await _written(self.at_shard, alone=alone, **given)
            except (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError):
                # Nothing was written: the functions are of another release, or of a shard that was split.
                self.missing_until = time.monotonic() + _MISSING_SECONDS
                _log.warning("statement_not_on_nodes", statement=self.whole.statement.name)
        return await _written(self.whole, alone=alone, **given)


async def _written(statements: SharedStatements, *, alone: bool, **given: Any) -> asyncpg.Record:
    return await (statements.run_alone(**given) if alone else statements.run(**given))
