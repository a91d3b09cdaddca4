"""The contract desk: contracts and their certificates, changed on the record.

Owns storing, blocking, cancelling and importing contracts, and the feed of their changes. Must not know HTTP
or who may call: the caller is authenticated, named in `actor`, and, where it is a partner, bound to its own
`party`.

Each call is one transaction on the connection handed in, or takes part in the one it has open.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from uuid_utils.compat import uuid7

from pnc import registry
from pnc.authorization import Contract, ContractState, PaymentKind
from pnc.chain import ChainVerifier, ValidChain
from pnc.emaid import CheckDigit, Emaid, parse_emaid
from pnc.errors import (
    ConflictingRecordError,
    InvariantViolation,
    MalformedEmaidError,
    UnfitContractError,
    UnknownRecordError,
)
from pnc.ports import Connection, Executor
from pnc.profile import contract_emaid
from pnc.store import contract_of, load_queries

_SQL: Any = load_queries("contracts")
_TRUST: Any = load_queries("trust")
MAX_IMPORT_ROWS: Final = 10_000
_MAX_MINOR: Final = 2**63 - 1
_PARTY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_REFERENCE: Final = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContract:
    """A contract to be stored.

    `bundle` is its certificate's chain in PEM, leaf first, to be registered with it. `payment_reference` is
    opaque here: a mandate at the PSP or a partner's account. `limit_minor` caps one session, in minor units
    of `currency`. Times are aware; `valid_until` is exclusive.
    """

    emaid: str
    party: str
    payment_kind: PaymentKind
    payment_reference: str
    valid_from: datetime
    valid_until: datetime | None = None
    limit_minor: int | None = None
    currency: str | None = None
    bundle: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A stored contract and what became of it: `created`, `changed` or `unchanged`."""

    contract: Contract
    outcome: str
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReport:
    """What became of one row of an import: `created`, `changed`, `unchanged`, or `refused` and why."""

    row: int
    emaid: str
    outcome: str
    problem: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place in the feed of contract changes; the zero cursor is its beginning."""

    transaction: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractChange:
    """One change of a contract, as told to others: it names no means of payment."""

    cursor: Cursor
    emaid: str
    contract_id: UUID
    party: str
    kind: str
    revision: int
    actor: str
    reason: str
    at: datetime


async def put_contract(
    connection: Connection, contract: NewContract, *, environment: str, verifier: ChainVerifier, actor: str,
    reason: str = "", now: datetime,
) -> Stored:  # fmt: skip
    """Store a contract, or bring the stored one up to date; the same content again changes nothing.

    An update keeps the state (a blocked contract stays blocked) and takes the new means of payment as usable.
    A cancelled contract is not revived: its eMAID is spent for its party. Hand in the verifier of the
    environment (`PlugAndChargeService.trust_of`); it is used only when there is a `bundle`.

    Raises:
        UnfitContractError: a field can't be taken, or the bundle does not verify or is of another eMAID.
        ConflictingRecordError: the eMAID belongs to another party, or its contract is cancelled.
    """
    emaid = _check(contract)
    chain = None if contract.bundle is None else _verified(contract.bundle, emaid, verifier, now)
    async with connection.transaction():
        await _TRUST.ensure_environment(connection, environment=environment)
        hand = _Hand(connection=connection, actor=actor, reason=reason, now=now)
        stored = await _upsert(hand, contract, emaid=emaid.body, environment=environment)
        if chain is not None:
            await registry.register(connection, chain, environment=environment, source="imported", now=now)
    warning = "the eMAID's check digit is wrong" if emaid.check is CheckDigit.WRONG else ""
    return replace(stored, warning=warning)


async def import_contracts(
    connection: Connection, contracts: Sequence[NewContract | UnfitContractError], *, environment: str,
    verifier: ChainVerifier, actor: str, now: datetime, only_party: str | None = None,
) -> list[RowReport]:  # fmt: skip
    """Store many contracts; each row stands or falls alone and is reported.

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
            reports.append(RowReport(row=place, emaid="", outcome="refused", problem=str(item)))
            continue
        try:
            _check_party(item, only_party)
            stored = await put_contract(
                connection, item, environment=environment, verifier=verifier, actor=actor, reason="import",
                now=now,
            )  # fmt: skip
        except (UnfitContractError, ConflictingRecordError) as problem:
            reports.append(RowReport(row=place, emaid=item.emaid, outcome="refused", problem=str(problem)))
        else:
            reports.append(
                RowReport(
                    row=place, emaid=stored.contract.emaid, outcome=stored.outcome, warning=stored.warning
                )
            )
    return reports


