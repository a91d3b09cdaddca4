"""The phases of authorize and complete in PostgreSQL, shared by the calls in flight.

Owns: which statements are shared, and what each returns. Must not know: what a phase means. Each function is
one statement and so one transaction; several callers' may be one together (gateway/shared_statements.py).
On a distributed database it runs beside its shard (gateway/statement_beside_shard.py).
"""

from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import UUID

import asyncpg

from gateway.database import Connection, Pool, named_queries
from gateway.shard_statements import shard_statements
from gateway.statement_beside_shard import StatementBesideShard

_requests: Final = named_queries("gateway", "psp_requests.sql")
_STATEMENTS: Final = shard_statements()


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunPhase:
    """What the first phase of a call has written. `begun` False: its key is in use, and nothing was.

    `intended_id` is the id of the capture, or of the release, that was intended with the end of a session.
    """

    begun: bool
    done: bool
    intended_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedPhase:
    """Whether an outcome was recorded now, and whether the answer was stored with it."""

    done: bool
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRepository:
    """The four statements of the two calls."""

    opening: StatementBesideShard
    completing: StatementBesideShard
    holding: StatementBesideShard
    ending: StatementBesideShard

    @classmethod
    def over(cls, pool: Pool) -> Self:
        """The statements of one pool."""

        def phase(name: str) -> StatementBesideShard:
            return StatementBesideShard.over(pool, _STATEMENTS[name])

        return cls(
            opening=phase("open_authorization"),
            completing=phase("complete_session"),
            holding=phase("record_hold"),
            ending=phase("record_end"),
        )

    async def open_authorization(self, *, alone: bool, **fields: Any) -> BegunPhase:
        """Phase 1 of authorize; not done where a funded account does not cover it, or the payer is unknown.

        `alone`: it locks a row that others need, such as a funded account's. Raises UniqueViolationError.
        """
        if alone:
            row = await self.opening.run_alone(beside=False, **fields)
        else:
            # A funded account, a customer and the last tap of a card lie on the coordinator.
            beside = fields["funding"] == "psp" and fields["customer"] is None and not fields["reuses_recent"]
            row = await _run(self.opening, beside=beside, fields=fields)
        return BegunPhase(begun=row["begun"], done=row["done"])

    async def complete_session(self, **fields: Any) -> BegunPhase:
        """Fix the CDR and its price, and intend the payment's end; not done where it was completed before.

        Raises UniqueViolationError: the CDR has ended another session, or another request is open.
        """
        row = await _run(self.completing, beside=fields["cdr_named_by_session"], fields=fields)
        return BegunPhase(begun=row["begun"], done=row["done"], intended_id=row["intended_id"])

    async def record_hold(self, connection: Connection | None, **fields: Any) -> EndedPhase:
        """Phase 3 of authorize; not done where the answer was recorded before.

        With a connection it is a part of the caller's transaction.
        """
        return await _recorded(self.holding, "record_hold", connection, fields)

    async def record_end(self, connection: Connection | None, **fields: Any) -> EndedPhase:
        """Phase 3 of capture or void, as `record_hold`."""
        return await _recorded(self.ending, "record_end", connection, fields)


async def _run(phase: StatementBesideShard, *, beside: bool, fields: dict[str, Any]) -> asyncpg.Record:
    return await phase.run(order=fields["session_id"], group=fields["shard"], beside=beside, **fields)


async def _recorded(
    phase: StatementBesideShard, name: str, connection: Connection | None, fields: dict[str, Any]
) -> EndedPhase:
    if connection is None:
        row = await _run(phase, beside=True, fields=fields)
    else:
        row = await getattr(_requests, name)(connection, **fields)
    return EndedPhase(done=row["done"], kept=row["kept"])
