"""All open items for the reconciliation report: differences, suspense items, receivables of parties.

Owns: their order. Must not know: the report's format. It takes the connection and only reads.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from uuid import UUID

from clearing.connection import Connection
from clearing.receivables.service import ReceivablesService
from clearing.reconciliation import repository
from clearing.reconciliation.open_items_report import receivable_line, suspense_line
from clearing.reconciliation.report import DifferenceAge, DifferenceFilter, OpenDifference, OpenSum
from clearing.reconciliation.resolution_service import ResolutionService
from clearing.reconciliation.service import ReconciliationService
from clearing.reference_data.service import ReferenceDataService


async def open_lines(
    connection: Connection, reference_data: ReferenceDataService, *, now: datetime
) -> AsyncIterator[OpenDifference]:
    """Differences in the order of their references, then suspense items and receivables, the oldest first."""
    async for difference in ReconciliationService().differences(connection, today=now.date()):
        yield difference
    for item in await ResolutionService(reference_data).list_suspense(connection, now=now):
        yield suspense_line(item, now=now)
    for receivable in await ReceivablesService(reference_data).list_receivables(connection, now=now):
        yield receivable_line(receivable, now=now)


async def list_differences(
    connection: Connection,
    wanted: DifferenceFilter,
    *,
    today: date,
    after: UUID | None = None,
    limit: int,
) -> Sequence[OpenDifference]:
    """Open differences with the sums of their sides, those after one, up to `limit`."""
    return await repository.list_differences(connection, wanted, today=today, after=after, limit=limit)


async def find_difference(
    connection: Connection, difference_id: UUID, *, today: date
) -> OpenDifference | None:
    """One difference with the sums of its sides, open or resolved."""
    return await repository.find_difference(connection, difference_id, today=today)


async def sum_open_items(connection: Connection) -> Sequence[OpenSum]:
    """What each side has open, by currency."""
    return await repository.sum_open_items(connection)


async def count_ages(connection: Connection, *, today: date) -> Sequence[DifferenceAge]:
    """Open differences by owner and age."""
    return await repository.count_ages(connection, today=today)
