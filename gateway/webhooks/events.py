"""Events: what happened, written in the transaction in which it happened.

Owns the catalogue of types and the one shape in which events are written. Must not know deliveries, HTTP, or
why an object changed.

A row belongs to one party: each party that may see the object gets a row of its own. A statement that changes
an object inserts its `event_rows` itself; several statements are followed by `record`, inside their
transaction. Order is kept per object by the event's id, which is made after the change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from gateway.api_versions import NEWEST
from gateway.database import Connection
from gateway.ids import SHARD_COUNT, new_id
from gateway.schemas import accounts, api_schemas, exceptions, funding, payers
from gateway.schemas.bookings import BookingSchema
from gateway.schemas.party_checks import PartyCheckSchema
from gateway.schemas.plug_and_charge import ContractSchema, SettlementNoticeSchema
from gateway.schemas.recovery import PlatformRestoredSchema
from gateway.tracing import traceparent
from gateway.webhooks import repository

API_VERSION: Final = NEWEST


class EventType(StrEnum):
    """Every type a partner can subscribe to; types are added, never renamed."""

    AUTHORIZATION_AUTHORIZED = "authorization.authorized"
    AUTHORIZATION_REQUIRES_ACTION = "authorization.requires_action"
    AUTHORIZATION_FAILED = "authorization.failed"
    AUTHORIZATION_OUTCOME_UNKNOWN = "authorization.outcome_unknown"
    AUTHORIZATION_VOIDED = "authorization.voided"
    SETUP_SUCCEEDED = "setup.succeeded"
    SETUP_FAILED = "setup.failed"
    SETUP_CANCELLED = "setup.cancelled"
    PAYMENT_METHOD_UPDATED = "payment_method.updated"
    SESSION_COMPLETED = "session.completed"
    SESSION_USAGE_STATED = "session.usage_stated"
    SESSION_CLEARED = "session.cleared"
    SESSION_EXCEPTION = "session.exception"
    CAPTURE_SUCCEEDED = "capture.succeeded"
    CAPTURE_FAILED = "capture.failed"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"
    DISPUTE_INQUIRY = "dispute.inquiry"
    DISPUTE_OPENED = "dispute.opened"
    DISPUTE_UPDATED = "dispute.updated"
    DISPUTE_EVIDENCE_DUE = "dispute.evidence_due"
    DISPUTE_WON = "dispute.won"
    DISPUTE_LOST = "dispute.lost"
    DISPUTE_CLOSED = "dispute.closed"
    PLUG_AND_CHARGE_SETTLED = "plug_and_charge.settled"
    BOOKING_CHANGED = "booking.changed"
    CONTRACT_CREATED = "contract.created"
    CONTRACT_CHANGED = "contract.changed"
    CONTRACT_BLOCKED = "contract.blocked"
    CONTRACT_UNBLOCKED = "contract.unblocked"
    CONTRACT_CANCELLED = "contract.cancelled"
    CONTRACT_LIMIT_REACHED = "contract.limit_reached"
    CONTRACT_SUSPECTED = "contract.suspected"
    DISBURSEMENT_PLANNED = "disbursement.planned"
    DISBURSEMENT_PAID = "disbursement.paid"
    DISBURSEMENT_FAILED = "disbursement.failed"
    DISBURSEMENT_CANCELLED = "disbursement.cancelled"
    DISBURSEMENT_APPROVED = "disbursement.approved"
    DISBURSEMENT_RETURNED = "disbursement.returned"
    PAYOUT_HOLD_PLACED = "payout_hold.placed"
    PAYOUT_HOLD_LIFTED = "payout_hold.lifted"
    PARTY_CHECK_RECORDED = "party_check.recorded"
    CONNECTED_ACCOUNT_UPDATED = "connected_account.updated"
    BANK_DETAILS_SUBMITTED = "bank_details.submitted"
    BANK_DETAILS_APPROVED = "bank_details.approved"
    BANK_DETAILS_REJECTED = "bank_details.rejected"
    BANK_MESSAGE_REJECTED = "bank_message.rejected"
    TOPUP_ARRIVED = "top_up.arrived"
    TOPUP_FAILED = "top_up.failed"
    TOPUP_CANCELLED = "top_up.cancelled"
    TOPUP_REVERSED = "top_up.reversed"
    EXCEPTION_OPENED = "exception.opened"
    EXCEPTION_RESOLVED = "exception.resolved"
    PLATFORM_RESTORED = "platform.restored"
    WEBHOOK_ENDPOINT_TEST = "webhook_endpoint.test"
    WEBHOOK_ENDPOINT_FAILING = "webhook_endpoint.failing"
    WEBHOOK_ENDPOINT_DISABLED = "webhook_endpoint.disabled"


# The shape of `data` for each prefix of a type; JSON schemas are generated from these.
DATA_MODELS: Final[Mapping[str, type[api_schemas.PublicSchema]]] = {
    "authorization": api_schemas.AuthorizationSchema,
    "setup": payers.SetupSchema,
    "payment_method": payers.PaymentMethodSchema,
    "session": api_schemas.SessionSchema,
    "capture": api_schemas.CaptureSchema,
    "refund": api_schemas.RefundSchema,
    "dispute": api_schemas.DisputeSchema,
    "plug_and_charge": SettlementNoticeSchema,
    "booking": BookingSchema,
    "contract": ContractSchema,
    "disbursement": api_schemas.DisbursementSchema,
    "payout_hold": api_schemas.PayoutHoldSchema,
    "party_check": PartyCheckSchema,
    "connected_account": accounts.ConnectedAccountSchema,
    "bank_details": api_schemas.BankDetailsSchema,
    "bank_message": api_schemas.BankMessageSchema,
    "top_up": funding.TopupSchema,
    "exception": exceptions.ExceptionSchema,
    "platform": PlatformRestoredSchema,
    "webhook_endpoint": api_schemas.WebhookEndpointSchema,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """One event for one party.

    `data` is the object as the API shows it (a model of gateway/schemas/), `object_id` its prefixed id,
    `shard` the shard of the session or, for objects without one, of the object's own id.
    """

    type: EventType
    party_id: str
    object_id: str
    data: Mapping[str, Any]
    shard: int

    def __post_init__(self) -> None:
        if not 0 <= self.shard < SHARD_COUNT:
            raise ValueError(f"shard {self.shard} is outside 0 to {SHARD_COUNT - 1}")


def event_rows(events: Sequence[NewEvent]) -> list[dict[str, Any]]:
    """Events as the rows that a statement inserts together with what it changes, each under a new id.

    An object that goes to several parties is written once: the next rows name the one that has it.
    """
    cause = traceparent()
    rows: list[dict[str, Any]] = []
    holder: tuple[NewEvent, str] | None = None
    for event in events:
        name = str(new_id(shard=event.shard))
        known = holder[1] if holder is not None and _is_same_object(holder[0], event) else None
        if known is None:
            holder = (event, name)
        rows.append(
            {
                "shard": event.shard,
                "id": name,
                "party_id": event.party_id,
                "type": event.type.value,
                "object_id": event.object_id,
                "data": event.data if known is None else None,
                "data_of": known,
                "traceparent": cause,
            }
        )
    return rows


def _is_same_object(one: NewEvent, other: NewEvent) -> bool:
    return (
        one.object_id == other.object_id
        and one.type is other.type
        and one.shard == other.shard
        and one.data == other.data
    )


async def record(connection: Connection, events: Sequence[NewEvent], *, now: datetime) -> None:
    """Insert events with the business time `now`, in the order given, in the caller's transaction.

    One statement for all of them. Raises ValueError when `now` is naive.
    """
    if now.tzinfo is None:
        raise ValueError("an event needs an aware time")
    if events:
        await repository.add_events(connection, event_rows(events), now=now)
