"""The trace of one session, put together from the books.

Owns: what is read. Must not know: HTTP, how the gateway keeps a session, whether the trace holds.
"""

from typing import Any

from clearing.connection import Connection
from clearing.meter_data import service as meter_service
from clearing.session_trace import repository
from clearing.session_trace.trace import TracedSession, trace_record


async def trace(connection: Connection, session: TracedSession) -> dict[str, Any]:
    """The record of a session: originals, keys of its meter, entries with their proof, payments."""
    return trace_record(
        session,
        keys=await meter_service.find_keys(connection, raw=session.cdr, party_id=session.cpo_id),
        batches=await repository.load_batches(connection, session.session_id),
        payables=await repository.list_payables(connection, session.session_id),
    )
