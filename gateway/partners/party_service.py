"""Parties: created, renewed, read, and made the site host of a location.

Owns: the transaction in which a party is stored in the gateway, which knows who it is, and in clearing, which
knows its terms. Must not know HTTP, keys or agreements.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from clearing.parties.party import Party, VatEvidence
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.partners import party_repository, principal_repository, site_host_repository
from gateway.partners.errors import PartnerRecordExistsError, UnknownPartnerRecordError
from gateway.partners.party_repository import PartyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyUpdate:
    """A party's terms as they are to be; `keeps_*` keeps what is stored instead.

    `declared_vat_ids` are the platform's own declarations: each counts where nothing is known of its id yet.
    """

    party: Party
    keeps_registrations: bool
    keeps_cadence: bool
    declared_vat_ids: Sequence[VatEvidence] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyView:
    """A party with its name, which clearing keeps with its terms."""

    id: str
    kind: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyService:
    """Raises `gateway.partners.errors.PartnerError`."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def save(self, update: PartyUpdate, *, key: str) -> PartyView:
        """Create a party; the same id again renews its name and terms, but never its kind.

        Another connected account puts payouts on hold until a second person lifts it. `key` is the API key
        that asks.

        Raises:
            PartnerRecordExistsError: the party is of another kind.
        """
        now = self.clock.now()
        async with transaction(self.pool) as connection:
            before = await self.clearing.reference_data.find_party(connection, update.party.id)
            wanted = _merged(update, before=before)
            stored = await party_repository.add_party(
                connection,
                PartyRecord(id=wanted.id, kind=wanted.kind.value, created_at=now),
            )
            if stored.kind != wanted.kind.value:
                raise PartnerRecordExistsError(f"Party {wanted.id} is a {stored.kind}")
            await self.clearing.reference_data.register_party(connection, wanted, now=now)
            if before is not None and wanted.connected_account not in {None, before.connected_account}:
                by = await principal_repository.find_principal(connection, key)
                await hold_for_new_account(self.clearing, connection, wanted, by=by, now=now)
        return _view(stored, {wanted.id: wanted})

    async def get(self, party_id: str) -> PartyView:
        """One party. Raises UnknownPartnerRecordError."""
        async with self.pool.acquire() as connection:
            found = await party_repository.find_party(connection, party_id)
            if found is None:
                raise UnknownPartnerRecordError(f"There is no party {party_id}")
            return _view(found, await self.clearing.reference_data.load_parties(connection))

    async def list(self, *, after: str, limit: int) -> Sequence[PartyView]:
        """Parties by id, those after `after`."""
        async with self.pool.acquire() as connection:
            found = await party_repository.list_parties(connection, after=after, limit=limit)
            terms = await self.clearing.reference_data.load_parties(connection)
        return [_view(one, terms) for one in found]

    async def load_terms(self, party_id: str) -> Party:
        """A party with its terms, as clearing knows it. Raises UnknownPartnerRecordError."""
        async with self.pool.acquire() as connection:
            return await load_party(self.clearing, connection, party_id)

    async def set_site_host(self, *, cpo_id: str, location_id: str, party_id: str) -> None:
        """Set the site host of a location, for sessions cleared from now on.

        Raises:
            UnknownPartnerRecordError: the CPO or the host does not exist.
        """
        for one in (cpo_id, party_id):
            await self.get(one)
        async with self.pool.acquire() as connection:
            await site_host_repository.set_site_host(
                connection, cpo_id=cpo_id, location_id=location_id, party_id=party_id
            )
