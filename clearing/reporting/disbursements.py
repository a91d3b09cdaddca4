"""Read models of disbursements and payables.

Owns: the queries that a party reads its settlement with. Must not know: who reads them. It writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any, Final, Self
from uuid import UUID

from clearing.connection import Connection, named_queries

_QUERIES: Final[Any] = named_queries("disbursements")


class _FromRow:
    """A value whose fields are a row's columns."""

    __slots__ = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Build the value from a row that has a column for each field."""
        return cls(**{one.name: row[one.name] for one in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisbursementRecord(_FromRow):
    """One disbursement; `payables` is the number of payables that it nets."""

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
class PayableRecord(_FromRow):
    """What one journal entry owes one party; negative: the party owes."""

    shard: int
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
) -> list[DisbursementRecord]:
    """Disbursements, the newest first; `party_id` None: of all parties."""
    found = _QUERIES.list_disbursements(
        connection, party_id=party_id, state=state, before=before, limit=limit
    )
    return [DisbursementRecord.from_row(row) async for row in found]


async def find_disbursement(
    connection: Connection, *, disbursement_id: UUID, party_id: str | None
) -> DisbursementRecord | None:
    """One disbursement; None if `party_id` is another party."""
    row = await _QUERIES.select_disbursement(connection, id=disbursement_id, party_id=party_id)
    return None if row is None else DisbursementRecord.from_row(row)


async def find_disbursements(
    connection: Connection, disbursement_ids: Sequence[UUID]
) -> dict[UUID, DisbursementRecord]:
    """Those of these disbursements that exist, by id."""
    found = _QUERIES.select_disbursements(connection, ids=list(disbursement_ids))
    return {row["id"]: DisbursementRecord.from_row(row) async for row in found}


async def list_payables_of_session(
    connection: Connection, *, shard: int, session_id: UUID, party_id: str | None
) -> list[PayableRecord]:
    """The payables of a session, of all parties or one."""
    found = _QUERIES.payables_of_session(connection, shard=shard, session_id=session_id, party_id=party_id)
    return [PayableRecord.from_row(row) async for row in found]


async def list_payables_of_disbursement(
    connection: Connection, *, disbursement_id: UUID, party_id: str | None, after: UUID | None, limit: int
) -> list[PayableRecord]:
    """The payables that a disbursement nets, by session; all of the last session, also above `limit`."""
    found = _QUERIES.payables_of_disbursement(
        connection, disbursement_id=disbursement_id, party_id=party_id, after=after, limit=limit
    )
    return [PayableRecord.from_row(row) async for row in found]


async def list_open_payables(
    connection: Connection, *, party_id: str | None, after: tuple[date, UUID] | None, limit: int
) -> list[PayableRecord]:
    """What is open, by due date and session, after `after`; all of the last session, also above `limit`."""
    day, session_id = after or (None, None)
    found = _QUERIES.open_payables(
        connection, party_id=party_id, after_day=day, after_id=session_id, limit=limit
    )
    return [PayableRecord.from_row(row) async for row in found]


async def list_approvers(connection: Connection, disbursement_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """Who has approved each of these disbursements, in the order of approval."""
    found: dict[UUID, list[str]] = {}
    async for row in _QUERIES.approvers(connection, ids=list(disbursement_ids)):
        found.setdefault(row["disbursement_id"], []).append(row["approver"])
    return found


async def sum_transfers_under_way(connection: Connection) -> dict[str, int]:
    """Disbursements that the PSP was asked for and that have no outcome, in minor units by currency."""
    return {row["currency"]: row["minor"] async for row in _QUERIES.transfers_under_way(connection)}
