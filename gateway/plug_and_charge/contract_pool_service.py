"""Contract pools: a party's feed, its pool's events taken in once, and what they change.

Owns: whose feed it is, that an event is stored before it is answered, the transaction in which it is applied,
and that what can't be applied waits. Must not know: HTTP, the form in which a pool writes (a
`ContractPoolProtocol` reads it), what follows from an event (pnc.contract_pool).

A feed changes its own party's contracts alone, as the party itself would: another party's contract does not
exist for it, and a block that somebody else set stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID

import structlog

from gateway.clock import Clock
from gateway.database import TRANSIENT, Connection, Pool, transaction
from gateway.ids import new_id
from gateway.partners import party_repository
from gateway.partners.errors import PartnerConflictError, UnknownPartnerRecordError
from gateway.plug_and_charge import contract_pool_lookup_repository as lookup_repository
from gateway.plug_and_charge import contract_pool_repository as repository
from gateway.plug_and_charge.contract_pool_application import apply_event
from gateway.plug_and_charge.contract_pool_lookup_repository import NewPoolLookup
from gateway.plug_and_charge.contract_pool_repository import (
    NewPoolFeed,
    PoolEventRecord,
    PoolFeedRecord,
    PoolFeedState,
)
from gateway.plug_and_charge.errors import PoolEventRejectedError
from gateway.webhooks.repository import SecretRecord
from gateway.webhooks.secret_cipher import SecretCipher
from pnc import contract_certificates
from pnc.contract_pool import PoolEvent, WaitReason
from pnc.errors import UnfitContractError
from pnc.service import PlugAndChargeService

_log = structlog.get_logger(__name__)
EVENT_PREFIX: Final = "cpe"
FEED_PREFIX: Final = "cpf"
EVENTS_KEPT: Final = timedelta(days=400)
_BATCH: Final = 100
_DETAIL_LENGTH: Final = 500
_NO_FEED: Final = UUID(int=0)


class ContractPoolProtocol(Protocol):
    """How one kind of contract pool signs and writes its events."""

    @property
    def name(self) -> str:
        """The name under which a feed chooses it."""
        ...

    def is_authentic(self, body: bytes, *, headers: Mapping[str, str], secret: bytes) -> bool:
        """Whether the body is signed with the secret."""
        ...

    def read(self, body: bytes) -> PoolEvent:
        """Read an authentic event. Raises UnfitPoolEventError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractPoolService:
    """Sets up feeds, takes events in and applies them.

    Raises `pnc.errors.PncError`; UnknownPartnerRecordError for a party or feed that does not exist.
    """

    pool: Pool
    clock: Clock
    environment: str
    decisions: PlugAndChargeService
    secrets: SecretCipher
    protocols: Mapping[str, ContractPoolProtocol]

    async def put_feed(
        self,
        feed: NewPoolFeed,
        *,
        secret: str | None,
        lookup: NewPoolLookup | None = None,
        client_secret: str | None = None,
    ) -> PoolFeedState:
        """Create a party's feed or change it; without a secret the stored one stays.

        `lookup`: how the pool is asked, from now on; None: it is not asked.

        Raises:
            UnfitContractError: no secret is known, or `authorities` are no authorities' certificates.
        """
        if feed.authorities:
            contract_certificates.read_authorities(feed.authorities)
        async with transaction(self.pool) as connection:
            if await party_repository.find_party(connection, feed.party_id) is None:
                raise UnknownPartnerRecordError(f"There is no party {feed.party_id}")
            known = await repository.find_feed(connection, feed.party_id)
            if secret is not None:
                clear = secret.encode()
            elif known is not None:
                clear = self._secret(known)
            else:
                raise UnfitContractError(path="secret", problem="needed for a new feed")
            feed_id = new_id() if known is None else known.id
            await repository.put_feed(
                connection,
                feed,
                feed_id=feed_id,
                secret=self.secrets.encrypt(feed_id, clear),
                now=self.clock.now(),
            )
            await self._put_lookup(connection, feed_id, lookup, client_secret)
            (state,) = await repository.list_feeds(connection, party_id=feed.party_id)
        return state

    async def _put_lookup(
        self, connection: Connection, feed_id: UUID, lookup: NewPoolLookup | None, client_secret: str | None
    ) -> None:
        if lookup is None:
            await lookup_repository.delete_lookup(connection, feed_id)
            return
        known = await lookup_repository.find_lookup(connection, feed_id)
        if client_secret is not None:
            clear = client_secret.encode()
        elif known is not None:
            clear = self.secrets.decrypt(feed_id, known.secret)
        else:
            raise UnfitContractError(path="lookup/client_secret", problem="needed for a new look-up")
        await lookup_repository.put_lookup(
            connection,
            lookup,
            feed_id=feed_id,
            secret=self.secrets.encrypt(feed_id, clear),
            next_at=self.clock.wall_now(),
        )

    async def list_feeds(self, *, party_id: str | None) -> list[PoolFeedState]:
        """Every feed, or a party's."""
        async with self.pool.acquire() as connection:
            return await repository.list_feeds(connection, party_id=party_id)

    async def list_events(
        self, party_id: str, *, state: str | None, before: UUID | None, limit: int
    ) -> list[PoolEventRecord]:
        """The events of a party's feed, the latest first. Raises UnknownPartnerRecordError."""
        async with self.pool.acquire() as connection:
            feed = await repository.find_feed(connection, party_id)
            if feed is None:
                raise UnknownPartnerRecordError(f"The party {party_id} has no contract pool feed")
            return await repository.list_events(
                connection, feed_id=feed.id, state=state, before=before, limit=limit
            )

    async def receive(self, party_id: str, *, body: bytes, headers: Mapping[str, str]) -> None:
        """Take in what a pool has sent: it is stored, then applied. The same event again changes nothing.

        Raises:
            PoolEventRejectedError: it is not signed with the secret of a feed of this party, which is on.
            UnfitPoolEventError: it is authentic and can't be read.
        """
        async with self.pool.acquire() as connection:
            feed = await repository.find_feed(connection, party_id)
        protocol = next(iter(self.protocols.values())) if feed is None else self.protocols[feed.protocol]
        # Who asks for a party without a feed learns nothing from the time that the answer takes.
        secret = _NO_FEED.bytes if feed is None else self._secret(feed)
        authentic = protocol.is_authentic(body, headers=headers, secret=secret)
        if feed is None or not feed.enabled or not authentic:
            raise PoolEventRejectedError("the body is not signed with the secret of a feed of this party")
        event = protocol.read(body)
        async with transaction(self.pool) as connection:
            stored = await repository.insert_event(connection, event, feed_id=feed.id, now=self.clock.now())
        if stored is not None:
            await self.apply(stored)

    async def apply_again(self, event_id: UUID, *, party_id: str | None) -> PoolEventRecord:
        """Apply an event that waits, now that what it waited for is mended.

        Raises:
            UnknownPartnerRecordError: there is no such event (of that party).
            PartnerConflictError: it does not wait, or its feed is switched off.
        """
        async with transaction(self.pool) as connection:
            found = await _find(connection, event_id, party_id=party_id)
            if not (await repository.load_feed(connection, found.feed_id)).enabled:
                raise PartnerConflictError("the feed is switched off; nothing is applied until it is on")
            if not await repository.retry_event(connection, event_id):
                raise PartnerConflictError("the event does not wait")
        await self.apply(event_id)
        async with self.pool.acquire() as connection:
            return await _find(connection, event_id, party_id=party_id)

    async def dismiss(self, event_id: UUID, *, reason: str, party_id: str | None) -> PoolEventRecord:
        """Leave an event that waits as it is, for good. Raises as `apply_again`."""
        async with transaction(self.pool) as connection:
            await _find(connection, event_id, party_id=party_id)
            if not await repository.dismiss_event(connection, event_id, detail=reason, now=self.clock.now()):
                raise PartnerConflictError("the event does not wait")
            return await _find(connection, event_id, party_id=party_id)

    async def apply_pending(self) -> int:
        """Apply what was stored and not applied: a process ended, or a person asked for it again.

        An event that fails waits with its reason, and those behind it are applied. Raises what a database
        raises that is away.
        """
        async with self.pool.acquire() as connection:
            pending = await repository.list_pending(connection, limit=_BATCH)
        for event_id in pending:
            await self.apply(event_id)
        return len(pending)

    async def delete_old_events(self) -> int:
        """Delete decided events past their retention, a batch; returns how many."""
        async with self.pool.acquire() as connection:
            return await repository.delete_old_events(
                connection, received_before=self.clock.now() - EVENTS_KEPT, limit=_BATCH
            )

    async def apply(self, event_id: UUID) -> None:
        """Apply a pending event, once: in one transaction with the change, its webhooks and the outcome.

        An event that can't be applied because of a defect waits for a person as every other one does. Raises
        what a database raises that is away: the event stays pending.
        """
        try:
            await self._apply(event_id)
        except TRANSIENT:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of one event: the others must go on
            _log.error("contract_pool_event_failed", pool_event=str(event_id), exc_info=error)
            async with transaction(self.pool) as connection:
                record = await repository.lock_pending(connection, event_id)
                if record is not None:
                    await repository.decide(
                        connection,
                        event_id,
                        state="waiting",
                        reason=WaitReason.FAILED.value,
                        detail=f"applying it failed ({type(error).__name__}); the log has the cause",
                        now=self.clock.now(),
                    )

    async def _apply(self, event_id: UUID) -> None:
        verifier, _ = await self.decisions.load_trust(self.pool, environment=self.environment)
        async with transaction(self.pool) as connection:
            record = await repository.lock_pending(connection, event_id)
            if record is None:
                return
            feed = await repository.load_feed(connection, record.feed_id)
            if not feed.enabled:
                return  # it stays pending until the feed is switched on again
            now = self.clock.now()
            state, reason, detail = await apply_event(
                connection,
                feed,
                record.event,
                verifier=verifier,
                environment=self.environment,
                now=now,
            )
            await repository.decide(
                connection, event_id, state=state, reason=reason, detail=detail[:_DETAIL_LENGTH], now=now
            )

    def _secret(self, feed: PoolFeedRecord) -> bytes:
        return self.secrets.decrypt(feed.id, SecretRecord(key=feed.encryption_key, content=feed.secret))


async def _find(connection: Connection, event_id: UUID, *, party_id: str | None) -> PoolEventRecord:
    found = await repository.find_event(connection, event_id, party_id=party_id)
    if found is None:
        raise UnknownPartnerRecordError("There is no such contract pool event")
    return found


async def reencrypt_feed_secrets(pool: Pool, cipher: SecretCipher) -> int:
    """Encrypt what the first key has not encrypted; how many secrets were written.

    Raises ConfigurationError where no key of the settings decrypts a stored secret.
    """
    written = 0
    async with transaction(pool) as connection:
        for feed_id, stored in await repository.list_encrypted_with_other_key(
            connection, key=cipher.key_name
        ):
            clear = cipher.decrypt(feed_id, stored)
            if cipher.key_name is not None:
                await repository.put_feed_secret(connection, feed_id, cipher.encrypt(feed_id, clear))
                written += 1
        for feed_id, stored in await lookup_repository.list_encrypted_with_other_key(
            connection, key=cipher.key_name
        ):
            clear = cipher.decrypt(feed_id, stored)
            if cipher.key_name is not None:
                await lookup_repository.put_lookup_secret(connection, feed_id, cipher.encrypt(feed_id, clear))
                written += 1
    return written
