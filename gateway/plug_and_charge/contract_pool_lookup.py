"""Contract pools that are asked: each contract of a feed's party, in rounds, as a pool's events get lost.

Owns: the order of a round, where it goes on after a failure, and that what a pool answers becomes an event
as if the pool had sent it. Must not know: HTTP, the form in which a pool answers (a
`ContractPoolDirectory` reads it), what follows from an event (pnc.contract_pool).

A protocol that publishes no list of its contracts tells nothing of contracts that are not stored here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.plug_and_charge import contract_pool_lookup_repository as repository
from gateway.plug_and_charge import contract_pool_repository as events_repository
from gateway.plug_and_charge.contract_pool_lookup_repository import PoolLookupRecord
from gateway.plug_and_charge.contract_pool_service import ContractPoolService
from gateway.webhooks.secret_cipher import SecretCipher
from pnc import certificate_registry, contract_administration
from pnc.contract import Contract, ContractState
from pnc.contract_pool import PooledCertificate, PoolEvent, events_of_lookup
from pnc.contract_pool_directory import ContractPoolDirectory, PoolAccess
from pnc.errors import PoolNotAnsweringError

_log = structlog.get_logger(__name__)
_AT_ONCE: Final = 20
_LEASE: Final = timedelta(minutes=5)
BETWEEN_ROUNDS: Final = timedelta(days=1)
_FIRST_PAUSE: Final = timedelta(minutes=10)
_LONGEST_PAUSE: Final = timedelta(hours=6)
_PROBLEM_LENGTH: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractPoolLookupService:
    """Asks pools, one batch of contracts a call."""

    pool: Pool
    clock: Clock
    environment: str
    secrets: SecretCipher
    feeds: ContractPoolService
    directories: Mapping[str, ContractPoolDirectory]

    async def look_up_due(self) -> int:
        """Look up the next contracts of the feed that has been due the longest; returns how many events came.

        The events are stored together with how far the round has come, so a round that breaks off goes on
        where it was, and the same answer again is the same event.
        """
        wall_now = self.clock.wall_now()
        async with self.pool.acquire() as connection:
            lookup = await repository.lease_lookup(
                connection, wall_now=wall_now, leased_until=wall_now + _LEASE
            )
        if lookup is None:
            return 0
        contracts = await contract_administration.list_contracts(
            self.pool,
            environment=self.environment,
            party=lookup.party_id,
            after=lookup.after_emaid,
            limit=_AT_ONCE,
        )
        try:
            found = await self._ask(lookup, contracts)
        except PoolNotAnsweringError as problem:
            await self._postpone(lookup, str(problem))
            return 0
        stored = await self._store(lookup, found, contracts)
        for event_id in stored:
            await self.feeds.apply(event_id)
        return len(stored)

    async def _ask(self, lookup: PoolLookupRecord, contracts: Sequence[Contract]) -> list[PoolEvent]:
        """What the pool holds of the contracts, as events."""
        access = PoolAccess(
            url=lookup.url,
            token_url=lookup.token_url,
            audience=lookup.audience,
            client_id=lookup.client_id,
            client_secret=self.secrets.decrypt(lookup.feed_id, lookup.secret).decode(),
        )
        directory = self.directories[lookup.protocol]
        found: list[PoolEvent] = []
        for contract in contracts:
            if contract.state is ContractState.CANCELLED:
                continue
            certificates = await directory.look_up(access, contract.emaid)
            found += await self._events(lookup.feed_id, contract.emaid, certificates)
        return found

    async def _events(
        self, feed_id: UUID, emaid: str, certificates: Sequence[PooledCertificate]
    ) -> list[PoolEvent]:
        async with self.pool.acquire() as connection:
            position = await events_repository.find_position(connection, feed_id=feed_id, emaid=emaid)
            known = await certificate_registry.load_history(
                connection, environment=self.environment, emaid=emaid
            )
        return events_of_lookup(
            emaid,
            certificates,
            feed_id=feed_id,
            position=position,
            registered={row["leaf_sha256"] for row in known},
        )

    async def _store(
        self, lookup: PoolLookupRecord, found: Sequence[PoolEvent], contracts: Sequence[Contract]
    ) -> list[UUID]:
        """Store the events and how far the round has come, in one transaction; the events that are new."""
        wall_now = self.clock.wall_now()
        ended = len(contracts) < _AT_ONCE
        async with transaction(self.pool) as connection:
            moved = await repository.move_lookup(
                connection,
                lookup,
                after_emaid="" if ended else contracts[-1].emaid,
                next_at=wall_now + BETWEEN_ROUNDS if ended else wall_now,
                finished_at=wall_now if ended else None,
            )
            return await self._insert(connection, lookup, found) if moved else []

    async def _insert(
        self, connection: Connection, lookup: PoolLookupRecord, found: Sequence[PoolEvent]
    ) -> list[UUID]:
        stored = [
            await events_repository.insert_event(
                connection, event, feed_id=lookup.feed_id, now=self.clock.now()
            )
            for event in found
        ]
        return [event_id for event_id in stored if event_id is not None]

    async def _postpone(self, lookup: PoolLookupRecord, problem: str) -> None:
        _log.warning("contract_pool_not_answering", party_id=lookup.party_id, reason=problem)
        pause = min(_FIRST_PAUSE * 2 ** min(lookup.failures, 10), _LONGEST_PAUSE)
        async with self.pool.acquire() as connection:
            await repository.postpone_lookup(
                connection,
                lookup,
                next_at=self.clock.wall_now() + pause,
                problem=problem[:_PROBLEM_LENGTH],
            )
