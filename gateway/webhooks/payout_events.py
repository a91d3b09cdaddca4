"""Events of payouts for the party concerned: holds, bank details, disbursements, bank messages.

Owns: the public objects of these and their events. Must not know: what caused them. IBANs are masked.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from clearing.bank_transfers.message_importer import ImportedMessage
from clearing.bank_transfers.service import BankOutcome, PaymentFileResult
from clearing.parties import service as party_service
from clearing.parties.bank_details import SubmittedDetails
from clearing.parties.party import PLATFORM_ID
from clearing.parties.payout_terms import PayoutHoldRecord
from clearing.payouts.disbursement import Disbursement
from clearing.reporting import disbursements
from clearing.reporting.disbursements import DisbursementRecord
from gateway.database import Connection
from gateway.ids import format_id, shard_of
from gateway.schemas import api_schemas
from gateway.webhooks import events
from gateway.webhooks.events import EventType, NewEvent

HOLD: Final = "hld"


def disbursement_object(record: DisbursementRecord) -> api_schemas.DisbursementSchema:
    """The public disbursement."""
    return api_schemas.DisbursementSchema(
        id=format_id("dis", record.id),
        party=record.party_id,
        state=record.state,
        amount=record.amount_minor,
        currency=record.currency,
        due_date=record.period,
        end_to_end_id=record.end_to_end_id,
        payables=record.payables,
        created=record.planned_at,
        paid_at=record.finished_at if record.state == "paid" else None,
        failure_reason=record.failure,
    )


def hold_object(hold: PayoutHoldRecord) -> api_schemas.PayoutHoldSchema:
    """The public hold."""
    return api_schemas.PayoutHoldSchema(
        id=format_id(HOLD, hold.id),
        party=hold.party_id,
        reason=hold.reason,
        since=hold.since,
        until=hold.until,
        placed_by=hold.placed_by,
        lifted=hold.lifted_at,
        lifted_by=hold.lifted_by,
    )


def details_object(record: SubmittedDetails) -> api_schemas.BankDetailsSchema:
    """The public bank details, the IBAN masked."""
    return api_schemas.BankDetailsSchema(
        id=f"{record.party_id}/{record.version}",
        party=record.party_id,
        version=record.version,
        state=record.state.value,
        name=record.details.name,
        iban=record.details.masked,
        country=record.details.country,
        bic=record.details.bic,
        reference=record.details.reference,
        submitted=record.submitted_at,
        submitted_by=record.submitted_by,
        decided=record.decided_at,
        decided_by=record.decided_by,
    )


def message_object(imported: ImportedMessage) -> api_schemas.BankMessageSchema:
    """The public bank message."""
    message = imported.message
    return api_schemas.BankMessageSchema(
        id=message.sha256,
        name=message.name,
        kind=message.kind,
        state=message.state,
        reason=message.reason,
        settled=message.settled,
        rejected=message.rejected,
        returned=message.returned,
        new_lines=message.new_lines,
        received=message.received_at,
        repeated=imported.repeated,
    )


async def disbursement_events(
    connection: Connection, kind: EventType, changed: Sequence[Disbursement]
) -> list[NewEvent]:
    """One event for each disbursement, to its party, in the transaction that changed them.

    The state is that of `changed`: another change may follow in the same transaction.
    """
    records = (
        await disbursements.find_disbursements(connection, [one.id for one in changed]) if changed else {}
    )
    return [
        _event(
            kind,
            one.party_id,
            disbursement_object(replace(records[one.id], state=one.state.value, failure=one.failure)),
            shard=shard_of(one.id),
        )
        for one in changed
    ]


def hold(kind: EventType, record: PayoutHoldRecord) -> NewEvent:
    """A hold placed or lifted, to its party."""
    return _event(kind, record.party_id, hold_object(record), shard=shard_of(record.id))


def details(kind: EventType, record: SubmittedDetails) -> NewEvent:
    """Bank details submitted, approved or rejected, to their party."""
    return _event(kind, record.party_id, details_object(record), shard=0)


async def record_bank_outcome(connection: Connection, outcome: BankOutcome, *, now: datetime) -> None:
    """Record the events of what a status report or statement changed, in its transaction."""
    returned = [one.disbursement for one in outcome.returned]
    new = [
        *await disbursement_events(connection, EventType.DISBURSEMENT_PAID, outcome.paid),
        *await disbursement_events(connection, EventType.DISBURSEMENT_FAILED, outcome.failed),
        *await disbursement_events(connection, EventType.DISBURSEMENT_RETURNED, returned),
    ]
    for one in outcome.returned:
        new += await _hold_placed(connection, one.hold_id)
    await events.record(connection, new, now=now)


async def record_hold(
    connection: Connection, hold_id: UUID, cancelled: Sequence[Disbursement], *, now: datetime
) -> None:
    """Record the events of a hold that was placed, and of the disbursements that it cancelled."""
    placed = await _hold_placed(connection, hold_id)
    await record_cancelled(connection, cancelled, with_events=placed, now=now)


async def record_cancelled(
    connection: Connection,
    cancelled: Sequence[Disbursement],
    *,
    with_events: Sequence[NewEvent] = (),
    now: datetime,
) -> None:
    """Record the events of cancelled disbursements, after those of what cancelled them."""
    new = await disbursement_events(connection, EventType.DISBURSEMENT_CANCELLED, cancelled)
    await events.record(connection, [*with_events, *new], now=now)


async def record_payment_file(connection: Connection, result: PaymentFileResult, *, now: datetime) -> None:
    """Record the events of disbursements left out of a payment file, in its transaction."""
    new = [
        *await disbursement_events(connection, EventType.DISBURSEMENT_CANCELLED, result.cancelled),
        *await disbursement_events(connection, EventType.DISBURSEMENT_FAILED, result.rejected),
    ]
    await events.record(connection, new, now=now)


async def record_imported_message(
    connection: Connection, imported: ImportedMessage, *, now: datetime
) -> None:
    """Record the events of what a bank message changed; a rejected one is an event to the platform."""
    await record_bank_outcome(connection, imported.outcome, now=now)
    if imported.message.state == "rejected" and not imported.repeated:
        rejected = _event(EventType.BANK_MESSAGE_REJECTED, PLATFORM_ID, message_object(imported), shard=0)
        await events.record(connection, [rejected], now=now)


async def _hold_placed(connection: Connection, hold_id: UUID) -> list[NewEvent]:
    record = await party_service.lock_payout_hold(connection, hold_id)
    return [] if record is None else [hold(EventType.PAYOUT_HOLD_PLACED, record)]


def _event(
    kind: EventType,
    party_id: str,
    public: api_schemas.DisbursementSchema
    | api_schemas.PayoutHoldSchema
    | api_schemas.BankDetailsSchema
    | api_schemas.BankMessageSchema,
    *,
    shard: int,
) -> NewEvent:
    return NewEvent(type=kind, party_id=party_id, object_id=public.id, data=public.as_json(), shard=shard)
