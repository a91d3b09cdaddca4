"""Parties: created, renewed, read, and made the site host of a location.

Owns: the transaction in which a party is stored in the gateway, which knows who it is, and in clearing, which
knows its terms. Must not know HTTP, keys or agreements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from clearing.parties.business_details import NO_DETAILS, BusinessDetails
from clearing.parties.party import Party, VatEvidence
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.partners import party_repository, principal_repository, site_host_repository
from gateway.partners.errors import PartnerRecordExistsError, UnknownPartnerRecordError
from gateway.partners.party_repository import PartyRecord
from gateway.webhooks import payout_events


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyUpdate:
    """A party's terms as they are to be; `keeps_*` and `kept_details` keep what is stored instead.

    `declared_vat_ids` are the platform's own declarations: each counts where nothing is known of its id yet.
    """

    party: Party
    keeps_registrations: bool
    keeps_cadence: bool
    declared_vat_ids: Sequence[VatEvidence] = ()
    kept_details: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyView:
    """A party with its name and details, which clearing keeps with its terms."""

    id: str
    kind: str
    name: str
    created_at: datetime
    details: BusinessDetails = NO_DETAILS


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
        async with transaction(self.pool) as connection:
            await site_host_repository.set_site_host(
                connection, cpo_id=cpo_id, location_id=location_id, party_id=party_id
            )


async def hold_for_new_account(
    clearing: ClearingServices, connection: Connection, party: Party, *, by: str, now: datetime
) -> None:
    """Another account at the PSP is like other bank details: a second person than `by` must agree first."""
    hold_id = await clearing.payouts.place_hold(
        connection,
        party.id,
        reason=f"it is to be paid to {party.connected_account} from now on; to be confirmed with the party",
        since=now.astimezone(ZoneInfo(party.time_zone)).date(),
        until=None,
        by=by,
        four_eyes=True,
    )
    cancelled = await clearing.payouts.cancel_unpayable(connection, now=now, party_id=party.id)
    await payout_events.record_hold(connection, hold_id, cancelled, now=now)


async def load_party(clearing: ClearingServices, connection: Connection, party_id: str) -> Party:
    """A party with its terms, as clearing knows it. Raises UnknownPartnerRecordError."""
    found = await clearing.reference_data.find_party(connection, party_id)
    if found is None:
        raise UnknownPartnerRecordError(f"There is no party {party_id}")
    return found


def _view(party: PartyRecord, terms: Mapping[str, Party]) -> PartyView:
    """A party with its name; one that has no terms yet is called by its id."""
    known = terms.get(party.id)
    if known is None:
        return PartyView(id=party.id, kind=party.kind, name=party.id, created_at=party.created_at)
    return PartyView(
        id=party.id, kind=party.kind, name=known.name, created_at=party.created_at, details=known.details
    )


def _merged(update: PartyUpdate, *, before: Party | None) -> Party:
    """The party to store: what the update leaves out comes from what is stored.

    A declaration never takes the place of what is known: renewing a party's terms can't make an id good that
    a register rejected.
    """
    known = set() if before is None else {_bare(one.vat_id) for one in before.vat_evidence}
    declared = tuple(one for one in update.declared_vat_ids if not _is_known(one.vat_id, known))
    wanted = replace(update.party, vat_evidence=(*update.party.vat_evidence, *declared))
    if before is None:
        return wanted
    if update.keeps_registrations:
        wanted = replace(wanted, vat_registrations=before.vat_registrations)
    if update.keeps_cadence:
        wanted = replace(wanted, document_cadence=before.document_cadence)
    kept = {name: getattr(before.details, name) for name in update.kept_details}
    return replace(wanted, details=replace(wanted.details, **kept))


def _is_known(vat_id: str, known: set[str]) -> bool:
    """Whether there is evidence of that id, however it is written: with or without its prefix, EL or GR."""
    bare = _bare(vat_id)
    return any(bare in (one, one[2:]) or bare[2:] == one[2:] for one in known)


def _bare(vat_id: str) -> str:
    return "".join(sign for sign in vat_id.upper() if sign.isalnum())
