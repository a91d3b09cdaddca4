"""What CPOs pushed, gathered for the publications of a national access point.

Owns: which locations and tariffs are exported. Must not know: the shape of DATEX II, files.
"""

from collections.abc import Mapping
from datetime import datetime

from clearing.errors import ClearingError
from clearing.pricing.tariff import Tariff, parse_tariff
from gateway.database import Connection
from gateway.ocpi.connectors import read_connectors
from gateway.ocpi.datex2.publication import ExportedEvse, ExportedLocation
from gateway.ocpi.errors import OcpiRejectionError
from gateway.ocpi.evse_directory import tariff_in_force
from gateway.ocpi.public_evses import read_public_evses
from gateway.ocpi.repository.objects import Connector, TariffRecord
from gateway.ocpi.repository.public_evses import PublicLocation, list_public_locations, list_tariffs_of
from gateway.ocpi.request_bodies import Tree, read_object


async def read_locations(
    connection: Connection, *, country: str, party_id: str | None, at: datetime
) -> list[ExportedLocation]:
    """The public locations of a country with their EVSEs and tariffs in force at `at` (aware)."""
    stored = await list_public_locations(connection, country=country, party_id=party_id)
    found = [read for one in stored if (read := _read(one)) is not None]
    names = {(c.party_id, key) for _, _, connectors in found for c in connectors for key in c.tariff_keys}
    known = await list_tariffs_of(connection, sorted(names), at=at)
    locations = (_location(one, tree, connectors, known, at=at) for one, tree, connectors in found)
    return [location for location in locations if location.evses]


def _read(stored: PublicLocation) -> tuple[PublicLocation, Tree, list[Connector]] | None:
    """A stored location; None where an earlier release stored what would be rejected now."""
    try:
        tree = read_object(stored.body, name="location").tree
        return stored, tree, read_connectors(tree, party_id=stored.party_id)
    except OcpiRejectionError:
        return None


def _location(
    stored: PublicLocation,
    tree: Tree,
    connectors: list[Connector],
    known: Mapping[tuple[str, str], TariffRecord],
    *,
    at: datetime,
) -> ExportedLocation:
    evses = read_public_evses(
        tree, connectors=connectors, version=stored.version, changed_at=stored.last_updated
    )
    exported = []
    for evse in evses:
        own = [one for one in connectors if one.evse_uid.lower() == evse.evse_uid.lower()]
        record = tariff_in_force(
            [one.tariff_keys for one in own],
            known,
            party_id=stored.party_id,
            time_zone=evse.time_zone,
            at=at,
        )
        exported.append(
            ExportedEvse(
                evse=evse,
                connectors=own,
                tariff=None if record is None else _readable(record),
                tariff_known_at=None if record is None else record.received_at,
            )
        )
    return ExportedLocation(
        party_id=stored.party_id,
        tree=tree,
        last_updated=stored.last_updated,
        operator=next((evse.operator_name for evse in evses if evse.operator_name), None)
        or stored.role_name
        or stored.party_id,
        evses=exported,
    )


def _readable(record: TariffRecord) -> Tariff | None:
    try:
        return parse_tariff(record.raw, version=record.version)
    except ClearingError:
        return None
