"""Events of the PSP kept in PostgreSQL, several that come at the same moment by one statement.

Owns: which of them are written together, and in which order. Must not know: what an event means.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

from gateway.database import Pool
from gateway.shard_statements import shard_statements
from gateway.statement_beside_shard import StatementBesideShard

_STATEMENT: Final = shard_statements()["keep_psp_event"]
# Keeping one takes less time than lies between two, even under load; the PSP waits for no answer of ours.
_PACE_SECONDS: Final = 0.010
_OF_PAYER: Final = ("psp_setup", "detached_method", "updated_method", "revoked_mandate", "connected_account")


@dataclass(frozen=True, slots=True, kw_only=True)
class PspEventRepository:
    """The statement that keeps an event."""

    keeping: StatementBesideShard

    @classmethod
    def over(cls, pool: Pool) -> Self:
        """The statement of one pool."""
        return cls(keeping=StatementBesideShard.over(pool, _STATEMENT, pace_seconds=_PACE_SECONDS))

    async def keep(self, *, with_others: bool, **fields: Any) -> bool:
        """Keep an event and leave a task for it where it may change something; False: it was kept before.

        `with_others`: it may wait a moment for others. Refunds and disputes are last of those written
        together, for the last one decides that the commit is flushed.
        """
        # A session's event lies beside it; those of payers and accounts ask the coordinator's tables.
        beside = fields["shard"] == fields["event_shard"] and not any(fields[name] for name in _OF_PAYER)
        if with_others:
            order = (fields["always"], fields["event_shard"], fields["id"])
            row = await self.keeping.run(order=order, group=fields["event_shard"], beside=beside, **fields)
        else:
            row = await self.keeping.run_alone(beside=beside, **fields)
        return bool(row["kept"])