async def set_state(
    connection: Connection, *, environment: str, emaid: str, state: ContractState, actor: str, reason: str,
    now: datetime, only_party: str | None = None,
) -> Contract:  # fmt: skip
    """Block, unblock (`active`) or cancel a contract; the state it has already changes nothing.

    Raises:
        UnfitContractError: `emaid` is no eMAID.
        UnknownRecordError: there is no such contract (of that party).
        ConflictingRecordError: it is cancelled, which is for ever.
    """
    async with connection.transaction():
        row = await _SQL.lock_contract(connection, environment=environment, emaid=_emaid(emaid).body)
        if row is None or (only_party is not None and row["party"] != only_party):
            raise UnknownRecordError(f"no contract {emaid} in {environment}")
        known = contract_of(row)
        if known.state is state:
            return known
        if known.state is ContractState.CANCELLED:
            raise ConflictingRecordError(f"the contract {known.emaid} is cancelled")
        kind = {
            ContractState.ACTIVE: "unblocked",
            ContractState.BLOCKED: "blocked",
            ContractState.CANCELLED: "cancelled",
        }[state]
        hand = _Hand(connection=connection, actor=actor, reason=reason, now=now)
        return await _update(hand, replace(known, state=state), kind)


async def set_payment_usable(
    connection: Connection, *, payment_kind: PaymentKind, payment_reference: str, usable: bool, actor: str,
    reason: str, now: datetime,
) -> list[Contract]:  # fmt: skip
    """Note that a means of payment is gone, or back, for all contracts that pay with it."""
    changed: list[Contract] = []
    hand = _Hand(connection=connection, actor=actor, reason=reason, now=now)
    async with connection.transaction():
        rows = _SQL.contracts_of_payment(
            connection, payment_kind=payment_kind.value, payment_reference=payment_reference
        )
        for known in [contract_of(row) async for row in rows]:
            if known.payment_usable is usable or known.state is ContractState.CANCELLED:
                continue
            kind = "payment_back" if usable else "payment_gone"
            updated = replace(known, payment_usable=usable)
            changed.append(await _update(hand, updated, kind))
    return changed


async def list_contracts(
    executor: Executor, *, environment: str, party: str | None = None, after: str = "", limit: int = 100
) -> list[Contract]:
    """Contracts in the order of their eMAIDs, after one; of one party when given."""
    rows = _SQL.list_contracts(executor, environment=environment, party=party, after=after, limit=limit)
    return [contract_of(row) async for row in rows]


async def changes(
    executor: Executor, *, environment: str, after: Cursor, party: str | None = None, limit: int = 100
) -> list[ContractChange]:
    """The changes after a cursor, of one party when given; none is ever skipped.

    Whatever order writers commit in, a change shows up once no older writer is still at work: mostly at once.
    """
    rows = _SQL.changes_after(
        executor, environment=environment, party=party, after_transaction=str(after.transaction),
        after_sequence=after.sequence, limit=limit,
    )  # fmt: skip
    return [
        ContractChange(
            cursor=Cursor(transaction=int(row["written_by"]), sequence=row["sequence"]),
            emaid=row["emaid"],
            contract_id=row["contract_id"],
            party=row["party"],
            kind=row["kind"],
            revision=row["revision"],
            actor=row["actor"],
            reason=row["reason"],
            at=row["at"],
        )
        async for row in rows
    ]


