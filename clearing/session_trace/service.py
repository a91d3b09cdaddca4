"""The trace of one session, put together from the books.

Owns: what is read. Must not know: HTTP, how the gateway keeps a session, whether the trace holds.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from clearing.connection import Connection
from clearing.meter_data import service as meter_service
from clearing.session_trace import repository
from clearing.session_trace.trace import TracedSession, trace_record


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingInstants:
    """When a session was cleared, and when it first could not be; None: not."""

    cleared_at: datetime | None
    uncleared_at: datetime | None


async def find_instants(connection: Connection, session_id: UUID) -> ClearingInstants:
    """When a session went through clearing, from the journal and the list of what could not be cleared."""
    return ClearingInstants(
        cleared_at=await repository.find_cleared_at(connection, session_id),
        uncleared_at=await repository.find_uncleared_at(connection, session_id),
    )


async def trace(connection: Connection, session: TracedSession) -> dict[str, Any]:
    """The record of a session: originals, keys of its meter, entries with their proof, payments."""
    return trace_record(
        session,
        keys=await meter_service.find_keys(connection, raw=session.cdr, party_id=session.cpo_id),
        batches=await repository.load_batches(connection, session.session_id),
        payables=await repository.list_payables(connection, session.session_id),
    )
