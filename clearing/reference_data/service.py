"""Parties, agreements and exchange rates: registered, stored, and cached for reading.

Owns: what is checked before they are stored, when they are read again. Must not know: HTTP, what is cleared
with them.
Every method takes the connection; none commits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from clearing.connection import Connection
from clearing.fx import RateTable, ReferenceRate
from clearing.parties import repository as party_repository
from clearing.parties.agreement import Agreement
from clearing.parties.party import Party
from clearing.parties.registration import normalized
from clearing.reference_data import bundled_data, repository
from clearing.reference_data.dataset import RatesAndCalendars, ReferenceData


@dataclass(slots=True, kw_only=True)
class PartyCache:
    """The parties: the same mapping for as long as their epoch does not change."""

    _present: Mapping[str, Party] = field(default_factory=dict)
    _epoch: UUID | None = None

    async def load(self, connection: Connection) -> Mapping[str, Party]:
        """Every party by id, as stored now."""
        # They are read by several statements: if one changes meanwhile, all are read again.
        while (epoch := (await repository.load_epochs(connection))["party"]) != self._epoch:
            self._present, self._epoch = await party_repository.load_parties(connection), epoch
        return self._present


@dataclass(slots=True, kw_only=True)
class ReferenceDataCache:
    """The present reference data: the same object for as long as no epoch changed."""

    _present: ReferenceData | None = None
    _epochs: dict[str, UUID] = field(default_factory=dict)
    _rates: RateTable = field(default_factory=lambda: RateTable(()))
    _parties: PartyCache = field(default_factory=PartyCache)

    async def load(self, connection: Connection) -> ReferenceData:
        """What is stored now, seen from the connection's transaction."""
        # They are read by several statements: if one changes meanwhile, all are read again.
        while (epochs := await repository.load_epochs(connection)) != self._epochs or self._present is None:
            if epochs["fx_rate"] != self._epochs.get("fx_rate"):
                self._rates = await repository.load_rate_table(connection)
            self._present, self._epochs = await self._read(connection), epochs
        return self._present

    async def _read(self, connection: Connection) -> ReferenceData:
        return ReferenceData(
            parties=await self._parties.load(connection),
            agreements=await party_repository.load_agreements(connection),
            rates_and_calendars=RatesAndCalendars(
                vat=bundled_data.vat_rates(), fx=self._rates, calendars=bundled_data.calendars()
            ),
        )


class ReferenceDataService:
    """Stateless but for its cache; one instance serves all jobs and requests of a process."""

    def __init__(self) -> None:
        """A service whose cache is empty."""
        self._cache = ReferenceDataCache()

    async def load(self, connection: Connection) -> ReferenceData:
        """All reference data: the same object for as long as nothing of it changed."""
        return await self._cache.load(connection)

    async def find_party(self, connection: Connection, party_id: str) -> Party | None:
        """A registered party with its VAT evidence."""
        return (await self.load_parties(connection)).get(party_id)

    async def load_parties(self, connection: Connection) -> Mapping[str, Party]:
        """Every registered party by id."""
        return (await self.load(connection)).parties

    async def register_party(self, connection: Connection, party: Party, *, now: datetime) -> None:
        """Add a party or renew its data, its VAT ids in their one written form.

        Raises InvalidPartyError when its id is known as another kind or a VAT id has a wrong check digit.
        """
        await party_repository.put_party(connection, normalized(party, bundled_data.vat_rates()), now=now)

    async def put_agreement(self, connection: Connection, agreement: Agreement, *, now: datetime) -> None:
        """Store a version, once. Raises ClearingConflictError for other terms under a stored version."""
        await party_repository.put_agreement(connection, agreement, now=now)

    async def import_rates(
        self, connection: Connection, rates: Sequence[ReferenceRate], *, now: datetime
    ) -> int:
        """Add published rates; a stored rate is never changed. Returns how many were new."""
        return await repository.add_rates(connection, rates, now=now)

    async def import_bundled_rates(self, connection: Connection, *, now: datetime) -> int:
        """Add the bundled ECB reference rates; repeatable. Returns how many were new."""
        return await self.import_rates(connection, bundled_data.ecb_reference_rates(), now=now)
