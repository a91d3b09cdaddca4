"""Webhook endpoints: added, changed, tested, their delivery log, and sending events again.

Owns: whose endpoint is whose, the transaction of each change, and that a secret is shown once. Must not know
HTTP or how a delivery is made. `party_id` None asks for the platform, which sees every party's endpoints.
"""

from collections.abc import Sequence
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
from gateway.webhooks.repository import DeliveryRecord, EndpointRecord, EventRecord, SecretRecord
from gateway.webhooks.secret_cipher import SecretCipher
from gateway.webhooks.signing import new_secret, secret_text

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
    """An endpoint with its signing secret, which nothing shows again."""

    endpoint: EndpointRecord
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpointService:
    """Raises WebhookError. Deliveries run by wall time, events by business time."""

    pool: Pool
    clock: Clock
    secrets: SecretCipher

    async def create(
        self,
        *,
        endpoint_id: UUID,
        party_id: str,
        url: str,
        event_types: Sequence[str],
        event_filter: EventFilter | None = None,
    ) -> EndpointWithSecret:
        """Add an endpoint; the same id again gives the endpoint and secret of the first call.

        Raises:
            TooManyEndpointsError: the party has 16 already.
        """
        async with transaction(self.pool) as connection:
            if await repository.count_endpoints(connection, party_id=party_id) >= MAX_ENDPOINTS:
                raise TooManyEndpointsError(
                    f"A party has at most {MAX_ENDPOINTS} endpoints; delete one first"
                )
            await repository.add_endpoint(
                connection,
                endpoint_id=endpoint_id,
                party_id=party_id,
                url=url,
                event_types=event_types,
                event_filter=None if event_filter is None else event_filter.to_json(),
                secret=self.secrets.encrypt(endpoint_id, new_secret()),
                now=self.clock.wall_now(),
            )
            stored = await _find(connection, endpoint_id, party_id=party_id)
        secret = self.secrets.decrypt(
            stored.id, SecretRecord(key=stored.encryption_key, content=stored.secret)
        )
        return EndpointWithSecret(endpoint=stored, secret=secret_text(secret))

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

    async def update(
        self,
        endpoint_id: UUID,
        *,
        party_id: str | None,
        url: str | None,
        event_types: Sequence[str] | None,
        state: str | None,
        event_filter: EventFilter | None = None,
    ) -> EndpointRecord:
        """Change what is not None; an empty filter allows all. Raises UnknownWebhookRecordError."""
        async with transaction(self.pool) as connection:
            stored = await _find(connection, endpoint_id, party_id=party_id)
            await repository.update_endpoint(
                connection,
                endpoint_id=stored.id,
                url=url,
                event_types=event_types,
                state=state,
                event_filter=None if event_filter is None else event_filter.to_json(),
            )
            return await _find(connection, endpoint_id, party_id=party_id)

    async def delete(self, endpoint_id: UUID, *, party_id: str | None) -> None:
        """Delete an endpoint with its pending deliveries. Raises UnknownWebhookRecordError."""
        async with transaction(self.pool) as connection:
            stored = await _find(connection, endpoint_id, party_id=party_id)
            await repository.delete_endpoint(connection, endpoint_id=stored.id)

    async def rotate_secret(
        self, endpoint_id: UUID, *, party_id: str | None, overlap: timedelta
    ) -> EndpointWithSecret:
        """Sign with a new secret, and with the old one as well until the overlap ends.

        Raises:
            UnknownWebhookRecordError: there is no such endpoint.
        """
        secret = new_secret()
        until = self.clock.wall_now() + overlap
        async with transaction(self.pool) as connection:
            stored = await _find(connection, endpoint_id, party_id=party_id)
            await repository.rotate_secret(
                connection,
                endpoint_id=stored.id,
                secret=self.secrets.encrypt(stored.id, secret),
                until=until,
            )
        return EndpointWithSecret(endpoint=stored, secret=secret_text(secret))

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
