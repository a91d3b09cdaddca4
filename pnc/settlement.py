"""The end of a decision: its session is over, its settlement was told, its record is kept and then deleted.

Owns closing, noting how a session was settled (once), and retention. Must not know how money is taken or who
is told: the caller looks at the payment, tells, and notes it here in the same transaction.

Retention: decisions hold eMAIDs and places, so they are kept no longer than needed. Refused ones for 90 days,
for complaints; the others for 400, beyond the 13 months in which a payer may contest a debit (Directive (EU)
2015/2366 article 71). A running session's decision is never deleted.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pnc.authorization import LANES, Decision
from pnc.messages import SettlementStatus
from pnc.ports import Executor
from pnc.store import decision_of, load_queries

_SQL: Any = load_queries("decisions")
_BEGINNING: Final = (-1, UUID(int=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long decisions are kept. `unconcluded` ends those whose payment nobody concluded."""

    refused: timedelta = timedelta(days=90)
    closed: timedelta = timedelta(days=400)
    unconcluded: timedelta = timedelta(days=2)


async def close(executor: Executor, decision: Decision, *, now: datetime) -> bool:
    """End an open decision: no later call is answered from it. False when it is not open."""
    row = await _SQL.close_decision(executor, lane=decision.lane, id=decision.id, now=now)
    return row is not None


async def unsettled(
    executor: Executor, *, environment: str, after: Decision | None = None, limit: int = 500
) -> list[Decision]:
    """Decisions with a payment whose settlement was not told yet, in a fixed order, after one."""
    lane, identifier = _BEGINNING if after is None else (after.lane, after.id)
    rows = _SQL.unsettled_decisions(
        executor, environment=environment, after_lane=lane, after_id=identifier, limit=limit
    )
    return [decision_of(row) async for row in rows]


async def settle(executor: Executor, decision: Decision, *, status: SettlementStatus, now: datetime) -> bool:
    """Note how a decision's session was settled, and close it; False when it was noted before.

    Run it in the transaction that tells of it. A failure may be followed by a success, nothing else.
    """
    row = await _SQL.settle_decision(
        executor, lane=decision.lane, id=decision.id, settlement=status.value, now=now
    )
    return row is not None


async def sweep(
    executor: Executor, *, environment: str, retention: Retention, now: datetime, batch: int = 500
) -> int:
    """Delete decisions past their retention, at most a batch of each lane; returns how many went."""
    gone = 0
    for lane in range(LANES):
        await _SQL.close_forgotten(
            executor, lane=lane, environment=environment, before=now - retention.unconcluded, now=now
        )
        gone += await _SQL.sweep_decisions(
            executor, lane=lane, environment=environment, refused_before=now - retention.refused,
            closed_before=now - retention.closed, limit=batch,
        )  # fmt: skip
    return gone
