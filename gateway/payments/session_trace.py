"""The trace of one session: its originals from here, its entries and payments from clearing.

Owns: what is read of a session for its trace, in one snapshot. Must not know HTTP, or whether the trace
holds.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from clearing.session_trace import service
from clearing.session_trace.trace import TracedSession
from gateway.database import Pool, transaction
from gateway.errors import RecordConflictError, RecordNotFoundError
from gateway.ids import format_id, shard_of
from gateway.payments import repository
from gateway.stored_tariffs import StoredTariffs


async def read_trace(pool: Pool, session_id: UUID) -> Mapping[str, Any]:
    """The record that `clearing.session_trace.verification` verifies.

    Raises:
        RecordNotFoundError: there is no such session.
        RecordConflictError: it has no CDR yet, so there is nothing to trace.
    """
    async with transaction(pool, isolation="repeatable_read") as connection:
        found = await repository.find_session_with_payment(
            connection, shard=shard_of(session_id), session_id=session_id
        )
        if found is None:
            raise RecordNotFoundError(f"there is no session {format_id('ses', session_id)}")
        session, _, capture = found
        snapshot = await StoredTariffs().find(connection, session.tariff_sha256)
        if session.cdr is None or session.cdr_version is None or snapshot is None:
            raise RecordConflictError(
                f"session {format_id('ses', session_id)} has no CDR yet: there is nothing to trace"
            )
        succeeded = capture is not None and capture.captured_at is not None
        traced = TracedSession(
            session_id=session.id,
            cpo_id=session.cpo_id,
            currency=session.currency,
            time_zone=session.time_zone,
            tariff_version=snapshot.version,
            tariff_sha256=session.tariff_sha256,
            tariff=snapshot.canonical,
            cdr_version=session.cdr_version,
            cdr=session.cdr,
            price_minor=session.price_minor or 0,
            captured_minor=capture.amount_minor if capture is not None and succeeded else None,
            psp_charge=None if capture is None else capture.psp_charge,
        )
        return await service.trace(connection, traced)
