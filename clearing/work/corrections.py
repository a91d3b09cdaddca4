"""Corrections of cleared sessions.

Refund, credit, dispute and dispute won, each posted once by its reference.

Owns: the order of steps inside the caller's transaction. Must not know: the PSP, who asked for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from clearing.connection import Connection
from clearing.errors import StateConflictError
from clearing.journal.ledger import EntryKind, JournalEntry
from clearing.parties.agreement import Role
from clearing.parties.party import Party
from clearing.results import Correction, OwedShare
from clearing.sessions.unwind import StoredCapture, TakeBack, fee_correction, give_again, take_back
from clearing.store import captures, journal

_UNDOES: Final = {EntryKind.DISPUTE_WON: EntryKind.DISPUTE, EntryKind.REFUND_FAILED: EntryKind.REFUND}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for: `minor` None takes back all that is left; `reference` names it for ever."""

    kind: EntryKind
    session_id: UUID
    reference: str
    minor: int | None = None
    fee_minor: int = 0


async def correct(
    connection: Connection, order: Order, *, parties: Mapping[str, Party], seal: journal.Seal
) -> Correction:
    """Take money back. The same order again answers what was posted and posts nothing.

    Raises StateConflictError when the session is not cleared or less is left than asked for,
    ClosedPeriodError.
    """
    await journal.hold_open(connection, now=seal.now)
    stored = await captures.lock_capture(connection, order.session_id)
    known = await captures.stored_entry(connection, order.session_id, order.kind, order.reference)
    if known is not None:
        return _correction(known, posted=False)
    before = await captures.taken_back(connection, order.session_id)
    left = max(stored.gross_minor - before, 0)
    minor = left if order.minor is None else order.minor
    if order.minor is None and minor == 0:
        raise StateConflictError(f"nothing is left of the capture of session {order.session_id}")
    excess = 0
    if minor > left and await _was_taken(connection, order, minor - left):
        minor, excess = left, minor - left
    step = TakeBack(
        kind=order.kind,
        reference=order.reference,
        minor=minor,
        before_minor=before,
        bearer=_bearer(stored, order.kind),
        due=_due_today(parties, seal.now),
        fee_minor=order.fee_minor,
        excess_minor=excess,
    )
    entry = take_back(stored, step)
    await journal.post(connection, [entry], seal=seal)
    return _correction(entry, posted=True)


async def undo(
    connection: Connection,
    session_id: UUID,
    reference: str,
    *,
    kind: EntryKind,
    parties: Mapping[str, Party],
    seal: journal.Seal,
) -> Correction:
    """Give back what a dispute took that was won, or a refund that never reached its card.

    Raises StateConflictError when there is no such dispute or refund.
    """
    origin = _UNDOES[kind]
    await journal.hold_open(connection, now=seal.now)
    await captures.lock_capture(connection, session_id)
    known = await captures.stored_entry(connection, session_id, kind, reference)
    if known is not None:
        return _correction(known, posted=False)
    taken = await captures.stored_entry(connection, session_id, origin, reference)
    if taken is None:
        raise StateConflictError(f"session {session_id} has no {origin} {reference!r}")
    entry = give_again(taken, kind=kind, due=_due_today(parties, seal.now))
    await journal.post(connection, [entry], seal=seal)
    return _correction(entry, posted=True)


async def correct_fee(
    connection: Connection, session_id: UUID, reference: str, *, fee_minor: int, seal: journal.Seal
) -> bool:
    """Book what the PSP charges for a dispute, told after the dispute was posted: the difference, once.

    False where it is booked already. Raises StateConflictError when there is no such dispute.
    """
    await journal.hold_open(connection, now=seal.now)
    await captures.lock_capture(connection, session_id)
    taken = await captures.stored_entry(connection, session_id, EntryKind.DISPUTE, reference)
    if taken is None:
        raise StateConflictError(f"session {session_id} has no dispute {reference!r}")
    times, booked = await captures.dispute_fees(connection, session_id, reference)
    entry = fee_correction(
        taken,
        reference=f"{reference}{captures.FEE_MARK}{times + 1}",
        booked_minor=booked,
        fee_minor=fee_minor,
    )
    if entry is None:
        return False
    await journal.post(connection, [entry], seal=seal)
    return True


def batch_id_of(session_id: UUID, kind: EntryKind, reference: str) -> UUID:
    """The id of the batch of one correction, derived from what it corrects."""
    return uuid5(session_id, f"{kind}/{reference}")


async def _was_taken(connection: Connection, order: Order, excess: int) -> bool:
    """Whether the PSP took more than is left here: by a dispute, or a refund that met a standing one."""
    if order.kind is EntryKind.REFUND:
        return excess <= await captures.disputed(connection, order.session_id)
    return order.kind is EntryKind.DISPUTE


def _bearer(stored: StoredCapture, kind: EntryKind) -> Role | None:
    terms = stored.plan.agreement.terms
    match kind:
        case EntryKind.REFUND:
            return terms.refund_bearer
        case EntryKind.DISPUTE:
            return terms.dispute_bearer
        case _:
            return None  # a credit of the CPO undoes the sale itself


def _due_today(parties: Mapping[str, Party], now: datetime) -> Mapping[str, date]:
    """A debt counts from the party's own day on: it is netted in the next run."""
    return {party.id: now.astimezone(ZoneInfo(party.time_zone)).date() for party in parties.values()}


def _correction(entry: JournalEntry, *, posted: bool) -> Correction:
    shares: Sequence[OwedShare] = [
        OwedShare(party_id=party_id, role=role, amount_minor=minor, currency=currency, due_date=due)
        for party_id, role, minor, currency, due in entry.payables
    ]
    return Correction(
        session_id=entry.subject_id,
        kind=entry.kind,
        reference=entry.reference,
        minor=entry.gross_minor,
        currency=entry.currency,
        shares=shares,
        posted=posted,
    )
