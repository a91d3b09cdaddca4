"""Corrections of cleared sessions.

Refund, credit CDR, dispute and dispute won, each posted once by its reference.

Owns: the order of steps inside the caller's transaction. Must not know: the PSP, who requests a correction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from clearing.connection import Connection
from clearing.errors import ClearingConflictError
from clearing.identifiers import format_id
from clearing.ledger import repository as ledger_repository
from clearing.ledger.journal_entry import EntryKind, JournalEntry
from clearing.parties.agreement import Role
from clearing.parties.party import Party
from clearing.sessions import buyer_change
from clearing.sessions import repository as session_repository
from clearing.sessions.batch import OwedShare
from clearing.sessions.clearing_plan import planned_leg, ruling_content, ruling_id
from clearing.sessions.identities import trader_on
from clearing.sessions.reversal import ClearedCapture, Reversal, fee_correction, reinstate, reverse
from clearing.tax.vat import decide
from clearing.tax.vat_rates import VatRates

_UNDOES: Final = {EntryKind.DISPUTE_WON: EntryKind.DISPUTE, EntryKind.REFUND_FAILED: EntryKind.REFUND}


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionRequest:
    """What is requested: `minor` None reverses all that remains; `reference` names it for ever.

    `fee_currency` is that of the PSP's fee; None: the capture's.
    """

    kind: EntryKind
    session_id: UUID
    reference: str
    minor: int
    fee_minor: int = 0
    fee_currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A posted refund, reversal, dispute or dispute won: `minor` of the capture, and each party's change.

    `posted` is False when the same reference had been posted before and nothing was done.
    """

    session_id: UUID
    kind: str
    reference: str
    minor: int
    currency: str
    shares: Sequence[OwedShare]
    posted: bool


async def correct(
    connection: Connection,
    request: CorrectionRequest,
    *,
    parties: Mapping[str, Party],
    seal: ledger_repository.Seal,
) -> Correction:
    """Post a correction. The same request again returns what was posted and posts nothing.

    Raises ClearingConflictError when the session is not cleared or less remains than requested,
    ClosedPeriodError.
    """
    await ledger_repository.lock_open(connection, now=seal.now)
    stored = await session_repository.lock_capture(connection, request.session_id)
    posted = await session_repository.load_stored_entry(
        connection, request.session_id, request.kind, request.reference
    )
    if posted is not None:
        return _correction(posted, posted=False)
    before = await session_repository.sum_reversed(connection, request.session_id)
    remaining = max(stored.gross_minor - before, 0)
    minor, excess = request.minor, 0
    if minor > remaining and await _psp_withdrew_more(connection, request, minor - remaining):
        minor, excess = remaining, minor - remaining
    step = Reversal(
        kind=request.kind,
        reference=request.reference,
        minor=minor,
        before_minor=before,
        charged_to=_charged_to(stored, request.kind),
        due=_due_today(parties, seal.now),
        fee_minor=request.fee_minor,
        fee_currency=request.fee_currency,
        excess_minor=excess,
    )
    entry = reverse(stored, step)
    await ledger_repository.post(connection, [entry], seal=seal)
    return _correction(entry, posted=True)


async def undo(
    connection: Connection,
    session_id: UUID,
    reference: str,
    *,
    kind: EntryKind,
    parties: Mapping[str, Party],
    seal: ledger_repository.Seal,
) -> Correction:
    """Reinstate what a dispute that was won, or a refund that failed, reversed.

    Raises ClearingConflictError when there is no such dispute or refund.
    """
    origin = _UNDOES[kind]
    await ledger_repository.lock_open(connection, now=seal.now)
    await session_repository.lock_capture(connection, session_id)
    posted = await session_repository.load_stored_entry(connection, session_id, kind, reference)
    if posted is not None:
        return _correction(posted, posted=False)
    corrected = await session_repository.load_stored_entry(connection, session_id, origin, reference)
    if corrected is None:
        raise ClearingConflictError(f"session {format_id('ses', session_id)} has no {origin} {reference!r}")
    entry = reinstate(corrected, kind=kind, due=_due_today(parties, seal.now))
    await ledger_repository.post(connection, [entry], seal=seal)
    return _correction(entry, posted=True)


