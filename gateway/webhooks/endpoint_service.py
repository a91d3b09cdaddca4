"""Webhook endpoints: added, changed, tested, their log of deliveries and attempts, and sending events again.

Owns: whose endpoint is whose, the transaction of each change, that a shared secret is shown once and a
private key never. Must not know HTTP or how a delivery is made. `party_id` None asks for the platform, which
sees every party's endpoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import new_id, shard_of
from gateway.webhooks import repository
from gateway.webhooks.delivery_results import endpoint_object
from gateway.webhooks.event_filter import EventFilter
from gateway.webhooks.events import EventType
from gateway.webhooks.fan_out import Replayed, replay
from gateway.webhooks.own_headers import changed_headers, headers_bytes, read_headers
from gateway.webhooks.repository import (
    AttemptRecord,
    DeliveryRecord,
    EndpointRecord,
    EventRecord,
    NewSigningKey,
    SealedHeaders,
    SecretRecord,
)
from gateway.webhooks.secret_cipher import SecretCipher
from gateway.webhooks.signing import SigningKey, WebhookScheme, new_signing_key, secret_text

MAX_ENDPOINTS: Final = 16
REPLAY_BATCH: Final = 10_000
_END_OF_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)


class WebhookError(Exception):
    """Base of what this service rejects on purpose."""


class UnknownWebhookRecordError(WebhookError):
    """No such endpoint or event, or it is another party's: the same answer for both."""


