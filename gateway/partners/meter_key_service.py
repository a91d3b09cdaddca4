"""Keys of meters and policies as partners and the platform set them, each in its own transaction.

Owns: the transactions, who is recorded, and whose keys a caller may see. Must not know HTTP, or how a
signature is verified.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from clearing.meter_data import service
from clearing.meter_data.findings import MeterPolicy
from clearing.meter_data.registered_key import (
    MeterKeyState,
    MeterPolicyRecord,
    NewMeterKey,
    RegisteredKey,
)
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.partners import principal_repository
from gateway.partners.errors import UnknownPartnerRecordError


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterKeyCaller:
    """Who asks: their API key, and the party whose keys they see; None for the platform."""

    key: str
    party_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterKeyService:
    """Registers, lists, ends and decides on keys; sets policies.

    Raises UnknownPartnerRecordError for a party or key that the caller may not see, and what
    `clearing.meter_data.service` raises.
    """

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def register(
        self, caller: MeterKeyCaller, party_id: str, new: NewMeterKey, *, key_id: UUID
    ) -> RegisteredKey:
        """Register a key; another key for a known meter is proposed."""
        async with transaction(self.pool) as connection:
            await self._check_party(connection, caller, party_id)
            by = await principal_repository.find_principal(connection, caller.key)
            return await service.register_key(
                connection, party_id, new, key_id=key_id, by=by, now=self.clock.now()
            )

    async def list_keys(
        self,
        caller: MeterKeyCaller,
        party_id: str,
        *,
        state: MeterKeyState | None,
        before: UUID | None,
        limit: int,
    ) -> Sequence[RegisteredKey]:
        """A party's keys, the latest first, those with an id below `before`."""
        async with self.pool.acquire() as connection:
            await self._check_party(connection, caller, party_id)
            return await service.list_keys(
                connection, party_id=party_id, state=state, before=before, limit=limit
            )

    async def end(self, caller: MeterKeyCaller, key_id: UUID, *, valid_to: datetime | None) -> RegisteredKey:
        """End a key, now unless an instant is given."""
        async with transaction(self.pool) as connection:
            await self._check_key(connection, caller, key_id)
            return await service.end_key(connection, key_id, valid_to=valid_to or self.clock.now())

    async def decide(self, caller: MeterKeyCaller, key_id: UUID, *, accepted: bool) -> RegisteredKey:
        """Accept or reject a proposed key."""
        decide = service.accept_key if accepted else service.reject_key
        async with transaction(self.pool) as connection:
            await self._check_key(connection, caller, key_id)
            by = await principal_repository.find_principal(connection, caller.key)
            return await decide(connection, key_id, by=by, now=self.clock.now())

    async def set_policy(
        self, caller: MeterKeyCaller, party_id: str, policy: MeterPolicy, *, valid_from: datetime | None
    ) -> MeterPolicyRecord:
        """Set what a CPO's CDRs must carry, from now unless an instant is given."""
        now = self.clock.now()
        begin = valid_from or now
        async with transaction(self.pool) as connection:
            await self._check_party(connection, caller, party_id)
            by = await principal_repository.find_principal(connection, caller.key)
            await service.set_policy(connection, party_id, policy, valid_from=begin, by=by, now=now)
        return MeterPolicyRecord(party_id=party_id, valid_from=begin, policy=policy, set_by=by, set_at=now)

    async def list_policies(self, caller: MeterKeyCaller, party_id: str) -> Sequence[MeterPolicyRecord]:
        """A party's policies, the latest first."""
        async with self.pool.acquire() as connection:
            await self._check_party(connection, caller, party_id)
            return await service.list_policies(connection, party_id)

    async def _check_party(self, connection: Connection, caller: MeterKeyCaller, party_id: str) -> None:
        own = caller.party_id in {None, party_id}
        found = await self.clearing.reference_data.find_party(connection, party_id) if own else None
        if found is None:
            raise UnknownPartnerRecordError(f"there is no party {party_id}")

    async def _check_key(self, connection: Connection, caller: MeterKeyCaller, key_id: UUID) -> None:
        key = await service.find_key(connection, key_id)
        if key is None or caller.party_id not in {None, key.party_id}:
            raise UnknownPartnerRecordError("there is no such meter key")
