"""Clearing sessions and correcting cleared ones, in the caller's transaction.

Owns: the order of reads and writes around a batch's computing, and which corrections there are. Must not
know: how a session is priced, planned or split; HTTP, the PSP. Every method takes the connection; none
commits.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Final
from uuid import UUID

from clearing.captured_session import CapturedSession
from clearing.connection import Connection
from clearing.errors import UnclearableError
from clearing.ledger import repository as ledger_repository
from clearing.ledger.journal_entry import EntryKind
from clearing.reference_data.service import ReferenceDataService
from clearing.sessions import corrections, repository
from clearing.sessions.batch import BatchProcessor, BatchResult, ClearedSession, UnclearedSession, cleared
from clearing.sessions.corrections import Correction, CorrectionRequest
from clearing.sessions.reprice import Repricer, TariffRepricer

# Sessions computed before the event loop may do other work: about two milliseconds.
_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingBatch:
    """What became of a batch. `already` were in the journal before: nothing was posted for them again.

    `copy_rejected`: the SQLSTATE with which the server rejected the copy of its entries, which were inserted.
    """

    batch_id: UUID
    cleared: Sequence[ClearedSession]
    uncleared: Sequence[UnclearedSession]
    already: Sequence[UUID]
    hash: bytes | None
    copy_rejected: str | None = None


class SessionClearingService:
    """Clears and corrects sessions. Stateless but for its cached plans; one instance serves a process."""

    def __init__(self, reference_data: ReferenceDataService, *, repricer: Repricer | None = None) -> None:
        """`repricer`: by default sessions are priced from their stored tariff and CDR."""
        self._reference_data = reference_data
        self._repricer = repricer or TariffRepricer()
        self._processor: BatchProcessor | None = None
        # Held by the batch that computes: two that alternated by the session would end, and then write, at
        # the same time.
        self._turn = asyncio.Lock()

    async def clear_batch(
        self,
        connection: Connection,
        sessions: Sequence[CapturedSession],
        *,
        now: datetime,
        batch_id: UUID,
        chain: int = 0,
    ) -> ClearingBatch:
        """Post what can be cleared, and record for each other session why not.

        Each session is priced again from its stored originals and proved equal to its capture. One that can't
        be cleared becomes an exception with its reason, and the batch goes on; one that is in the journal
        already posts nothing. Batches may be cleared side by side on a connection and a `chain` each: while
        one computes, PostgreSQL writes the other.
        Raises ClosedPeriodError when `now` lies in a closed period.
        """
        await ledger_repository.lock_open(connection, now=now)
        unique = {session.session_id: session for session in sessions}
        ordered = sorted(unique.values(), key=attrgetter("shard", "session_id"))
        known = await ledger_repository.find_captured(connection, ordered)
        processor = await self._present_processor(connection)
        pending = [session for session in ordered if session.session_id not in known]
        counts = await repository.sum_volumes(connection, processor.tiered_agreements(pending))
        result = BatchResult(counts=counts)
        async with self._turn:
            for start in range(0, len(pending), _AT_ONCE):
                processor.process(pending[start : start + _AT_ONCE], into=result)
                await asyncio.sleep(0)
        await repository.put_rulings(connection, result.rulings())
        posted = await ledger_repository.post(
            connection, result.entries, seal=ledger_repository.new_seal(batch_id, chain, now)
        )
        fresh = {subject for subject, _, _ in posted.keys}
        added = processor.volumes([entry for entry in result.entries if entry.subject_id in fresh], result)
        await repository.add_volumes(connection, added, batch_id=batch_id)
        await repository.mark_exceptions(
            connection,
            [
                (session.shard, session.session_id, uncleared.reason, uncleared.detail)
                for session, uncleared in result.uncleared
            ],
            now=now,
        )
        await repository.resolve_exceptions(
            connection, [session for session in pending if session.session_id in fresh], now=now
        )
        return ClearingBatch(
            batch_id=batch_id,
            cleared=[
                cleared(entry, result.plan_of(entry)) for entry in result.entries if entry.subject_id in fresh
            ],
            uncleared=[uncleared for _, uncleared in result.uncleared],
            already=sorted(known | {entry.subject_id for entry in result.entries} - fresh),
            hash=posted.hash,
            copy_rejected=posted.copy_rejected,
        )

    async def _present_processor(self, connection: Connection) -> BatchProcessor:
        """The processor with the present reference data: its plans are cached until the data changes."""
        present = await self._reference_data.load(connection)
        if self._processor is None or self._processor.reference_data is not present:
            self._processor = BatchProcessor(repricer=self._repricer, reference_data=present)
        return self._processor

    async def refund(
        self, connection: Connection, session_id: UUID, *, minor: int, reference: str, now: datetime
    ) -> Correction:
        """Reverse `minor` of a capture at its stored VAT rulings and FX locks; a known reference is a no-op.

        Payables turn negative and are netted against later sales, also after a payout. Raises
        ClearingConflictError when the session isn't cleared or less remains, InvalidAmountError,
        ClosedPeriodError.
        """
        request = CorrectionRequest(
            kind=EntryKind.REFUND, session_id=session_id, reference=reference, minor=minor
        )
        return await self._correct(connection, request, now=now)

    async def open_dispute(
        self,
        connection: Connection,
        session_id: UUID,
        *,
        minor: int,
        fee_minor: int,
        fee_currency: str | None = None,
        reference: str,
        now: datetime,
    ) -> Correction:
        """Book money that the PSP withdrew for a dispute, charged at once to the parties that the terms name.

        The driver's VAT stays due. The fee is in the currency in which the PSP charged it; None: the
        capture's. Raises as `refund` does.
        """
        request = CorrectionRequest(
            kind=EntryKind.DISPUTE,
            session_id=session_id,
            reference=reference,
            minor=minor,
            fee_minor=fee_minor,
            fee_currency=fee_currency,
        )
        return await self._correct(connection, request, now=now)

    async def correct_dispute_fee(
        self,
        connection: Connection,
        session_id: UUID,
        *,
        fee_minor: int,
        fee_currency: str | None = None,
        reference: str,
        now: datetime,
    ) -> bool:
        """Correct the PSP's booked fee of a dispute to `fee_minor`; False if that is what is booked.

        Raises ClearingConflictError while the dispute is not posted, ClosedPeriodError.
        """
        batch_id = corrections.batch_id_of(
            session_id, EntryKind.DISPUTE, f"{reference}/{fee_minor}/{now.isoformat()}"
        )
        return await corrections.correct_fee(
            connection,
            session_id,
            reference,
            fee_minor=fee_minor,
            fee_currency=fee_currency,
            seal=ledger_repository.new_seal(batch_id, 0, now),
        )

    async def win_dispute(
        self, connection: Connection, session_id: UUID, *, reference: str, now: datetime
    ) -> Correction:
        """Reinstate what the dispute of that reference reversed; ClearingConflictError if there is none."""
        return await self._undo(connection, session_id, EntryKind.DISPUTE_WON, reference, now=now)

    async def fail_refund(
        self, connection: Connection, session_id: UUID, *, reference: str, now: datetime
    ) -> Correction:
        """Reinstate what a failed refund reversed. Raises ClearingConflictError if there is none."""
        return await self._undo(connection, session_id, EntryKind.REFUND_FAILED, reference, now=now)

    async def change_buyer(
        self, connection: Connection, session_id: UUID, *, buyer_id: str, now: datetime
    ) -> bool:
        """Sell a cleared session to a business that is named only now: cancelled and issued anew.

        False where it is the buyer's already. Raises ClearingConflictError where the session is not cleared,
        its payment is disputed, or nothing of it remains; UnclearableError for an unknown buyer;
        ClosedPeriodError.
        """
        reference = await self._reference_data.load(connection)
        buyer = reference.parties.get(buyer_id)
        if buyer is None:
            raise UnclearableError("unknown_party", f"buyer {buyer_id!r} is not registered")
        return await corrections.change_buyer(
            connection,
            session_id,
            buyer,
            parties=reference.parties,
            rates=reference.rates_and_calendars.vat,
            now=now,
        )

    async def _undo(
        self, connection: Connection, session_id: UUID, kind: EntryKind, reference: str, *, now: datetime
    ) -> Correction:
        seal = ledger_repository.new_seal(corrections.batch_id_of(session_id, kind, reference), 0, now)
        parties = await self._reference_data.load_parties(connection)
        return await corrections.undo(
            connection, session_id, reference, kind=kind, parties=parties, seal=seal
        )

    async def _correct(
        self, connection: Connection, request: CorrectionRequest, *, now: datetime
    ) -> Correction:
        parties = await self._reference_data.load_parties(connection)
        batch_id = corrections.batch_id_of(request.session_id, request.kind, request.reference)
        seal = ledger_repository.new_seal(batch_id, 0, now)
        return await corrections.correct(connection, request, parties=parties, seal=seal)
