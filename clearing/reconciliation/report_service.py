"""All open items for the reconciliation report: differences, suspense items, receivables of parties.

Owns: their order. Must not know: the report's format. It takes the connection and only reads.
"""

from collections.abc import AsyncIterator
from datetime import datetime

from clearing.connection import Connection
from clearing.receivables.service import ReceivablesService
from clearing.reconciliation.open_items_report import receivable_line, suspense_line
from clearing.reconciliation.report import OpenDifference
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