async def change_buyer(
    connection: Connection,
    session_id: UUID,
    buyer: Party,
    *,
    parties: Mapping[str, Party],
    rates: VatRates,
    now: datetime,
) -> bool:
    """Cancel what remains of the sale of a cleared session and issue it to `buyer`, at the VAT that applies.

    False where it is the buyer's already. Raises ClearingConflictError where the session is not cleared, its
    payment is disputed, or nothing remains; ClosedPeriodError, UnclearableError.
    """
    await ledger_repository.lock_open(connection, now=now)
    stored = await session_repository.lock_capture(connection, session_id)
    was = stored.plan.driver
    if was.customer_id == buyer.id:
        return False
    if await session_repository.sum_disputed(connection, session_id):
        raise ClearingConflictError(
            f"the payment of session {format_id('ses', session_id)} is disputed: name its buyer after that"
        )
    place = rates.tax_jurisdiction(stored.links.tax_jurisdiction)
    day = stored.links.sale_at.astimezone(ZoneInfo(place.time_zone)).date()
    decision = decide(
        was.leg,
        supplier=trader_on(parties[was.supplier_id], day, rates),
        customer=trader_on(buyer, day, rates),
        place=place,
        day=day,
        rates=rates,
    )
    number = await session_repository.count_issues(connection, session_id) + 1
    entries = buyer_change.change_buyer(
        stored,
        planned_leg(was.role, was.leg, was.supplier_id, buyer.id, decision),
        reversed_minor=await session_repository.sum_reversed(connection, session_id),
        reference=str(number),
        due=_due_today(parties, now),
    )
    await session_repository.put_rulings(connection, {ruling_id(decision): ruling_content(decision)})
    batch_id = batch_id_of(session_id, EntryKind.SALE_REISSUED, str(number))
    await ledger_repository.post(connection, list(entries), seal=ledger_repository.new_seal(batch_id, 0, now))
    return True


async def correct_fee(
    connection: Connection,
    session_id: UUID,
    reference: str,
    *,
    fee_minor: int,
    fee_currency: str | None,
    seal: ledger_repository.Seal,
) -> bool:
    """Book a dispute fee that the PSP reported after the dispute was posted: the difference, once.

    False where it is booked already. Raises ClearingConflictError when there is no such dispute.
    """
    await ledger_repository.lock_open(connection, now=seal.now)
    await session_repository.lock_capture(connection, session_id)
    corrected = await session_repository.load_stored_entry(
        connection, session_id, EntryKind.DISPUTE, reference
    )
    if corrected is None:
        raise ClearingConflictError(f"session {format_id('ses', session_id)} has no dispute {reference!r}")
    currency = fee_currency or corrected.currency
    times, booked = await session_repository.sum_dispute_fees(
        connection, session_id, reference, currency=currency
    )
    entry = fee_correction(
        corrected,
        reference=f"{reference}{session_repository.FEE_MARK}{times + 1}",
        booked_minor=booked,
        fee_minor=fee_minor,
        currency=currency,
    )
    if entry is None:
        return False
    await ledger_repository.post(connection, [entry], seal=seal)
    return True


def batch_id_of(session_id: UUID, kind: EntryKind, reference: str) -> UUID:
    """The id of the batch of one correction, derived from what it corrects."""
    return uuid5(session_id, f"{kind}/{reference}")


async def _psp_withdrew_more(connection: Connection, request: CorrectionRequest, excess: int) -> bool:
    """Whether the PSP withdrew more than remains: by a dispute, or by a refund of a disputed capture."""
    if request.kind is EntryKind.REFUND:
        return excess <= await session_repository.sum_disputed(connection, request.session_id)
    return request.kind is EntryKind.DISPUTE


def _charged_to(stored: ClearedCapture, kind: EntryKind) -> Role | None:
    terms = stored.plan.agreement.terms
    match kind:
        case EntryKind.REFUND:
            return terms.refund_charged_to
        case EntryKind.DISPUTE:
            return terms.dispute_charged_to
        case _:
            return None  # a credit CDR reverses the sale itself


def _due_today(parties: Mapping[str, Party], now: datetime) -> Mapping[str, date]:
    """A receivable is due on the party's present day: it is netted in the next run."""
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
