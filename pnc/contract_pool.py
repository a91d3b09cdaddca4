"""Contract pools: what a pool reports about a contract, and what follows for the contract stored here.

Owns the values of a pool's events and that one rule. Must not know the form in which a pool writes them,
storage, or how a report is proved to be the pool's.
Source: hubject/opcp, OPCP-1.0.0, docs/components/04_contract-certificate-pool.md and 06_webhook-service.md.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from pnc.contract import Contract, ContractState

LOOKED_UP: Final = "lookup"  # the name of an event that was made from a pool's answer
# A pool's clock may be ahead of ours by so much; what is dated later would stop every event after it.
CLOCK_TOLERANCE: Final = timedelta(minutes=10)


class PoolChange(StrEnum):
    """What a pool reports of a contract."""

    CONTRACT_STORED = "contract_stored"
    CONTRACT_DELETED = "contract_deleted"
    VEHICLE_KEY_REPLACED = "vehicle_key_replaced"
    VEHICLE_DELETED = "vehicle_deleted"
    VEHICLE_RESET = "vehicle_reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolEvent:
    """One event of a pool. `change` is None for a report that changes no contract.

    `emaid` is as the pool wrote it; `vehicle` is the vehicle's provisioning certificate id; `certificate` is
    the contract certificate in base64 of DER, or PEM; `occurred_at` is aware.
    """

    event_id: UUID
    name: str
    change: PoolChange | None
    emaid: str
    vehicle: str
    occurred_at: datetime
    certificate: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPosition:
    """The last event of a pool that was applied to a contract.

    `blocked_revision` is the contract's revision by which that event blocked it.
    """

    change: PoolChange
    vehicle: str
    occurred_at: datetime
    blocked_revision: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledCertificate:
    """One contract certificate that a pool holds under an eMAID: base64 of DER, with the hash of it in hex.

    `vehicle` is the vehicle's provisioning certificate id; `valid_from` is aware.
    """

    vehicle: str
    certificate: str
    sha256: str
    valid_from: datetime


class PoolAction(StrEnum):
    """What follows from an event."""

    NOTHING = "nothing"  # older than what was applied, or about no contract
    STORE = "store"
    STORE_AND_UNBLOCK = "store_and_unblock"
    BLOCK = "block"
    BLOCK_WITH_CERTIFICATES = "block_with_certificates"


class WaitReason(StrEnum):
    """Why an event waits for a person."""

    DATED_AHEAD = "dated_ahead"
    OTHER_VEHICLE = "other_vehicle"
    CONTRACT_CANCELLED = "contract_cancelled"
    CONTRACT_UNKNOWN = "contract_unknown"
    VEHICLE_WAS_RESET = "vehicle_was_reset"
    NOT_STORABLE = "not_storable"
    FAILED = "failed"  # a defect of this system


# The vehicle can't use its old certificates any more, or must not: its private key was replaced or given up.
_ENDS_CERTIFICATES: Final = frozenset(
    {PoolChange.VEHICLE_KEY_REPLACED, PoolChange.VEHICLE_DELETED, PoolChange.VEHICLE_RESET}
)


def next_action(
    event: PoolEvent,
    *,
    position: PoolPosition | None,
    contract: Contract | None,
    may_create: bool,
    now: datetime,
) -> PoolAction | WaitReason:
    """Return what follows from an event, or why it waits for a person.

    `contract` is the pool's party's own contract under the event's eMAID; `may_create` says whether the feed
    has a means of payment for a new one. An older event never overwrites a newer one; of two at the same
    moment the one that ends a contract counts.
    """
    stores = event.change is PoolChange.CONTRACT_STORED
    if event.change is None or is_superseded(event, position):
        return PoolAction.NOTHING
    if event.occurred_at > now + CLOCK_TOLERANCE:
        return WaitReason.DATED_AHEAD
    if stores:
        return _store(position, contract, may_create=may_create)
    if position is not None and position.vehicle != event.vehicle:
        return WaitReason.OTHER_VEHICLE
    if event.change in _ENDS_CERTIFICATES:
        return PoolAction.BLOCK_WITH_CERTIFICATES
    return PoolAction.BLOCK


def is_superseded(event: PoolEvent, position: PoolPosition | None) -> bool:
    """Whether an event is older than the last one that was applied to its contract."""
    if position is None:
        return False
    if event.occurred_at == position.occurred_at:
        return event.change in {PoolChange.CONTRACT_STORED, position.change}
    return event.occurred_at < position.occurred_at


def _store(
    position: PoolPosition | None, contract: Contract | None, *, may_create: bool
) -> PoolAction | WaitReason:
    was_reset = position is not None and position.change is PoolChange.VEHICLE_RESET
    if contract is None:
        if was_reset:
            return WaitReason.VEHICLE_WAS_RESET
        return PoolAction.STORE if may_create else WaitReason.CONTRACT_UNKNOWN
    match contract.state:
        case ContractState.CANCELLED:
            return WaitReason.CONTRACT_CANCELLED
        case ContractState.ACTIVE:
            return PoolAction.STORE
        case ContractState.BLOCKED:
            pass
    if was_reset:
        return WaitReason.VEHICLE_WAS_RESET
    # Whoever else has changed the contract since then has decided on it: a stolen car stays blocked.
    blocked_here = position is not None and position.blocked_revision == contract.revision
    return PoolAction.STORE_AND_UNBLOCK if blocked_here else PoolAction.STORE


def events_of_lookup(
    emaid: str,
    found: Sequence[PooledCertificate],
    *,
    feed_id: UUID,
    position: PoolPosition | None,
    registered: Collection[str],
) -> list[PoolEvent]:
    """Return what a pool's answer to a look-up reports, as the events that the pool would have sent.

    `found` is what it holds under the eMAID now; `registered` the hashes of the contract's certificates here.
    A certificate that is known is reported once, so that its end is noticed.
    An answer has no time of its own, and an event that was sent before it may arrive after it (a vehicle that
    was reset). So no event made here is later than what it reports: a certificate counts from its own start
    on, and a contract that is gone from the moment of the last event. The same answer is the same event.
    """
    if found:
        return [
            PoolEvent(
                event_id=uuid5(feed_id, f"{emaid} {one.sha256}"),
                name=LOOKED_UP,
                change=PoolChange.CONTRACT_STORED,
                emaid=emaid,
                vehicle=one.vehicle,
                occurred_at=one.valid_from,
                certificate=one.certificate,
            )
            for one in found
            if one.sha256 not in registered or position is None
        ]
    # A contract that the pool has never reported may be published elsewhere.
    if position is None or position.change is not PoolChange.CONTRACT_STORED:
        return []
    return [
        PoolEvent(
            event_id=uuid5(feed_id, f"{emaid} gone after {position.occurred_at.isoformat()}"),
            name=LOOKED_UP,
            change=PoolChange.CONTRACT_DELETED,
            emaid=emaid,
            vehicle=position.vehicle,
            occurred_at=position.occurred_at,
        )
    ]
