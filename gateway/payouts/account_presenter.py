"""The public connected account, and its event for the party concerned.

Owns: their mapping. Must not know: what follows from the account's state.
"""

from gateway.ids import shard_of
from gateway.payouts.account_state import ConnectedAccountRecord
from gateway.schemas.accounts import ConnectedAccountSchema
from gateway.webhooks.events import EventType, NewEvent


def account_object(record: ConnectedAccountRecord) -> ConnectedAccountSchema:
    """The public account."""
    return ConnectedAccountSchema(
        id=record.psp_account,
        party=record.party_id,
        payable=record.payable,
        transfers=record.transfers.value,
        payouts_enabled=record.payouts_enabled,
        details_submitted=record.details_submitted,
        country=record.country,
        currency=record.currency,
        disabled_reason=record.disabled_reason,
        requirements=list(record.requirements),
        requirements_due=record.requirements_due,
        version=record.version,
        created=record.created_at,
        updated=record.updated_at,
    )


def account_updated(record: ConnectedAccountRecord) -> NewEvent:
    """The PSP has said something new of the account."""
    shown = account_object(record)
    return NewEvent(
        type=EventType.CONNECTED_ACCOUNT_UPDATED,
        party_id=record.party_id,
        object_id=shown.id,
        data=shown.as_json(),
        shard=shard_of(record.id),
    )
