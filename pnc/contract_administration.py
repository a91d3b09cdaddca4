"""Contract administration: contracts and their certificates, changed on the record.

Owns storing, blocking, cancelling and importing contracts, and the feed of their changes. Must not know HTTP
or who may call: the caller is authenticated, named in `actor`, and, where it is a partner, bound to its own
`party`.

Each call is one transaction on the given connection, or takes part in the one that is open.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from uuid_utils.compat import uuid7

from pnc import certificate_registry
from pnc.certificate_chain import ChainVerifier
from pnc.contract import ChangeCursor, Contract, ContractChange, ContractState, NewContract
from pnc.contract_certificates import verified_chain
from pnc.contract_lookup import resolve_emaid
from pnc.emaid import CheckDigit, Emaid, parse_emaid
from pnc.errors import (
    ConflictingRecordError,
    MalformedEmaidError,
    PncInvariantViolation,
    UnfitContractError,
    UnknownRecordError,
)
from pnc.ports import Connection, Executor
from pnc.provider_administration import check_provider
from pnc.repository import contracts as repository
from pnc.repository import trust

MAX_IMPORT_ROWS: Final = 10_000
_MAX_MINOR: Final = 2**63 - 1
_MAX_SESSIONS: Final = 1_000_000
_PARTY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_REFERENCE: Final = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractWriteResult:
    """A stored contract and the outcome: `created`, `changed` or `unchanged`."""

    contract: Contract
    outcome: str
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReport:
    """The outcome of one row of an import: `created`, `changed`, `unchanged`, or `rejected` and why."""

    row: int
    emaid: str
    outcome: str
    problem: str = ""
    warning: str = ""
    contract: Contract | None = None


async def put_contract(
    connection: Connection,
    contract: NewContract,
    *,
    environment: str,
    verifier: ChainVerifier,
    actor: str,
    reason: str = "",
    now: datetime,
) -> ContractWriteResult:
    """Store a contract, or bring the stored one up to date; the same content again changes nothing.

    An update keeps the state (a blocked contract stays blocked). New means of payment are usable, unless
    they were switched off (`set_payment_usable`).
    A cancelled contract is not revived: its party needs a new eMAID. `verifier` is the environment's
    (`PlugAndChargeService.trust_of`), used only when there is a `bundle`.

    Raises:
        UnfitContractError: a field is out of bounds, the bundle does not verify or is of another eMAID, or
            the eMAID's provider is registered for another party.
        ConflictingRecordError: the eMAID belongs to another party, or its contract is cancelled.
    """
    emaid = await resolve_emaid(connection, _check(contract), environment=environment)
    chain = None if contract.bundle is None else verified_chain(contract.bundle, emaid, verifier, now)
    async with connection.transaction():
        await trust.ensure_environment(connection, environment=environment)
        await check_provider(connection, emaid.body, environment=environment, party=contract.party)
        writer = _ContractWriter(connection=connection, actor=actor, reason=reason, now=now)
        stored = await _upsert(writer, contract, emaid=emaid.body, environment=environment)
        if chain is not None:
            await certificate_registry.register(
                connection,
                chain,
                environment=environment,
                emaid=emaid.body,
                source="imported",
                now=now,
            )
    warning = "the eMAID's check digit is wrong" if emaid.check is CheckDigit.WRONG else ""
    return replace(stored, warning=warning)


async def import_contracts(
    connection: Connection,
    contracts: Sequence[NewContract | UnfitContractError],
    *,
    environment: str,
    verifier: ChainVerifier,
    actor: str,
    now: datetime,
    only_party: str | None = None,
) -> list[RowReport]:
    """Store many contracts; each row is stored or rejected by itself, and reported.

    A row may be an UnfitContractError that reading it ended with: it is reported in its place. `only_party`
    binds a partner to its own contracts.

    Raises:
        UnfitContractError: more than 10,000 rows.
    """
    if len(contracts) > MAX_IMPORT_ROWS:
        raise UnfitContractError(path="$", problem=f"{len(contracts)} rows; at most {MAX_IMPORT_ROWS}")
    reports: list[RowReport] = []
    for place, item in enumerate(contracts):
        if isinstance(item, UnfitContractError):
            reports.append(RowReport(row=place, emaid="", outcome="rejected", problem=str(item)))
            continue
        try:
            _check_party(item, only_party)
            stored = await put_contract(
                connection,
                item,
                environment=environment,
                verifier=verifier,
                actor=actor,
                reason="import",
                now=now,
            )
        except (UnfitContractError, ConflictingRecordError) as problem:
            reports.append(RowReport(row=place, emaid=item.emaid, outcome="rejected", problem=str(problem)))
        else:
            reports.append(
                RowReport(
                    row=place,
                    emaid=stored.contract.emaid,
                    outcome=stored.outcome,
                    warning=stored.warning,
                    contract=stored.contract,
                )
            )
    return reports


async def set_state(
    connection: Connection,
    *,
    environment: str,
    emaid: str,
    state: ContractState,
    actor: str,
    reason: str,
    now: datetime,
    only_party: str | None = None,
) -> Contract:
    """Block, unblock (`active`) or cancel a contract; the state it has already changes nothing.

    Raises:
        UnfitContractError: `emaid` is no eMAID.
        UnknownRecordError: there is no such contract (of that party).
        ConflictingRecordError: it is cancelled, which is final; or the party unblocks what somebody else
            blocked.
    """
    async with connection.transaction():
        body = await stored_emaid(connection, environment=environment, emaid=emaid)
        known = await repository.lock_contract(connection, environment=environment, emaid=body)
        if known is None or (only_party is not None and known.party != only_party):
            raise UnknownRecordError(f"no contract {emaid} in {environment}")
        if known.state is state and not await _is_blocked_over(connection, known, only_party):
            return known
        if known.state is ContractState.CANCELLED:
            raise ConflictingRecordError(f"the contract {known.emaid} is cancelled")
        if only_party is not None and known.state is ContractState.BLOCKED:
            await _check_block(connection, known, only_party)
        kind = {
            ContractState.ACTIVE: "unblocked",
            ContractState.BLOCKED: "blocked",
            ContractState.CANCELLED: "cancelled",
        }[state]
        writer = _ContractWriter(connection=connection, actor=actor, reason=reason, now=now)
        return await _update(writer, replace(known, state=state), kind)


async def stored_emaid(executor: Executor, *, environment: str, emaid: str) -> str:
    """Return the 14-character body under which a contract is stored, or would be.

    Raises:
        UnfitContractError: `emaid` is no eMAID.
        ConflictingRecordError: a DIN eMAID that names two contracts.
    """
    return (await resolve_emaid(executor, _emaid(emaid), environment=environment)).body


async def _is_blocked_over(connection: Connection, contract: Contract, party: str | None) -> bool:
    """Whether the platform blocks what a party blocked itself: from then on only the platform unblocks it."""
    if contract.state is not ContractState.BLOCKED or party is not None:
        return False
    return await _blocked_by(connection, contract) == contract.party


async def _blocked_by(connection: Connection, contract: Contract) -> str | None:
    """Who set a contract's block."""
    changes = await repository.list_changes_of_contract(
        connection, environment=contract.environment, emaid=contract.emaid
    )
    return next((change["actor"] for change in reversed(changes) if change["kind"] == "blocked"), None)


