"""Contracts and decisions as personal data, in PostgreSQL.

Owns: translation between rows and values. Must not know: when data are deleted, or who asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pnc.ports import Executor
from pnc.repository.queries import fetch_all, load_queries

_QUERIES: Final[Any] = load_queries("personal_data")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverContract:
    """A contract as a person's: what pays and whether it has ended."""

    emaid: str
    contract_id: UUID
    party: str
    payment_kind: str
    payment_reference: str
    state: str
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDecision:
    """An authorization decision of a person's contract."""

    id: UUID
    shard: int
    state: str
    authorization_id: str | None
    settlement: str | None
    decided_at: datetime


async def count_due(executor: Executor, *, environment: str, before: datetime) -> int:
    """How many contracts were cancelled before a time and have no decision left."""
    found: int = await _QUERIES.due_contracts(executor, environment=environment, before=before)
    return found


async def list_expired(
    executor: Executor, *, environment: str, before: datetime, limit: int
) -> Sequence[str]:
    """The eMAIDs of such contracts, locked; what others hold is left out."""
    rows = _QUERIES.expired_contracts(executor, environment=environment, before=before, limit=limit)
    return [row["emaid"] for row in await fetch_all(rows)]


async def list_contracts(
    executor: Executor, *, environment: str, emaids: Sequence[str], payment_references: Sequence[str]
) -> Sequence[DriverContract]:
    """Contracts by their eMAID, or by the mandate at the PSP that pays."""
    rows = _QUERIES.contracts_of(
        executor, environment=environment, emaids=list(emaids), payment_references=list(payment_references)
    )
    return [DriverContract(**dict(row)) for row in await fetch_all(rows)]


async def list_decisions(
    executor: Executor, *, environment: str, emaids: Sequence[str], contracts: Sequence[UUID]
) -> Sequence[DriverDecision]:
    """The decisions of contracts, oldest first."""
    rows = _QUERIES.decisions_of(
        executor, environment=environment, emaids=list(emaids), contracts=list(contracts)
    )
    return [DriverDecision(**dict(row)) for row in await fetch_all(rows)]


async def export(
    executor: Executor, *, environment: str, emaids: Sequence[str], contracts: Sequence[UUID]
) -> Mapping[str, Sequence[Any]]:
    """The rows of contracts, their history, certificates and decisions, by table, as JSON values."""
    named = {"environment": environment, "emaids": list(emaids)}
    found = {
        "pnc.contract": _QUERIES.export_contracts(executor, **named),
        "pnc.contract_change": _QUERIES.export_changes(executor, **named),
        "pnc.contract_certificate": _QUERIES.export_certificates(executor, **named),
        "pnc.decision": _QUERIES.export_decisions(executor, contracts=list(contracts), **named),
    }
    return {table: [row["data"] for row in await fetch_all(rows)] for table, rows in found.items()}


async def delete_contracts(
    executor: Executor, *, environment: str, emaids: Sequence[str]
) -> Mapping[str, int]:
    """Delete contracts with their history and certificates; how many rows of each."""
    row = await _QUERIES.delete_contracts(executor, environment=environment, emaids=list(emaids))
    return dict(row)


async def delete_decisions(
    executor: Executor, *, environment: str, emaids: Sequence[str], contracts: Sequence[UUID]
) -> int:
    """Delete the decisions of contracts; returns how many were deleted."""
    gone: int = await _QUERIES.delete_decisions(
        executor, environment=environment, emaids=list(emaids), contracts=list(contracts)
    )
    return gone
