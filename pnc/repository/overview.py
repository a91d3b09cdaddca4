"""What people see of decisions and revocation status, in PostgreSQL.

Owns: rows. Must not know: why a decision came out as it did.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pnc.authorization import AuthorizationDecision, AuthorizationDecisionState
from pnc.ports import Executor
from pnc.repository.decisions import decision_of
from pnc.repository.queries import fetch_all, load_queries

_sql: Final[Any] = load_queries("overview")


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationListAge:
    """A verified CRL of an authority: of when it is, and until when it counts."""

    authority_sha256: bytes
    this_update: datetime
    usable_until: datetime
    fetched_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationStatusCount:
    """Certificates of one status from one source; `expired` of them count no longer."""

    source: str
    status: str
    certificates: int
    expired: int
    oldest_at: datetime
    last_checked_at: datetime


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
    """Decisions, newest first."""
    query = _sql.list_decisions_by_node if distributed else _sql.list_decisions
    rows = query(
        executor,
        environment=environment,
        operator_id=operator_id,
        state=None if state is None else state.value,
        before=before,
        limit=limit,
    )
    return [decision_of(row) for row in await fetch_all(rows)]


async def list_revocation_lists(executor: Executor, *, limit: int) -> Sequence[RevocationListAge]:
    """The lists that are kept, the one that ends first on top."""
    rows = await fetch_all(_sql.list_revocation_lists(executor, limit=limit))
    return [RevocationListAge(**dict(row)) for row in rows]


async def count_statuses(executor: Executor, *, now: datetime) -> Sequence[RevocationStatusCount]:
    """Certificates by source and status."""
    rows = await fetch_all(_sql.revocation_statuses(executor, now=now))
    return [RevocationStatusCount(**dict(row)) for row in rows]


async def count_unproved(executor: Executor, *, environment: str, now: datetime) -> int:
    """Registered certificates that are valid and have no status that counts."""
    found: int = await _sql.unproved_certificates(executor, environment=environment, now=now)
    return found
