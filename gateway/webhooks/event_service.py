"""Events to pull: one, or a page of them after a cursor.

Owns: that a page stops short of the last second, in which a commit may still arrive late. Must not know HTTP
or deliveries. `party_id` None asks for the platform, which sees every party's events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import first_id_at, format_id, shard_of
from gateway.schemas import api_schemas
from gateway.webhooks import repository
from gateway.webhooks.events import API_VERSION
from gateway.webhooks.repository import EventRecord

SETTLE_MS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventService:
    """Reads events."""

    pool: Pool
    clock: Clock

    async def list(
        self, *, party_id: str | None, types: Sequence[str] | None, after: UUID | None, limit: int
    ) -> Sequence[EventRecord]:
        """Events after `after`, oldest first."""
        async with self.pool.acquire() as connection:
            return await repository.list_events(
                connection,
                party_id=party_id,
                types=types,
                after=after,
                horizon=_horizon(self.clock.wall_now()),
                limit=limit,
            )

    async def list_newest(
        self, *, party_id: str | None, types: Sequence[str] | None, before: UUID | None, limit: int
    ) -> Sequence[EventRecord]:
        """Events before `before`, else up to now, newest first."""
        horizon = _horizon(self.clock.wall_now())
        async with self.pool.acquire() as connection:
            return await repository.list_newest_events(
                connection,
                party_id=party_id,
                types=types,
                before=horizon if before is None else min(before, horizon),
                limit=limit,
            )

    async def find(self, event_id: UUID, *, party_id: str | None) -> EventRecord | None:
        """One event; None where there is none or it is another party's."""
        async with self.pool.acquire() as connection:
            return await repository.find_event(
                connection, shard=shard_of(event_id), event_id=event_id, party_id=party_id
            )


def event_object(row: EventRecord) -> api_schemas.EventSchema:
    """The public event."""
    return api_schemas.EventSchema(
        id=format_id("evt", row.id),
        type=row.type,
        api_version=API_VERSION,
        created=row.created_at,
        timestamp=row.created_at,
        object_id=row.object_id,
        data=dict(row.data),
    )


def _horizon(wall_now: datetime) -> UUID:
    """The smallest id of the instant up to which every commit has arrived."""
    return first_id_at(wall_now - timedelta(milliseconds=SETTLE_MS))
