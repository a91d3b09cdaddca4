"""The directory of public EVSEs: found by place, id, power, plug and status, with the price in force.

Owns: the pages of the directory, and which tariff an EVSE shows. Must not know: HTTP, SQL, how a price is
computed. The tariff shown is the one that an authorization at the EVSE would freeze now: of its connectors
the first that has one in force, in a location whose time zone is known (gateway/ocpi/tariff_source.py).
Source: Regulation (EU) 2023/1804 (AFIR) art. 5(4): the order of price components.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from clearing.errors import ClearingError
from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.ocpi.connectors import evse_key
from gateway.ocpi.repository.objects import TariffRecord
from gateway.ocpi.repository.public_evses import (
    EvseFilter,
    EvsePosition,
    FoundEvse,
    ListedConnector,
    find_public_evses,
    list_connectors_of,
    list_tariffs_of,
)
from gateway.ocpi.tariff_source import choose
from gateway.payments.tariff_snapshots import TariffSnapshotService


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTariff:
    """A tariff in force as a driver is shown it; `display` in the order of AFIR art. 5(4)."""

    tariff_id: str
    type: str | None
    version: str
    sha256: str
    currency: str
    valid_from: datetime | None
    valid_until: datetime | None
    display: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryEntry:
    """One EVSE with its connectors and its tariff in force; None where none can price a session."""

    evse: FoundEvse
    connectors: Sequence[ListedConnector]
    tariff: ShownTariff | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvseDirectory:
    """Searches of the directory. Only reads."""

    pool: Pool
    clock: Clock
    tariffs: TariffSnapshotService

    async def search(
        self, wanted: EvseFilter, *, after: EvsePosition | None, limit: int, locale: str
    ) -> list[DirectoryEntry]:
        """Up to `limit` EVSEs after a position: nearest first from a point, else by CPO, location and uid."""
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            found = await find_public_evses(connection, wanted, after=after, limit=limit)
            connectors = await list_connectors_of(connection, found)
            in_force = await _tariffs_in_force(connection, found, connectors, at=now)
        return [
            DirectoryEntry(
                evse=evse,
                connectors=connectors.get(evse.key, []),
                tariff=self._shown(in_force.get(evse.key), locale=locale),
            )
            for evse in found
        ]

    async def find(self, name: str, *, cpo_id: str | None, locale: str, limit: int) -> list[DirectoryEntry]:
        """The EVSEs called `name`, at most `limit`: by EVSE ID in any spelling, else by uid."""
        entries = await self.search(named(name, party_id=cpo_id), after=None, limit=limit, locale=locale)
        key = evse_key(name)
        return [entry for entry in entries if entry.evse.evse_key == key] or entries

    def _shown(self, tariff: TariffRecord | None, *, locale: str) -> ShownTariff | None:
        if tariff is None:
            return None
        try:
            snapshot = self.tariffs.freeze(tariff.raw, version=tariff.version.value)
            display = self.tariffs.display(snapshot.canonical, version=snapshot.version.value, locale=locale)
        except ClearingError:  # what can't price a session is not shown as a price
            return None
        return ShownTariff(
            tariff_id=tariff.tariff_id,
            type=tariff.type,
            version=tariff.version.value,
            sha256=snapshot.sha256,
            currency=snapshot.currency,
            valid_from=tariff.valid_from,
            valid_until=tariff.valid_until,
            display=display,
        )


def named(name: str, *, party_id: str | None = None) -> EvseFilter:
    """The filter for EVSEs of this EVSE ID, separators and case aside, or of this uid."""
    return EvseFilter(evse_key=evse_key(name), evse_uid=name, party_id=party_id)


async def _tariffs_in_force(
    connection: Connection,
    evses: Sequence[FoundEvse],
    connectors: Mapping[tuple[str, str, str], Sequence[ListedConnector]],
    *,
    at: datetime,
) -> Mapping[tuple[str, str, str], TariffRecord]:
    names = sorted(
        {
            (evse.party_id, tariff_key)
            for evse in evses
            for connector in connectors.get(evse.key, ())
            for tariff_key in connector.tariff_keys
        }
    )
    known = await list_tariffs_of(connection, names, at=at)
    found = {}
    for evse in evses:
        chosen = tariff_in_force(
            [connector.tariff_keys for connector in connectors.get(evse.key, ())],
            known,
            party_id=evse.party_id,
            time_zone=evse.time_zone,
            at=at,
        )
        if chosen is not None:
            found[evse.key] = chosen
    return found


def tariff_in_force(
    tariff_keys: Iterable[Sequence[str]],
    known: Mapping[tuple[str, str], TariffRecord],
    *,
    party_id: str,
    time_zone: str,
    at: datetime,
) -> TariffRecord | None:
    """The tariff of an EVSE from its connectors' tariff ids and the tariffs known by CPO and id."""
    if not time_zone:
        return None
    for keys in tariff_keys:
        listed = [known[party_id, key] for key in keys if (party_id, key) in known]
        chosen = choose(listed, at=at)
        if chosen is not None:
            return chosen
    return None
