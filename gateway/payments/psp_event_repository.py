"""Events of the PSP kept in PostgreSQL, several that come at the same moment by one statement.

Owns: which of them are written together, and in which order. Must not know: what an event means.
"""

from dataclasses import dataclass
from typing import Any, Final, Self

from gateway.database import Pool, is_distributed, named_queries, named_statement
from gateway.shared_statements import SharedStatements

_payments: Final = named_queries("gateway", "payments.sql")
# Keeping one takes less time than lies between two, even under load; the PSP waits for no answer of ours.
_PACE_SECONDS: Final = 0.010


@dataclass(frozen=True, slots=True, kw_only=True)
class PspEventRepository:
    """The statement that keeps an event."""

    keeping: SharedStatements

    @classmethod
    def over(cls, pool: Pool) -> Self:
        """The statement of one pool."""
        return cls(
            keeping=SharedStatements(
                pool=pool,
                statement=named_statement(_payments, "keep_psp_event"),
                pace_seconds=_PACE_SECONDS,
                by_group=is_distributed(pool),
            )
        )

    async def keep(self, *, with_others: bool, **fields: Any) -> bool:
        """Keep an event and leave a task for it where it may change something; False: it was kept before.

        `with_others`: it may wait a moment for others. Refunds and disputes are last of those written
        together, for the last one decides that the commit is flushed.
        """
        if with_others:
            order = (fields["always"], fields["event_shard"], fields["id"])
            row = await self.keeping.run(order=order, group=fields["event_shard"], **fields)
        else:
            row = await self.keeping.run_alone(**fields)
        return bool(row["kept"])
