"""What happens around payouts, told to whom it concerns: holds, bank details, the bank's answers.

Owns: the public objects of these and their events. Must not know what brought them about. IBANs are masked.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from clearing.desks.bank_intake import TakenMessage
from clearing.desks.bank_rail import BankAnswer, Drawing
from clearing.parties.bank_details import SubmittedDetails
from clearing.payouts.disbursement import Disbursement
from clearing.store import payout_terms
from clearing.store.payout_terms import KeptHold
from gateway import objects
from gateway.database import Connection
from gateway.ids import format_id, lane_of
from gateway.lanes.disbursement_lane import disbursement_object
from gateway.notify import events
from gateway.notify.events import EventType, NewEvent
from gateway.store.parties import PLATFORM_ID

HOLD: Final = "hld"


def hold_object(hold: KeptHold) -> objects.PayoutHold:
    """The public hold."""
    return objects.PayoutHold(
        id=format_id(HOLD, hold.id),
        party=hold.party_id,
        reason=hold.reason,
        since=hold.since,
        until=hold.until,
        placed_by=hold.placed_by,
        lifted=hold.lifted_at,
        lifted_by=hold.lifted_by,
    )


def details_object(kept: SubmittedDetails) -> objects.BankDetails:
    """The public bank details, the IBAN masked."""
    return objects.BankDetails(
        id=f"{kept.party_id}/{kept.version}",
        party=kept.party_id,
        version=kept.version,
        state=kept.state.value,
        name=kept.details.name,
        iban=kept.details.masked,
        country=kept.details.country,
        bic=kept.details.bic,
        reference=kept.details.reference,
        submitted=kept.submitted_at,
        submitted_by=kept.submitted_by,
        decided=kept.decided_at,
        decided_by=kept.decided_by,
    )


def message_object(taken: TakenMessage) -> objects.BankMessage:
    """The public bank message."""
    message = taken.message
    return objects.BankMessage(
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
        repeated=taken.repeated,
    )


def payments(kind: EventType, told: Sequence[Disbursement]) -> list[NewEvent]:
    """One event for each payment, to the party that it pays."""
    return [_event(kind, one.party_id, disbursement_object(one), lane=lane_of(one.id)) for one in told]


def hold(kind: EventType, kept: KeptHold) -> NewEvent:
    """A hold placed or lifted, to the party that it holds."""
    return _event(kind, kept.party_id, hold_object(kept), lane=lane_of(kept.id))


def details(kind: EventType, kept: SubmittedDetails) -> NewEvent:
    """Bank details submitted or decided on, to their party."""
    return _event(kind, kept.party_id, details_object(kept), lane=0)


async def record_answer(connection: Connection, answer: BankAnswer, *, now: datetime) -> None:
    """Tell what a report or statement did, in its transaction."""
    back = [one.payment for one in answer.came_back]
    news = [
        *payments(EventType.DISBURSEMENT_PAID, answer.paid),
        *payments(EventType.DISBURSEMENT_FAILED, answer.failed),
        *payments(EventType.DISBURSEMENT_RETURNED, back),
    ]
    for one in answer.came_back:
        news += await _held(connection, one.hold_id)
    await events.record(connection, news, now=now)


async def record_hold(
    connection: Connection, hold_id: UUID, withdrawn: Sequence[Disbursement], *, now: datetime
) -> None:
    """Tell of a hold that was placed, and of the payments that it withdrew."""
    news = await _held(connection, hold_id)
    news += payments(EventType.DISBURSEMENT_WITHDRAWN, withdrawn)
    await events.record(connection, news, now=now)


async def record_drawing(connection: Connection, drawing: Drawing, *, now: datetime) -> None:
    """Tell what was kept out of a payment file, in the transaction that drew it."""
    news = [
        *payments(EventType.DISBURSEMENT_WITHDRAWN, drawing.withdrawn),
        *payments(EventType.DISBURSEMENT_FAILED, drawing.refused),
    ]
    await events.record(connection, news, now=now)


async def record_taken(connection: Connection, taken: TakenMessage, *, now: datetime) -> None:
    """Tell what a message of the bank did; one that was refused is told to the platform."""
    await record_answer(connection, taken.answer, now=now)
    if taken.message.state == "refused" and not taken.repeated:
        news = _event(EventType.BANK_MESSAGE_REFUSED, PLATFORM_ID, message_object(taken), lane=0)
        await events.record(connection, [news], now=now)


async def _held(connection: Connection, hold_id: UUID) -> list[NewEvent]:
    kept = await payout_terms.hold(connection, hold_id)
    return [] if kept is None else [hold(EventType.PAYOUT_HELD, kept)]


def _event(
    kind: EventType,
    party_id: str,
    shown: objects.Disbursement | objects.PayoutHold | objects.BankDetails | objects.BankMessage,
    *,
    lane: int,
) -> NewEvent:
    return NewEvent(type=kind, party_id=party_id, object_id=shown.id, data=shown.as_json(), lane=lane)
