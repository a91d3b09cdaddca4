"""Open differences, their items and suspense items in PostgreSQL, for a person's resolution.

Owns: rows to values and back. Must not know: how anything is resolved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from clearing.connection import Connection, named_queries, rows

_sql = named_queries("resolution")


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceRecord:
    """An open difference; `amount_minor` is left minus right."""

    id: UUID
    pair: str
    reference: str
    currency: str
    type: str
    amount_minor: int
    since: date
    owner: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItemRecord:
    """An open item of one side of a pair."""

    side: str
    source_id: str
    reference: str
    amount_minor: int
    fee_minor: int
    occurred_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspenseItemRecord:
    """Unallocated money: `remaining_minor` of `amount_minor` (positive: received).

    `pair` is that of the difference that it came from.
    """

    id: UUID
    currency: str
    amount_minor: int
    remaining_minor: int
    since: date
    owner: str
    detail: str
    pair: str


async def open_difference(connection: Connection, difference_id: UUID) -> DifferenceRecord | None:
    """One open difference."""
    row = await _sql.open_difference(connection, id=difference_id)
    return None if row is None else DifferenceRecord(**dict(row.items()))


async def open_differences_of(connection: Connection, *, pair: str, reference: str) -> list[DifferenceRecord]:
    """The open differences of one reference, by currency."""
    found = await rows(_sql.open_differences_of(connection, pair=pair, reference=reference))
    return [DifferenceRecord(**dict(row.items())) for row in found]


async def lock_open_items(
    connection: Connection, *, pair: str, references: Sequence[str], currency: str
) -> list[OpenItemRecord]:
    """The open items of these references, locked until the transaction ends."""
    found = await rows(_sql.open_items(connection, pair=pair, refs=list(references), currency=currency))
    return [OpenItemRecord(**dict(row.items())) for row in found]


async def resolve(
    connection: Connection,
    *,
    pair: str,
    references: Sequence[str],
    currency: str,
    request_id: UUID,
    now: datetime,
) -> None:
    """Close the differences of these references, and match their items by the approval request."""
    refs = list(references)
    await _sql.resolve_items(
        connection, pair=pair, refs=refs, currency=currency, request_id=request_id, now=now
    )
    await _sql.resolve_differences(connection, pair=pair, refs=refs, currency=currency, now=now)


async def insert_suspense(connection: Connection, item: SuspenseItemRecord) -> None:
    """Write a new suspense item, under the id of its approval request."""
    await _sql.insert_suspense(
        connection,
        id=item.id,
        currency=item.currency,
        amount_minor=item.amount_minor,
        since=item.since,
        owner=item.owner,
        detail=item.detail,
    )


async def lock_suspense(connection: Connection, suspense_id: UUID) -> SuspenseItemRecord | None:
    """One suspense item, locked until the transaction ends."""
    row = await _sql.lock_suspense(connection, id=suspense_id)
    return None if row is None else SuspenseItemRecord(**dict(row.items()))


async def reduce_suspense(connection: Connection, suspense_id: UUID, *, minor: int) -> None:
    """Subtract `minor` (the item's sign) from what remains of a suspense item."""
    await _sql.reduce_suspense(connection, id=suspense_id, minor=minor)


async def list_suspense(
    connection: Connection, *, after: UUID | None, limit: int
) -> list[SuspenseItemRecord]:
    """Suspense items with money remaining, the oldest first, those after one."""
    found = await rows(_sql.suspense(connection, after=after, limit=limit))
    return [SuspenseItemRecord(**dict(row.items())) for row in found]
