"""Events: what happened, written in the transaction in which it happened.

Owns the catalogue of types and the one way to record them. Must not know deliveries, HTTP, or why an object
changed.

A row belongs to one party: whoever may see the object gets a row of its own. Order is kept per object by the
event's id, so record an event after the statement that changed the object, inside the same transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from gateway import objects
from gateway.database import Connection
from gateway.ids import LANES, new_id

API_VERSION: Final = "2026-11-01"


class EventType(StrEnum):
    """Every type a partner can subscribe to; types are added, never renamed."""

    AUTHORIZATION_AUTHORIZED = "authorization.authorized"
    AUTHORIZATION_REQUIRES_ACTION = "authorization.requires_action"
    AUTHORIZATION_FAILED = "authorization.failed"
    AUTHORIZATION_OUTCOME_UNKNOWN = "authorization.outcome_unknown"
    AUTHORIZATION_VOIDED = "authorization.voided"
    SESSION_COMPLETED = "session.completed"
    SESSION_CLEARED = "session.cleared"
    SESSION_PARKED = "session.parked"
    CAPTURE_SUCCEEDED = "capture.succeeded"
    CAPTURE_FAILED = "capture.failed"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"
    DISPUTE_OPENED = "dispute.opened"
    DISPUTE_WON = "dispute.won"
    DISPUTE_LOST = "dispute.lost"
    PLUG_AND_CHARGE_SETTLED = "plug_and_charge.settled"
    DISBURSEMENT_PLANNED = "disbursement.planned"
    DISBURSEMENT_PAID = "disbursement.paid"
    DISBURSEMENT_FAILED = "disbursement.failed"
    DISBURSEMENT_WITHDRAWN = "disbursement.withdrawn"
    DISBURSEMENT_RELEASED = "disbursement.released"
    DISBURSEMENT_RETURNED = "disbursement.returned"
    PAYOUT_HELD = "payout.held"
    PAYOUT_RELEASED = "payout.released"
    BANK_DETAILS_SUBMITTED = "bank_details.submitted"
    BANK_DETAILS_CONFIRMED = "bank_details.confirmed"
    BANK_DETAILS_REFUSED = "bank_details.refused"
    BANK_MESSAGE_REFUSED = "bank_message.refused"
    WEBHOOK_ENDPOINT_TEST = "webhook_endpoint.test"
    WEBHOOK_ENDPOINT_DISABLED = "webhook_endpoint.disabled"


# The shape of `data` for each prefix of a type; JSON schemas are generated from these.
DATA_MODELS: Final[Mapping[str, type[objects.PublicObject]]] = {
    "authorization": objects.Authorization,
    "session": objects.Session,
    "capture": objects.Capture,
    "refund": objects.Refund,
    "dispute": objects.Dispute,
    "plug_and_charge": objects.PlugAndChargeSettlement,
    "disbursement": objects.Disbursement,
    "payout": objects.PayoutHold,
    "bank_details": objects.BankDetails,
    "bank_message": objects.BankMessage,
    "webhook_endpoint": objects.WebhookEndpoint,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """One event for one party.

    `data` is the object as the API shows it (`objects.*.as_json()`), `object_id` its prefixed id, `lane` the
    lane of the session or, for objects without one, of the object's own id.
    """

    type: EventType
    party_id: str
    object_id: str
    data: Mapping[str, Any]
    lane: int

    def __post_init__(self) -> None:
        if not 0 <= self.lane < LANES:
            raise ValueError(f"lane {self.lane} is outside 0 to {LANES - 1}")


_INSERT: Final = """
INSERT INTO gateway.event (lane, id, party_id, type, object_id, data, created_at)
SELECT lane, id, party_id, type, object_id, data, $7
FROM unnest($1::smallint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::jsonb[])
  AS new (lane, id, party_id, type, object_id, data)
"""


async def record(connection: Connection, events: Sequence[NewEvent], *, now: datetime) -> None:
    """Insert events with the business time `now`, in the order given, in the caller's transaction.

    One statement for all of them. Raises ValueError when `now` is naive.
    """
    if now.tzinfo is None:
        raise ValueError("an event needs an aware time")
    if not events:
        return
    await connection.execute(
        _INSERT,
        [event.lane for event in events],
        [new_id(lane=event.lane) for event in events],
        [event.party_id for event in events],
        [event.type.value for event in events],
        [event.object_id for event in events],
        [dict(event.data) for event in events],
        now,
    )