class TooManyEndpointsError(WebhookError):
    """The party has as many endpoints as it may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointWithSecret:
    """An endpoint with its shared secret, which nothing shows again; None where it signs asymmetrically."""

    endpoint: EndpointRecord
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointWishes:
    """How an endpoint is to be: where, which events, signed how, with which headers, in which version."""

    url: str
    event_types: Sequence[str]
    signature: WebhookScheme
    headers: Mapping[str, str | None]
    api_version: str
    event_filter: EventFilter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """What is to change of an endpoint; None: it stays. A header's None removes it."""

    url: str | None = None
    event_types: Sequence[str] | None = None
    state: str | None = None
    api_version: str | None = None
    headers: Mapping[str, str | None] | None = None
    event_filter: EventFilter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpointService:
    """Raises WebhookError. Deliveries run by wall time, events by business time."""

    pool: Pool
    clock: Clock
    secrets: SecretCipher

    async def create(self, *, endpoint_id: UUID, party_id: str, wishes: EndpointWishes) -> EndpointWithSecret:
        """Add an endpoint; the same id again gives the endpoint and secret of the first call.

        Raises:
            TooManyEndpointsError: the party has 16 already.
            OwnHeaderError: a header can't be added.
        """
        key = new_signing_key(wishes.signature)
        headers = changed_headers({}, wishes.headers)
        async with transaction(self.pool) as connection:
            await repository.lock_party(connection, party_id=party_id)
            await repository.add_endpoint(
                connection,
                endpoint_id=endpoint_id,
                party_id=party_id,
                url=wishes.url,
                event_types=wishes.event_types,
                event_filter=None if wishes.event_filter is None else wishes.event_filter.to_json(),
                key=self._sealed_key(endpoint_id, key),
                headers=self._sealed_headers(endpoint_id, headers),
                api_version=wishes.api_version,
                now=self.clock.wall_now(),
            )
            # Counted with it, so that a repeat of what was accepted is none too many.
            if await repository.count_endpoints(connection, party_id=party_id) > MAX_ENDPOINTS:
                raise TooManyEndpointsError(
                    f"A party has at most {MAX_ENDPOINTS} endpoints; delete one first"
                )
            stored = await _find(connection, endpoint_id, party_id=party_id)
        return EndpointWithSecret(endpoint=stored, secret=self._shown_secret(stored))

    def _sealed_key(self, endpoint_id: UUID, key: SigningKey) -> NewSigningKey:
        return NewSigningKey(
            signature=key.scheme.value,
            secret=self.secrets.encrypt(endpoint_id, key.secret),
            public_key=key.public_key,
        )

    def _sealed_headers(self, endpoint_id: UUID, headers: Mapping[str, str]) -> SealedHeaders:
        if not headers:
            return SealedHeaders()
        return SealedHeaders(
            names=list(headers), content=self.secrets.encrypt(endpoint_id, headers_bytes(headers))
        )

    def _shown_secret(self, stored: EndpointRecord) -> str | None:
        if stored.signature != WebhookScheme.SYMMETRIC:
            return None
        sealed = SecretRecord(key=stored.encryption_key, content=stored.secret)
        return secret_text(self.secrets.decrypt(stored.id, sealed))

    async def get(self, endpoint_id: UUID, *, party_id: str | None) -> EndpointRecord:
        """One endpoint. Raises UnknownWebhookRecordError."""
        async with self.pool.acquire() as connection:
            return await _find(connection, endpoint_id, party_id=party_id)

    async def list(
        self, *, party_id: str | None, before: UUID | None, limit: int
    ) -> Sequence[EndpointRecord]:
        """Endpoints, newest first, those older than `before`."""
        async with self.pool.acquire() as connection:
            return await repository.list_endpoints(connection, party_id=party_id, before=before, limit=limit)

    async def list_public_keys(self, endpoint_id: UUID) -> Sequence[bytes]:
        """The public keys in force, whoever asks: they are no secret. Raises UnknownWebhookRecordError."""
        async with self.pool.acquire() as connection:
            found = await repository.find_public_keys(
                connection, endpoint_id=endpoint_id, wall_now=self.clock.wall_now()
            )
        if found is None:
            raise UnknownWebhookRecordError("There is no such webhook endpoint")
        return found

    async def update(
        self, endpoint_id: UUID, *, party_id: str | None, change: EndpointChange
    ) -> EndpointRecord:
        """Change what is not None; an empty filter allows all.

        Raises:
            UnknownWebhookRecordError: there is no such endpoint.
            OwnHeaderError: a header can't be added.
        """
        async with transaction(self.pool) as connection:
            stored = await _find(connection, endpoint_id, party_id=party_id)
            if change.headers is not None:
                sealed = await repository.lock_headers(connection, endpoint_id=stored.id)
                present = {} if sealed is None else read_headers(self.secrets.decrypt(stored.id, sealed))
                headers = self._sealed_headers(stored.id, changed_headers(present, change.headers))
                await repository.put_headers(connection, endpoint_id=stored.id, headers=headers)
            await repository.update_endpoint(
                connection,
                endpoint_id=stored.id,
                url=change.url,
                event_types=change.event_types,
                event_filter=None if change.event_filter is None else change.event_filter.to_json(),
                state=change.state,
                api_version=change.api_version,
            )
            return await _find(connection, endpoint_id, party_id=party_id)

    async def delete(self, endpoint_id: UUID, *, party_id: str | None) -> None:
        """Delete an endpoint with its pending deliveries. Raises UnknownWebhookRecordError."""
        async with transaction(self.pool) as connection:
            stored = await _find(connection, endpoint_id, party_id=party_id)
            await repository.delete_endpoint(connection, endpoint_id=stored.id)

    async def rotate_secret(
        self,
        endpoint_id: UUID,
        *,
        party_id: str | None,
        overlap: timedelta,
        signature: WebhookScheme | None,
    ) -> EndpointWithSecret:
        """Sign with a new key, of another scheme where asked, and with the old one until the overlap ends.

        Raises:
            UnknownWebhookRecordError: there is no such endpoint.
        """
        until = self.clock.wall_now() + overlap
        async with transaction(self.pool) as connection:
            before = await _find(connection, endpoint_id, party_id=party_id)
            key = new_signing_key(signature or WebhookScheme(before.signature))
            await repository.rotate_secret(
                connection, endpoint_id=before.id, key=self._sealed_key(before.id, key), until=until
            )
            stored = await _find(connection, endpoint_id, party_id=party_id)
        return EndpointWithSecret(endpoint=stored, secret=self._shown_secret(stored))

    async def send_test(self, endpoint_id: UUID, *, party_id: str | None) -> EventRecord:
        """Send a test event to this endpoint only. Raises UnknownWebhookRecordError."""
        async with transaction(self.pool) as connection:
            stored = await _find(connection, endpoint_id, party_id=party_id)
            shown = endpoint_object(stored)
            event = EventRecord(
                id=new_id(shard=shard_of(stored.id)),
                party_id=stored.party_id,
                type=EventType.WEBHOOK_ENDPOINT_TEST.value,
                object_id=shown.id,
                data=shown.as_json(),
                created_at=self.clock.now(),
            )
            await repository.add_test_event(
                connection,
                event,
                shard=shard_of(stored.id),
                endpoint_id=stored.id,
            )
        return event

    async def list_deliveries(
        self,
        endpoint_id: UUID,
        *,
        party_id: str | None,
        state: str | None,
        before: UUID | None,
        limit: int,
    ) -> Sequence[DeliveryRecord]:
        """The endpoint's delivery log, newest event first. Raises UnknownWebhookRecordError."""
        async with self.pool.acquire() as connection:
            stored = await _find(connection, endpoint_id, party_id=party_id)
            return await repository.list_deliveries(
                connection, endpoint_id=stored.id, state=state, before=before, limit=limit
            )

    async def list_attempts(
        self,
        endpoint_id: UUID,
        event_id: UUID,
        *,
        party_id: str | None,
        before: UUID | None,
        limit: int,
    ) -> Sequence[AttemptRecord]:
        """Each attempt to deliver an event, newest first, those older than `before`.

        Raises:
            UnknownWebhookRecordError: there is no such endpoint, or the event was never for it.
        """
        async with self.pool.acquire() as connection:
            stored = await _find(connection, endpoint_id, party_id=party_id)
            found = await repository.list_attempts(
                connection,
                endpoint_id=stored.id,
                shard=shard_of(event_id),
                event_id=event_id,
                before=before,
                limit=limit,
            )
        if found is None:
            raise UnknownWebhookRecordError("The endpoint has no delivery of such an event")
        return found

    async def retry_delivery(self, endpoint_id: UUID, event_id: UUID, *, party_id: str | None) -> None:
        """Send one event again, whatever became of it. Raises UnknownWebhookRecordError."""
        async with transaction(self.pool) as connection:
            stored = await _find(connection, endpoint_id, party_id=party_id)
            done = await repository.retry_delivery(
                connection,
                endpoint_id=stored.id,
                shard=shard_of(event_id),
                event_id=event_id,
            )
        if not done:
            raise UnknownWebhookRecordError("The endpoint's party has no such event")

    async def replay(
        self,
        endpoint_id: UUID,
        *,
        party_id: str | None,
        since: datetime,
        until: datetime | None,
        after: UUID | None,
    ) -> Replayed:
        """Send events of a time span again, oldest first, those after `after`.

        Up to 10,000 are looked at, and sent where the endpoint's filter allows them.

        Raises:
            UnknownWebhookRecordError: there is no such endpoint.
        """
        async with transaction(self.pool) as connection:
            stored = await _find(connection, endpoint_id, party_id=party_id)
            return await replay(
                connection,
                endpoint_id=stored.id,
                event_filter=None if stored.filter is None else EventFilter.from_json(stored.filter),
                since=since,
                until=until or _END_OF_TIME,
                after=after,
                limit=REPLAY_BATCH,
            )


async def _find(connection: Connection, endpoint_id: UUID, *, party_id: str | None) -> EndpointRecord:
    found = await repository.find_endpoint(connection, endpoint_id=endpoint_id, party_id=party_id)
    if found is None:
        raise UnknownWebhookRecordError("There is no such webhook endpoint")
    return found
