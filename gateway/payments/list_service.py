"""Pages of sessions, authorizations and captures, as a party or the platform may see them.

Owns: whose objects a page holds. Must not know: HTTP, SQL, what a filter is called there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.database import Pool, transaction
from gateway.payments import list_repository
from gateway.payments.records import CaptureRecord
from gateway.payments.requests import AuthorizationFilter, SessionFilter
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.payments.views import AuthorizationView, SessionView


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentListService:
    """Newest first, those older than `before`. `admin` is the platform, which sees every party's objects."""

    pool: Pool
    snapshots: TariffSnapshotCache

    async def list_authorizations(
        self, *, party_id: str, admin: bool, wanted: AuthorizationFilter, limit: int, before: UUID | None
    ) -> Sequence[AuthorizationView]:
        """A page of authorizations."""
        async with transaction(self.pool) as connection:
            await list_repository.plan_each(connection)
            found = await list_repository.list_authorizations(
                connection, party_id=None if admin else party_id, wanted=wanted, before=before, limit=limit
            )
        return [
            AuthorizationView(
                authorization=authorization,
                session=session,
                tariff=await self.snapshots.reference(session.tariff_sha256),
            )
            for authorization, session in found
        ]

    async def list_sessions(
        self, *, party_id: str, admin: bool, wanted: SessionFilter, limit: int, before: UUID | None
    ) -> Sequence[SessionView]:
        """A page of sessions."""
        async with transaction(self.pool) as connection:
            await list_repository.plan_each(connection)
            found = await list_repository.list_sessions(
                connection, party_id=None if admin else party_id, wanted=wanted, before=before, limit=limit
            )
        return [
            SessionView(
                session=session,
                tariff=await self.snapshots.reference(session.tariff_sha256),
                authorization=authorization,
                capture=capture,
            )
            for session, authorization, capture in found
        ]

    async def list_captures(
        self, *, party_id: str, admin: bool, limit: int, before: UUID | None
    ) -> Sequence[CaptureRecord]:
        """A page of captures."""
        async with transaction(self.pool) as connection:
            await list_repository.plan_each(connection)
            return await list_repository.list_captures(
                connection, party_id=None if admin else party_id, before=before, limit=limit
            )
