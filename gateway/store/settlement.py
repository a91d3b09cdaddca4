"""Disbursements and payables as rows, for reading.

Owns: the questions that a party may ask of its settlement. Must not write: clearing owns these tables.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Final, Self
from uuid import UUID

from gateway.database import Connection, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "settlement.sql")


class _FromRow:
    """A value whose fields are a row's columns."""

    __slots__ = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Build the value from a row that has a column for each field."""
        return cls(**{one.name: row[one.name] for one in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisbursementRow(_FromRow):
    """One payment to a party; `payables` counts what it nets."""

    id: UUID
    party_id: str
    currency: str
    period: date
    amount_minor: int
    end_to_end_id: str
    state: str
    planned_at: datetime
    finished_at: datetime | None
    failure: str | None
    payables: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PayableRow(_FromRow):
    """What one session owes one party, signed."""

    lane: int
    subject_id: UUID
    kind: str
    reference: str
    party_id: str
    amount_minor: int
    currency: str
    due_date: date
    state: str
    disbursement_id: UUID | None


async def list_disbursements(
    connection: Connection, *, party_id: str | None, state: str | None, before: UUID | None, limit: int
) -> list[DisbursementRow]:
    """Payments, newest first; `party_id` None: everybody's."""
    found = _QUERIES.list_disbursements(
        connection, party_id=party_id, state=state, before=before, limit=limit
    )
    return [DisbursementRow.from_row(row) async for row in found]


async def find_disbursement(
    connection: Connection, *, disbursement_id: UUID, party_id: str | None
) -> DisbursementRow | None:
    """One payment."""
    row = await _QUERIES.select_disbursement(connection, id=disbursement_id, party_id=party_id)
    return None if row is None else DisbursementRow.from_row(row)


async def payables_of_session(
    connection: Connection, *, lane: int, session_id: UUID, party_id: str | None
) -> list[PayableRow]:
    """What a session owes, to everybody or to one party."""
    found = _QUERIES.payables_of_session(connection, lane=lane, session_id=session_id, party_id=party_id)
    return [PayableRow.from_row(row) async for row in found]


async def payables_of_disbursement(
    connection: Connection, *, disbursement_id: UUID, party_id: str | None, after: UUID | None, limit: int
) -> list[PayableRow]:
    """What a payment nets, by session."""
    found = _QUERIES.payables_of_disbursement(
        connection, disbursement_id=disbursement_id, party_id=party_id, after=after, limit=limit
    )
    return [PayableRow.from_row(row) async for row in found]


async def approvers(connection: Connection, disbursement_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """Who has released each of these payments, in the order of their release."""
    found: dict[UUID, list[str]] = {}
    async for row in _QUERIES.approvers(connection, ids=list(disbursement_ids)):
        found.setdefault(row["disbursement_id"], []).append(row["approver"])
    return found
