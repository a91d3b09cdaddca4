"""The log of a party's requests: a batch of them stored, a page of them read.

Owns: the transactions. Must not know HTTP, or how requests are collected. `party_id` None is the platform,
which sees everybody's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.database import Pool, transaction
from gateway.partners import request_log_repository
from gateway.partners.request_log_repository import RequestFilter, RequestRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLogService:
    """Stores and reads requests of API keys."""

    pool: Pool

    async def store(self, records: Sequence[RequestRecord]) -> None:
        """Add requests. Raises what the database raises: then none of them is stored."""
        async with transaction(self.pool) as connection:
            await request_log_repository.insert_requests(connection, records)

    async def list(
        self, *, party_id: str | None, wanted: RequestFilter, limit: int
    ) -> Sequence[RequestRecord]:
        """Requests, newest first."""
        async with self.pool.acquire() as connection:
            return await request_log_repository.list_requests(
                connection, party_id=party_id, wanted=wanted, limit=limit
            )

    async def find(self, entry_id: UUID, *, party_id: str | None) -> RequestRecord | None:
        """One request; None where there is none or it is another party's."""
        async with self.pool.acquire() as connection:
            return await request_log_repository.find_request(connection, entry_id, party_id=party_id)
