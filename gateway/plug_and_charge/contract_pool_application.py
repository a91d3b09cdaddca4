"""Applying one event of a contract pool to the contract of its party.

Owns: the changes that an action of pnc.contract_pool stands for, on the caller's transaction, with their
webhooks. Must not know: how an event arrived, or who resolves one that waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from gateway.database import Connection
from gateway.plug_and_charge import contract_pool_repository as repository
from gateway.plug_and_charge.contract_changes import EVENT_OF_OUTCOME, EVENT_OF_STATE, publish_changes
from gateway.plug_and_charge.contract_pool_repository import PoolFeedRecord
from pnc import certificate_registry, contract_administration, contract_certificates
from pnc.certificate_chain import ChainVerifier, ValidChain
from pnc.contract import Contract, ContractState, NewContract, PaymentKind
from pnc.contract_pool import PoolAction, PoolEvent, PoolPosition, WaitReason, next_action
from pnc.emaid import parse_emaid
from pnc.errors import (
    ConflictingRecordError,
    MalformedEmaidError,
    UnfitContractError,
    UnknownRecordError,
)

ON_ACCOUNT: Final = "partner_account"
_HIDDEN: Final = "(eMAID)"
_DETAIL: Final[Mapping[WaitReason, str]] = {
    WaitReason.DATED_AHEAD: "the event is dated in the future; check the pool's clock",
    WaitReason.OTHER_VEHICLE: "the pool last reported the contract for another vehicle",
    WaitReason.CONTRACT_CANCELLED: "the contract is cancelled, which is final; it needs a new eMAID",
    WaitReason.CONTRACT_UNKNOWN: "no contract is stored under this eMAID; store it with its means of payment",
    WaitReason.VEHICLE_WAS_RESET: "the vehicle was reset or sold, and the contract blocked for it; "
    "if it goes on, unblock it first",
}
Outcome = tuple[str, str, str]  # the event's state, the code of why it waits, the same in words


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """The contract that an event is about, and what is needed to change it."""

    connection: Connection
    feed: PoolFeedRecord
    event: PoolEvent
    environment: str
    emaid: str
    contract: Contract | None
    position: PoolPosition | None
    verifier: ChainVerifier
    now: datetime

    @property
    def reason(self) -> str:
        """The reason that the contract's history shows."""
        return f"contract pool: {self.event.name}"


async def apply_event(
    connection: Connection,
    feed: PoolFeedRecord,
    event: PoolEvent,
    *,
    verifier: ChainVerifier,
    environment: str,
    now: datetime,
) -> Outcome:
    """Apply an event in the caller's transaction; nothing is changed by one that waits."""
    if event.change is None:
        return "ignored", "", "it changes no contract"
    try:
        async with connection.transaction():
            return await _apply(connection, feed, event, verifier=verifier, environment=environment, now=now)
    except (UnfitContractError, ConflictingRecordError, UnknownRecordError) as problem:
        return "waiting", WaitReason.NOT_STORABLE.value, _without_emaid(str(problem), event.emaid)


async def _apply(
    connection: Connection,
    feed: PoolFeedRecord,
    event: PoolEvent,
    *,
    verifier: ChainVerifier,
    environment: str,
    now: datetime,
) -> Outcome:
    emaid = await contract_administration.stored_emaid(connection, environment=environment, emaid=event.emaid)
    position = await repository.lock_position(connection, feed_id=feed.id, emaid=emaid)
    contract = await _own_contract(connection, feed, environment=environment, emaid=emaid)
    target = _Target(
        connection=connection,
        feed=feed,
        event=event,
        environment=environment,
        emaid=emaid,
        contract=contract,
        position=position,
        verifier=verifier,
        now=now,
    )
    action = next_action(
        event,
        position=position,
        contract=contract,
        may_create=feed.new_contracts == ON_ACCOUNT,
        now=now,
    )
    if isinstance(action, WaitReason):
        return "waiting", action.value, _DETAIL[action]
    if action is PoolAction.NOTHING:
        return "superseded", "", "a later event of the contract was applied already"
    blocked_revision = await _carry_out(target, action)
    if event.change is not None:
        applied = PoolPosition(
            change=event.change,
            vehicle=event.vehicle,
            occurred_at=event.occurred_at,
            blocked_revision=blocked_revision,
        )
        await repository.put_position(connection, applied, feed_id=feed.id, emaid=emaid)
    return "applied", "", ""