async def _check_block(connection: Connection, contract: Contract, party: str) -> None:
    """Check that a party set the block that it is about to end. Raises ConflictingRecordError."""
    if await _blocked_by(connection, contract) not in {None, party}:
        raise ConflictingRecordError("the platform blocked this contract, and only the platform unblocks it")


async def load_contract(
    executor: Executor, *, environment: str, emaid: str, only_party: str | None = None
) -> Contract:
    """Return a contract, of one party when given.

    Raises:
        UnfitContractError: `emaid` is no eMAID.
        UnknownRecordError: there is no such contract (of that party).
    """
    body = await stored_emaid(executor, environment=environment, emaid=emaid)
    known = await repository.load_contract(executor, environment=environment, emaid=body)
    if known is None or (only_party is not None and known.party != only_party):
        raise UnknownRecordError(f"no contract {emaid} in {environment}")
    return known


async def set_payment_usable(
    connection: Connection,
    *,
    environment: str,
    emaid: str,
    usable: bool,
    actor: str,
    reason: str,
    now: datetime,
) -> Contract:
    """Record that a contract's means of payment is gone or usable again; returns the contract.

    Every contract of the environment that pays with the same means changes with it, but for cancelled ones.

    Raises:
        UnfitContractError: `emaid` is no eMAID.
        UnknownRecordError: there is no such contract.
        ConflictingRecordError: it is cancelled, or its means of payment was changed at the same time.
    """
    writer = _ContractWriter(connection=connection, actor=actor, reason=reason, now=now)
    body = await stored_emaid(connection, environment=environment, emaid=emaid)
    async with connection.transaction():
        contract = await repository.load_contract(connection, environment=environment, emaid=body)
        if contract is None:
            raise UnknownRecordError(f"no contract {emaid} in {environment}")
        if contract.state is not ContractState.CANCELLED:
            await repository.set_payment_disabled(
                connection,
                environment=environment,
                payment_kind=contract.payment_kind,
                payment_reference=contract.payment_reference,
                disabled=not usable,
                now=now,
            )
        changed: Contract | None = None
        for stored in await repository.lock_contracts_of_payment(
            connection,
            environment=environment,
            payment_kind=contract.payment_kind,
            payment_reference=contract.payment_reference,
        ):
            current = stored
            if stored.payment_usable is not usable and stored.state is not ContractState.CANCELLED:
                kind = "payment_usable" if usable else "payment_unusable"
                current = await _update(writer, replace(stored, payment_usable=usable), kind)
            if stored.emaid == body:
                changed = current
        if changed is None:
            raise ConflictingRecordError(f"the payment of the contract {body} was just changed; try again")
        if changed.state is ContractState.CANCELLED:
            raise ConflictingRecordError(f"the contract {body} is cancelled")
    return changed


