"""What people see of operators, in PostgreSQL: connections, what came over them, locations and tariffs.

Owns: rows. Must not know: the OCPI shapes of a version, HTTP, prices. `party_id` None is the platform, which
sees everybody's. No token is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries

_sql: Final[Any] = named_queries("gateway", "ocpi_operators.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiConnection(FromRow):
    """A platform that is invited, registered or gone; `parties` are those whose objects it may push."""

    id: UUID
    party_id: str
    state: str
    version: str | None
    versions_url: str | None
    hub_party_id: str | None
    stale_pushes: int
    created_at: datetime
    registered_at: datetime | None
    ended_at: datetime | None
    parties: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleEndpoint(FromRow):
    """Where a module of the platform answers; `role` is SENDER or RECEIVER."""

    module: str
    role: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress(FromRow):
    """How far one list of the platform has been read."""

    module: str
    since: datetime | None
    due_at: datetime
    running: bool
    seen: int
    total: int | None
    rejected: int
    failures: int
    list_short: bool
    last_error: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedObjects(FromRow):
    """How many objects of a module are here, and when one came last."""

    module: str
    objects: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPush(FromRow):
    """A message of ours that is not delivered yet; `exception_at`: it stopped, a person decides."""

    module: str
    method: str
    object_id: str
    created_at: datetime
    run_at: datetime
    attempts: int
    last_error: str | None
    exception_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedPush(FromRow):
    """A message of an operator that was rejected, with the reason that it was given."""

    id: UUID
    party_id: str
    module: str
    object_id: str | None
    version: str
    status_code: int
    reason: str
    url: str | None
    pulled: bool
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorLocation(FromRow):
    """A location as it was pushed: canonical JSON."""

    party_id: str
    location_key: str
    location_id: str
    version: str
    body: bytes
    last_updated: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorRecord(FromRow):
    """A connector with its EVSE; `tariff_keys` are tariff ids in lower case, power in watts, 0 unknown."""

    party_id: str
    location_key: str
    evse_uid: str
    evse_id: str | None
    connector_id: str
    status: str
    standard: str
    format: str
    power_type: str
    max_power_w: int
    tariff_keys: Sequence[str]
    time_zone: str

    @property
    def name(self) -> str:
        """What names it among its owner's: location in lower case, EVSE's uid, id."""
        return f"{self.location_key}/{self.evse_uid}/{self.connector_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentTariff(FromRow):
    """The version of a tariff that stands now, as it was pushed."""

    party_id: str
    tariff_key: str
    tariff_id: str
    version: str
    raw: bytes
    type: str | None
    valid_from: datetime | None
    valid_until: datetime | None
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectPosition:
    """A place in a list by owner and key."""

    party_id: str
    key: str


async def list_connections(
    connection: Connection, *, party_id: str | None, before: UUID | None, limit: int
) -> list[OcpiConnection]:
    """Connections, newest first."""
    rows = _sql.list_connections(connection, party_id=party_id, before=before, limit=limit)
    return [OcpiConnection.from_row(row) async for row in rows]


async def find_connection(
    connection: Connection, peer_id: UUID, *, party_id: str | None
) -> OcpiConnection | None:
    """One connection; None where there is none or the party has no part in it."""
    row = await _sql.find_connection(connection, id=peer_id, party_id=party_id)
    return None if row is None else OcpiConnection.from_row(row)


async def list_endpoints(connection: Connection, *, peer_id: UUID) -> list[ModuleEndpoint]:
    """The modules that a platform offers."""
    return [ModuleEndpoint.from_row(row) async for row in _sql.endpoints_of(connection, peer_id=peer_id)]


async def list_pulls(connection: Connection, *, peer_id: UUID) -> list[PullProgress]:
    """How far each list of a platform has been read."""
    return [PullProgress.from_row(row) async for row in _sql.pulls_of(connection, peer_id=peer_id)]


async def list_received(connection: Connection, *, parties: Sequence[str]) -> list[ReceivedObjects]:
    """What is here of some parties, by module."""
    rows = _sql.received_of(connection, parties=list(parties))
    return [ReceivedObjects.from_row(row) async for row in rows]


async def list_pending_pushes(
    connection: Connection, *, parties: Sequence[str], limit: int
) -> list[PendingPush]:
    """Messages of ours to some parties that are not delivered yet, the oldest first."""
    rows = _sql.pending_pushes_of(connection, parties=list(parties), limit=limit)
    return [PendingPush.from_row(row) async for row in rows]


async def list_rejections(
    connection: Connection, *, party_id: str | None, before: UUID | None, limit: int
) -> list[RejectedPush]:
    """Messages that were rejected, newest first."""
    rows = _sql.list_rejections(connection, party_id=party_id, before=before, limit=limit)
    return [RejectedPush.from_row(row) async for row in rows]


async def list_locations(
    connection: Connection, *, party_id: str | None, after: ObjectPosition | None, limit: int
) -> list[OperatorLocation]:
    """Locations by owner and id."""
    rows = _sql.list_locations(connection, party_id=party_id, limit=limit, **_after(after))
    return [OperatorLocation.from_row(row) async for row in rows]


async def list_connectors(
    connection: Connection, locations: Sequence[OperatorLocation]
) -> list[ConnectorRecord]:
    """The connectors of some locations, in each location's order."""
    rows = _sql.connectors_of(
        connection,
        party_ids=[one.party_id for one in locations],
        location_keys=[one.location_key for one in locations],
    )
    return [ConnectorRecord.from_row(row) async for row in rows]


async def list_tariffs(
    connection: Connection, *, party_id: str | None, after: ObjectPosition | None, limit: int
) -> list[CurrentTariff]:
    """Tariffs that stand now, by owner and id."""
    rows = _sql.list_tariffs(connection, party_id=party_id, limit=limit, **_after(after))
    return [CurrentTariff.from_row(row) async for row in rows]


async def find_tariff(
    connection: Connection, *, owner: str, tariff_key: str, party_id: str | None
) -> CurrentTariff | None:
    """One tariff; None where there is none or it is another party's."""
    row = await _sql.find_tariff(connection, owner=owner, tariff_key=tariff_key, party_id=party_id)
    return None if row is None else CurrentTariff.from_row(row)


async def list_connectors_with(
    connection: Connection, *, owner: str, tariff_key: str, limit: int
) -> list[ConnectorRecord]:
    """The connectors that name a tariff."""
    rows = _sql.connectors_with(connection, owner=owner, tariff_key=tariff_key, limit=limit)
    return [ConnectorRecord.from_row(row) async for row in rows]


async def find_connectors_named(
    connection: Connection, *, owner: str, tariff_key: str, name: str
) -> list[ConnectorRecord]:
    """Of the connectors that name a tariff those of a name; two at most.

    `name` is with or without the location, in upper or lower case, as OCPI's ids are compared.
    """
    rows = _sql.connectors_named(connection, owner=owner, tariff_key=tariff_key, name=name)
    return [ConnectorRecord.from_row(row) async for row in rows]


async def find_greatest_power(connection: Connection, *, owner: str, tariff_key: str) -> int:
    """Watts of the strongest connector that names a tariff; 0: none, or none is known."""
    return int(await _sql.greatest_power(connection, owner=owner, tariff_key=tariff_key))


def _after(position: ObjectPosition | None) -> Mapping[str, str | None]:
    return {
        "after_party": None if position is None else position.party_id,
        "after_key": None if position is None else position.key,
    }
