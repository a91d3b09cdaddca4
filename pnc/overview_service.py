"""Plug & Charge as people look at it: decisions with their explanation, and how fresh revocation status is.

Owns: what belongs together. Must not know: HTTP, or how a decision is made. Only reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from pnc.authorization import AuthorizationDecision, AuthorizationDecisionState
from pnc.ports import Executor
from pnc.repository import decisions, overview
from pnc.repository.overview import RevocationListAge, RevocationStatusCount

_LISTS_SHOWN: Final = 200
_SHARD_MASK: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationHealth:
    """How fresh the status of certificates is. `unproved`: valid ones without a status that counts."""

    lists: Sequence[RevocationListAge]
    statuses: Sequence[RevocationStatusCount]
    unproved: int


async def list_decisions(
    executor: Executor,
    *,
    environment: str,
    operator_id: str | None,
    state: AuthorizationDecisionState | None,
    before: UUID | None,
    limit: int,
    distributed: bool,
) -> list[AuthorizationDecision]:
    """Decisions, newest first; of one operator's stations, or of all.

    `distributed`: the database is distributed by shard, which is asked in another way.
    """
    return await overview.list_decisions(
        executor,
        environment=environment,
        operator_id=operator_id,
        state=state,
        before=before,
        limit=limit,
        distributed=distributed,
    )


async def find_decision(
    executor: Executor, decision_id: UUID, *, environment: str, operator_id: str | None
) -> AuthorizationDecision | None:
    """One decision; None where there is none or it is of another operator's station."""
    found = await decisions.load_decision(
        executor, shard=decision_id.int & _SHARD_MASK, decision_id=decision_id
    )
    if found is None or found.environment != environment:
        return None
    return found if operator_id is None or found.operator_id == operator_id else None


async def read_revocation_health(executor: Executor, *, environment: str, now: datetime) -> RevocationHealth:
    """How fresh the lists and statuses are at `now`."""
    return RevocationHealth(
        lists=await overview.list_revocation_lists(executor, limit=_LISTS_SHOWN),
        statuses=await overview.count_statuses(executor, now=now),
        unproved=await overview.count_unproved(executor, environment=environment, now=now),
    )