async def history(executor: Executor, *, environment: str, emaid: str) -> list[dict[str, Any]]:
    """Every change of one contract, oldest first: kind, revision, actor, reason, at."""
    rows = _SQL.history_of_contract(executor, environment=environment, emaid=_emaid(emaid).body)
    return [dict(row) async for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hand:
    """Who writes, why and when, on which connection."""

    connection: Connection
    actor: str
    reason: str
    now: datetime


async def _upsert(hand: _Hand, contract: NewContract, *, emaid: str, environment: str) -> Stored:
    row = await _SQL.insert_contract(
        hand.connection,
        environment=environment,
        emaid=emaid,
        contract_id=UUID(int=uuid7().int),
        party=contract.party,
        payment_kind=contract.payment_kind.value,
        payment_reference=contract.payment_reference,
        state=ContractState.ACTIVE.value,
        valid_from=contract.valid_from,
        valid_until=contract.valid_until,
        limit_minor=contract.limit_minor,
        currency=contract.currency,
        now=hand.now,
    )
    if row is not None:
        created = contract_of(row)
        await _note(hand, created, "created")
        return Stored(contract=created, outcome="created")
    known = contract_of(await _SQL.lock_contract(hand.connection, environment=environment, emaid=emaid))
    if known.party != contract.party:
        raise ConflictingRecordError(f"the contract {emaid} belongs to another party")
    if known.state is ContractState.CANCELLED:
        raise ConflictingRecordError(f"the contract {emaid} is cancelled; issue a new eMAID")
    same_means = (known.payment_kind, known.payment_reference) == (
        contract.payment_kind, contract.payment_reference,
    )  # fmt: skip
    wanted = replace(
        known,
        payment_kind=contract.payment_kind,
        payment_reference=contract.payment_reference,
        payment_usable=known.payment_usable if same_means else True,
        valid_from=contract.valid_from,
        valid_until=contract.valid_until,
        limit_minor=contract.limit_minor,
        currency=contract.currency,
    )
    if wanted == known:
        return Stored(contract=known, outcome="unchanged")
    updated = await _update(hand, wanted, "changed")
    return Stored(contract=updated, outcome="changed")


async def _update(hand: _Hand, contract: Contract, kind: str) -> Contract:
    row = await _SQL.update_contract(
        hand.connection,
        environment=contract.environment,
        emaid=contract.emaid,
        payment_kind=contract.payment_kind.value,
        payment_reference=contract.payment_reference,
        payment_usable=contract.payment_usable,
        state=contract.state.value,
        valid_from=contract.valid_from,
        valid_until=contract.valid_until,
        limit_minor=contract.limit_minor,
        currency=contract.currency,
        now=hand.now,
    )
    if row is None:
        raise InvariantViolation(f"the contract {contract.emaid} vanished under its lock")
    updated = contract_of(row)
    await _note(hand, updated, kind)
    return updated


async def _note(hand: _Hand, contract: Contract, kind: str) -> None:
    await _SQL.insert_change(
        hand.connection,
        environment=contract.environment,
        emaid=contract.emaid,
        contract_id=contract.contract_id,
        party=contract.party,
        kind=kind,
        revision=contract.revision,
        actor=hand.actor,
        reason=hand.reason,
        at=hand.now,
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
    if (contract.limit_minor is None) != (contract.currency is None):
        raise UnfitContractError(
            path="limit_minor", problem="a limit needs a currency, and a currency a limit"
        )
    if contract.limit_minor is not None and not 0 < contract.limit_minor <= _MAX_MINOR:
        raise UnfitContractError(path="limit_minor", problem="expected a positive number of minor units")
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


def _verified(bundle: str, emaid: Emaid, verifier: ChainVerifier, now: datetime) -> ValidChain:
    chain = verifier.verify(bundle, now=now)
    if not isinstance(chain, ValidChain):
        raise UnfitContractError(path="bundle", problem=f"{chain.finding.value}: {chain.detail}")
    if contract_emaid(chain.leaf).body != emaid.body:
        raise UnfitContractError(path="bundle", problem="the certificate is of another eMAID")
    return chain
