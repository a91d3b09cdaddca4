"""Changes of contracts as webhooks carry them: the event of each change, and a contract's public form.

Owns: which change is which event, and that it is written in the transaction of the change. Must not know: who
changed the contract, HTTP.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from gateway.database import Connection
from gateway.ids import format_id, shard_of
from gateway.schemas.plug_and_charge import ContractSchema
from gateway.webhooks import events
from gateway.webhooks.events import EventType, NewEvent
from pnc.contract import Contract, ContractState, PaymentKind

EVENT_OF_OUTCOME: Final[Mapping[str, EventType]] = {
    "created": EventType.CONTRACT_CREATED,
    "changed": EventType.CONTRACT_CHANGED,
}
EVENT_OF_STATE: Final = {
    ContractState.ACTIVE: EventType.CONTRACT_UNBLOCKED,
    ContractState.BLOCKED: EventType.CONTRACT_BLOCKED,
    ContractState.CANCELLED: EventType.CONTRACT_CANCELLED,
}


async def publish_changes(
    connection: Connection, changed: Sequence[tuple[EventType, Contract]], *, now: datetime
) -> None:
    """Write each change's event for the contract's party."""
    written = [
        NewEvent(
            type=kind,
            party_id=contract.party,
            object_id=public_contract_id(contract.contract_id),
            data=contract_object(contract).as_json(),
            shard=shard_of(contract.contract_id),
        )
        for kind, contract in changed
    ]
    await events.record(connection, written, now=now)


def public_contract_id(contract_id: UUID) -> str:
    """The pseudonym under which a contract's events are ordered."""
    return format_id("con", contract_id)


def contract_object(contract: Contract, *, warning: str | None = None) -> ContractSchema:
    """A contract as the API and its events show it: never with its means of payment."""
    on_account = contract.payment_kind is PaymentKind.PARTNER_ACCOUNT
    return ContractSchema(
        emaid=contract.emaid,
        environment=contract.environment,
        party=contract.party,
        payment_type="partner_account" if on_account else "psp_payment_method",
        payment_usable=contract.payment_usable,
        state=contract.state.value,
        limit=contract.limit_minor,
        sessions_at_once=contract.sessions_at_once,
        sessions_per_day=contract.sessions_per_day,
        offline_limit=contract.offline_limit_minor,
        amount_per_day=contract.amount_per_day_minor,
        on_suspicion=contract.on_suspicion.value,
        currency=contract.currency,
        valid_from=contract.valid_from,
        valid_to=contract.valid_until,
        revision=contract.revision,
        warning=warning,
    )
