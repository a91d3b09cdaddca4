"""Clearing a batch of captured sessions in the caller's transaction.

Owns: the order of reads and writes around the batch's computing, and the books kept at hand between batches.
Must not know: how a session is priced, planned or split.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Final
from uuid import UUID

from clearing import reference
from clearing.connection import Connection
from clearing.fx import RateTable
from clearing.ports import Repricer
from clearing.results import ClearingBatch
from clearing.session import CapturedSession
from clearing.sessions.settlement import References
from clearing.store import journal, references
from clearing.work.batch import BatchWorker, Books, Worked, cleared

# Sessions between two looks at the other work of the loop: about two milliseconds.
_AT_ONCE: Final = 32


@dataclass(slots=True, kw_only=True)
class Shelf:
    """The books at hand: read again only when their epoch changed.

    `turn` is held by the batch that computes; two that took turns by the session would end, and then write,
    at the same time.
    """

    repricer: Repricer
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _worker: BatchWorker | None = None
    _epochs: dict[str, UUID] = field(default_factory=dict)
    _rates: RateTable = field(default_factory=lambda: RateTable(()))

    async def worker(self, connection: Connection) -> BatchWorker:
        """The worker with the present reference data."""
        epochs = await references.epochs(connection)
        if self._worker is not None and epochs == self._epochs:
            return self._worker
        if epochs["fx_rate"] != self._epochs.get("fx_rate"):
            self._rates = await references.rate_table(connection)
        worker = BatchWorker(
            repricer=self.repricer,
            books=Books(
                parties=await references.parties(connection),
                agreements=await references.agreements(connection),
                references=References(
                    vat=reference.vat_rates(), fx=self._rates, calendars=reference.calendars()
                ),
            ),
        )
        self._worker, self._epochs = worker, epochs
        return worker


async def clear(
    connection: Connection,
    sessions: Sequence[CapturedSession],
    *,
    shelf: Shelf,
    now: datetime,
    batch_id: UUID,
    chain: int,
) -> ClearingBatch:
    """Post what can be cleared, park the rest with its reason.

    Batches may be cleared side by side on a connection each: while one computes, PostgreSQL writes the other.
    Raises ClosedPeriodError when `now` lies in a closed period.
    """
    await journal.hold_open(connection, now=now)
    unique = {session.session_id: session for session in sessions}
    ordered = sorted(unique.values(), key=attrgetter("lane", "session_id"))
    known = await journal.captured(connection, ordered)
    worker = await shelf.worker(connection)
    fresh_sessions = [session for session in ordered if session.session_id not in known]
    counts = await journal.volumes(connection, worker.tiered_agreements(fresh_sessions))
    worked = Worked(counts=counts)
    async with shelf.turn:
        for start in range(0, len(fresh_sessions), _AT_ONCE):
            worker.work(fresh_sessions[start : start + _AT_ONCE], into=worked)
            await asyncio.sleep(0)
    await journal.put_rulings(connection, worked.rulings())
    posted = await journal.post(connection, worked.entries, seal=journal.new_seal(batch_id, chain, now))
    fresh = {subject for subject, _, _ in posted.keys}
    added = worker.volumes([entry for entry in worked.entries if entry.subject_id in fresh], worked)
    await journal.add_volumes(connection, added, batch_id=batch_id)
    await journal.park(
        connection,
        [
            (session.lane, session.session_id, parked.reason, parked.detail)
            for session, parked in worked.parked
        ],
        now=now,
    )
    await journal.resolve_parked(
        connection, [session for session in fresh_sessions if session.session_id in fresh], now=now
    )
    return ClearingBatch(
        batch_id=batch_id,
        cleared=[
            cleared(entry, worked.plan_of(entry)) for entry in worked.entries if entry.subject_id in fresh
        ],
        parked=[parked for _, parked in worked.parked],
        already=sorted(known | {entry.subject_id for entry in worked.entries} - fresh),
        hash=posted.hash,
    )