async def _own_contract(
    connection: Connection, feed: PoolFeedRecord, *, environment: str, emaid: str
) -> Contract | None:
    try:
        return await contract_administration.load_contract(
            connection, environment=environment, emaid=emaid, only_party=feed.party_id
        )
    except UnknownRecordError:
        return None


async def _carry_out(target: _Target, action: PoolAction) -> int | None:
    """Change the contract; returns the revision by which it was blocked."""
    match action:
        case PoolAction.STORE:
            await _store(target)
            return None
        case PoolAction.STORE_AND_UNBLOCK:
            await _store(target)
            await _set_state(target, ContractState.ACTIVE)
            return None
        case PoolAction.BLOCK:
            return await _block(target)
        case PoolAction.BLOCK_WITH_CERTIFICATES:
            await _block_certificates(target)
            return await _block(target)
        case PoolAction.NOTHING:
            return None
    assert_never(action)


async def _store(target: _Target) -> None:
    """Register the event's certificate; a contract that is not stored yet is created on the account."""
    event, connection = target.event, target.connection
    if not event.certificate:
        if target.contract is None:
            raise UnfitContractError(path="bundle", problem="a new contract needs its certificate")
        return
    chain = _chain(target, event.certificate)
    if target.contract is None:
        await _create(target, chain)
    await contract_certificates.check_not_blocked(
        connection, chain, environment=target.environment, emaid=target.emaid
    )
    await certificate_registry.register(
        connection,
        chain,
        environment=target.environment,
        emaid=target.emaid,
        source="imported",
        now=target.now,
    )


def _chain(target: _Target, certificate: str) -> ValidChain:
    return contract_certificates.verified_with_authorities(
        certificate, target.feed.authorities, parse_emaid(target.emaid), target.verifier, target.now
    )


async def _create(target: _Target, chain: ValidChain) -> None:
    """Store the contract on the party's funded account, for one session at once as a vehicle has."""
    stored = await contract_administration.put_contract(
        target.connection,
        NewContract(
            emaid=target.emaid,
            party=target.feed.party_id,
            payment_kind=PaymentKind.PARTNER_ACCOUNT,
            payment_reference=target.feed.party_id,
            valid_from=chain.leaf.not_before,
            sessions_at_once=1,
        ),
        environment=target.environment,
        verifier=target.verifier,
        actor=target.feed.party_id,
        reason=target.reason,
        now=target.now,
    )
    await publish_changes(
        target.connection, [(EVENT_OF_OUTCOME[stored.outcome], stored.contract)], now=target.now
    )


async def _block_certificates(target: _Target) -> None:
    if target.contract is None:
        return
    await contract_certificates.block_all(
        target.connection,
        environment=target.environment,
        emaid=target.emaid,
        reason=target.reason,
        now=target.now,
    )


async def _block(target: _Target) -> int | None:
    """Block the contract if it is active; returns the revision by which this feed blocked it."""
    contract, position = target.contract, target.position
    if contract is None or contract.state is ContractState.CANCELLED:
        return None
    if contract.state is ContractState.ACTIVE:
        return (await _set_state(target, ContractState.BLOCKED)).revision
    before = None if position is None else position.blocked_revision
    return before if before == contract.revision else None


async def _set_state(target: _Target, state: ContractState) -> Contract:
    contract = await contract_administration.set_state(
        target.connection,
        environment=target.environment,
        emaid=target.emaid,
        state=state,
        actor=target.feed.party_id,
        reason=target.reason,
        now=target.now,
        only_party=target.feed.party_id,
    )
    await publish_changes(target.connection, [(EVENT_OF_STATE[state], contract)], now=target.now)
    return contract


def _without_emaid(text: str, emaid: str) -> str:
    """A sentence for lists and logs: eMAIDs are personal data."""
    try:
        bodies = parse_emaid(emaid).bodies
    except MalformedEmaidError:
        return "the eMAID can't be read"
    for body in (emaid, *bodies):
        text = text.replace(body, _HIDDEN)
    return text