async def list_contracts(
    executor: Executor, *, environment: str, party: str | None = None, after: str = "", limit: int = 100
) -> list[Contract]:
    """Contracts in the order of their eMAIDs, after one; of one party when given."""
    return await repository.list_contracts(
        executor, environment=environment, party=party, after=after, limit=limit
    )


async def list_changes(
    executor: Executor,
    *,
    environment: str,
    after: ChangeCursor,
    party: str | None = None,
    limit: int = 100,
) -> list[ContractChange]:
    """The changes after a cursor, of one party when given; none is ever skipped.

    Writers may commit in any order: a change is listed once no older transaction runs, mostly at once.
    """
    return await repository.list_changes(
        executor, environment=environment, after=after, party=party, limit=limit
    )


async def load_history(executor: Executor, *, environment: str, emaid: str) -> list[Mapping[str, Any]]:
    """Every change of one contract, oldest first: kind, revision, actor, reason, at."""
    body = await stored_emaid(executor, environment=environment, emaid=emaid)
    return await repository.list_changes_of_contract(executor, environment=environment, emaid=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ContractWriter:
    """Who writes, why and when, on which connection."""

    connection: Connection
    actor: str
    reason: str
    now: datetime


async def _upsert(
    writer: _ContractWriter, contract: NewContract, *, emaid: str, environment: str
) -> ContractWriteResult:
    disabled = await repository.is_payment_disabled(
        writer.connection,
        environment=environment,
        payment_kind=contract.payment_kind,
        payment_reference=contract.payment_reference,
    )
    created = await repository.insert_contract(
        writer.connection,
        contract,
        environment=environment,
        emaid=emaid,
        contract_id=UUID(int=uuid7().int),
        payment_usable=not disabled,
        now=writer.now,
    )
    if created is not None:
        await _record_change(writer, created, "created")
        return ContractWriteResult(contract=created, outcome="created")
    known = await repository.lock_contract(writer.connection, environment=environment, emaid=emaid)
    if known is None:
        raise PncInvariantViolation("a contract neither exists nor can be stored")
    if known.party != contract.party:
        raise ConflictingRecordError(f"the contract {emaid} belongs to another party")
    if known.state is ContractState.CANCELLED:
        raise ConflictingRecordError(f"the contract {emaid} is cancelled; issue a new eMAID")
    wanted = replace(
        known,
        payment_kind=contract.payment_kind,
        payment_reference=contract.payment_reference,
        payment_usable=not disabled,
        valid_from=contract.valid_from,
        valid_until=contract.valid_until,
        limit_minor=contract.limit_minor,
        currency=contract.currency,
        sessions_at_once=contract.sessions_at_once,
        sessions_per_day=contract.sessions_per_day,
        offline_limit_minor=contract.offline_limit_minor,
        amount_per_day_minor=contract.amount_per_day_minor,
        on_suspicion=contract.on_suspicion,
    )
    if wanted == known:
        return ContractWriteResult(contract=known, outcome="unchanged")
    updated = await _update(writer, wanted, "changed")
    return ContractWriteResult(contract=updated, outcome="changed")


async def _update(writer: _ContractWriter, contract: Contract, kind: str) -> Contract:
    updated = await repository.update_contract(writer.connection, contract, now=writer.now)
    if updated is None:
        raise PncInvariantViolation(f"the contract {contract.contract_id} vanished under its lock")
    await _record_change(writer, updated, kind)
    return updated


async def _record_change(writer: _ContractWriter, contract: Contract, kind: str) -> None:
    await repository.insert_change(
        writer.connection, contract, kind=kind, actor=writer.actor, reason=writer.reason, now=writer.now
    )


def _check(contract: NewContract) -> Emaid:
    emaid = _emaid(contract.emaid)
    if _PARTY.fullmatch(contract.party) is None:
        raise UnfitContractError(path="party", problem="expected the slug of a party")
    if _REFERENCE.fullmatch(contract.payment_reference) is None:
        raise UnfitContractError(
            path="payment_reference", problem="expected 1 to 255 visible ASCII characters"
        )
    for path, moment in (("valid_from", contract.valid_from), ("valid_until", contract.valid_until)):
        if moment is not None and moment.tzinfo is None:
            raise UnfitContractError(path=path, problem="expected a time with an offset")
    if contract.valid_until is not None and contract.valid_until <= contract.valid_from:
        raise UnfitContractError(path="valid_until", problem="not after valid_from")
    amounts = {"limit_minor": contract.limit_minor, "amount_per_day_minor": contract.amount_per_day_minor}
    if (set(amounts.values()) == {None}) != (contract.currency is None):
        raise UnfitContractError(
            path="limit_minor", problem="a limit needs a currency, and a currency a limit"
        )
    for path, amount in amounts.items():
        if amount is not None and not 0 < amount <= _MAX_MINOR:
            raise UnfitContractError(path=path, problem="expected a positive number of minor units")
    if contract.offline_limit_minor is not None and not 0 <= contract.offline_limit_minor <= _MAX_MINOR:
        raise UnfitContractError(path="offline_limit_minor", problem="expected a number of minor units")
    limits = {
        "sessions_at_once": contract.sessions_at_once,
        "sessions_per_day": contract.sessions_per_day,
    }
    for path, most in limits.items():
        if most is not None and not 0 < most <= _MAX_SESSIONS:
            raise UnfitContractError(path=path, problem=f"expected 1 to {_MAX_SESSIONS}")
    if contract.currency is not None and re.fullmatch(r"[A-Z]{3}", contract.currency) is None:
        raise UnfitContractError(path="currency", problem="expected an ISO 4217 code such as EUR")
    return emaid


def _check_party(contract: NewContract, only_party: str | None) -> None:
    if only_party is not None and contract.party != only_party:
        raise UnfitContractError(path="party", problem=f"may only be {only_party}")


def _emaid(text: str) -> Emaid:
    try:
        return parse_emaid(text)
    except MalformedEmaidError as problem:
        raise UnfitContractError(path="emaid", problem=str(problem)) from None
