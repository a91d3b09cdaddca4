"""Locations, tariffs and running sessions as CPOs pushed them, in PostgreSQL.

Owns: rows of what was pushed, the history of tariffs, the projection of connectors that authorizations read.
Must not know: the OCPI shapes of a version, HTTP. Keys are lower case, for OCPI ids ignore case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from clearing.pricing import json_document as document
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Connection, named_queries
from gateway.ids import new_id

_sql = named_queries("gateway", "ocpi_objects.sql")
_URL_KEPT: Final = 2048
_REJECTIONS_KEPT: Final = 1000


class Saved(StrEnum):
    """What became of an object that was pushed or pulled."""

    CREATED = "created"
    REPLACED = "replaced"
    STALE = "stale"  # a newer one is kept: nothing has changed


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiObjectRecord:
    """A kept location or session: canonical JSON, the OCPI version it is written in.

    `last_updated` is the CPO's own.
    """

    body: bytes
    version: OcpiVersion
    last_updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """One connector with what its location and EVSE say of it.

    `evse_key` is the EVSE ID without separators in upper case, `tariff_keys` tariff ids in lower case,
    `time_zone` an IANA name or empty, `country` ISO 3166-1 alpha-2, `max_power_w` watts; `standard` and
    `format` as pushed, or empty.
    """

    party_id: str
    location_id: str
    evse_uid: str
    evse_id: str | None
    evse_key: str | None
    connector_id: str
    status: str
    standard: str
    format: str
    power_type: str
    max_power_w: int
    tariff_keys: tuple[str, ...]
    time_zone: str
    country: str
    postal_code: str
    tax_jurisdiction: str


_CONNECTOR_COLUMNS: Final = tuple(field.name for field in fields(Connector))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTariff:
    """A tariff as pushed: its bytes and the fields by which it is found.

    Validity is `valid_from` <= t < `valid_until`.
    """

    party_id: str
    tariff_id: str
    version: OcpiVersion
    raw: bytes
    type: str | None
    valid_from: datetime | None
    valid_until: datetime | None
    last_updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffRecord:
    """One version of a tariff; `superseded_at` is when it was replaced or deleted."""

    tariff_id: str
    version: OcpiVersion
    raw: bytes
    type: str | None
    valid_from: datetime | None
    valid_until: datetime | None
    received_at: datetime
    superseded_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundConnectors:
    """Connectors by the name of their EVSE, and the tariffs of the one that is meant; None: none can be."""

    connectors: Sequence[Connector]
    meant: Connector | None
    tariffs: Sequence[TariffRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUpdate:
    """A running session to keep: canonical JSON and the fields by which it is found; energy in watt-hours."""

    party_id: str
    session_ref: str
    version: OcpiVersion
    body: bytes
    status: str
    currency: str
    energy_wh: int
    authorization_reference: str | None
    last_updated: datetime


async def load_location(
    connection: Connection, *, party_id: str, location_id: str, lock: bool = False
) -> OcpiObjectRecord | None:
    """A kept location; `lock` holds its row until the transaction ends."""
    query = _sql.lock_location if lock else _sql.load_location
    return _object(await query(connection, party_id=party_id, location_key=location_id.lower()))


async def save_location(
    connection: Connection,
    *,
    party_id: str,
    location_id: str,
    stored: OcpiObjectRecord,
    connectors: Sequence[Connector],
    now: datetime,
) -> Saved:
    """Keep a location and rewrite its connectors, unless a newer one is kept. Call it in a transaction."""
    key = location_id.lower()
    created: bool | None = await _sql.save_location(
        connection,
        party_id=party_id,
        location_key=key,
        location_id=location_id,
        version=stored.version.value,
        body=stored.body,
        last_updated=stored.last_updated,
        now=now,
    )
    if created is None:
        return Saved.STALE
    await _sql.forget_connectors(connection, party_id=party_id, location_key=key)
    if connectors:
        await _sql.add_connector(
            connection,
            [_connector_row(connector, position=position) for position, connector in enumerate(connectors)],
        )
    return Saved.CREATED if created else Saved.REPLACED


def _connector_row(connector: Connector, *, position: int) -> dict[str, Any]:
    return {
        **asdict(connector),
        "tariff_keys": list(connector.tariff_keys),
        "location_key": connector.location_id.lower(),
        "evse_uid_key": connector.evse_uid.lower(),
        "connector_key": connector.connector_id.lower(),
        "position": position,
    }


async def find_connectors(
    connection: Connection, *, evse_key: str, evse_uid: str, party_id: str | None
) -> list[Connector]:
    """Connectors whose EVSE has this EVSE ID, first, or this uid; of one CPO or of all."""
    rows = _sql.find_connectors(
        connection, evse_key=evse_key, evse_uid_key=evse_uid.lower(), party_id=party_id
    )
    return [_connector(row) async for row in rows]


async def find_connectors_with_tariffs(
    connection: Connection,
    *,
    evse_key: str,
    evse_uid: str,
    party_id: str | None,
    connector_id: str | None,
    at: datetime,
) -> FoundConnectors:
    """As `find_connectors`, read together with the tariffs of the one that is meant, as they stood at `at`.

    Meant is the first with tariffs whose EVSE ID fits (where none does: its uid), of `connector_id` if given.
    """
    rows = _sql.connectors_with_tariffs(
        connection,
        evse_key=evse_key,
        evse_uid_key=evse_uid.lower(),
        party_id=party_id,
        connector_key=None if connector_id is None else connector_id.lower(),
        at=at,
    )
    by_place: dict[int, Connector] = {}
    meant, tariffs = None, []
    async for row in rows:
        place = row["place"]
        if place not in by_place:
            by_place[place] = _connector(row)
        if row["meant"]:
            meant = by_place[place]
            if row["tariff_id"] is not None:
                tariffs.append(tariff_record(row))
    return FoundConnectors(connectors=list(by_place.values()), meant=meant, tariffs=tariffs)


def _connector(row: Mapping[str, Any]) -> Connector:
    values = {name: row[name] for name in _CONNECTOR_COLUMNS}
    return Connector(**{**values, "tariff_keys": tuple(row["tariff_keys"])})


async def list_evses(connection: Connection, *, party_id: str, location_id: str) -> list[str]:
    """The uids of a location's EVSEs that are not removed, in the location's order."""
    rows = _sql.evses_of(connection, party_id=party_id, location_key=location_id.lower())
    return [row["evse_uid"] async for row in rows]


async def find_current_tariff(
    connection: Connection, *, party_id: str, tariff_id: str
) -> OcpiObjectRecord | None:
    """The tariff as last pushed, or None when never pushed or deleted."""
    row = await _sql.current_tariff(connection, party_id=party_id, tariff_key=tariff_id.lower())
    if row is None:
        return None
    return OcpiObjectRecord(
        body=row["raw"], version=OcpiVersion(row["version"]), last_updated=row["last_updated"]
    )


async def save_tariff(connection: Connection, tariff: NewTariff, *, now: datetime) -> Saved:
    """Keep a tariff as the current version, unless a newer one is current. Call it in a transaction.

    The same content again changes nothing, so that a repeated push, or a pull of what was pushed, leaves no
    mark in the history.
    """
    key = tariff.tariff_id.lower()
    await _sql.claim_tariff(connection, party_id=tariff.party_id, tariff_key=key)
    current = await _sql.lock_current_tariff(connection, party_id=tariff.party_id, tariff_key=key)
    if current is not None and _same_tariff(current, tariff):
        return Saved.REPLACED
    if current is not None and current["last_updated"] > tariff.last_updated:
        return Saved.STALE
    if current is not None:
        await _sql.supersede_tariff(connection, party_id=tariff.party_id, tariff_key=key, now=now)
    await _sql.add_tariff(
        connection,
        id=new_id(),
        party_id=tariff.party_id,
        tariff_key=key,
        tariff_id=tariff.tariff_id,
        version=tariff.version.value,
        raw=tariff.raw,
        type=tariff.type,
        valid_from=tariff.valid_from,
        valid_until=tariff.valid_until,
        last_updated=tariff.last_updated,
        now=now,
    )
    return Saved.CREATED if current is None else Saved.REPLACED


def _same_tariff(current: Mapping[str, Any], tariff: NewTariff) -> bool:
    if current["version"] != tariff.version.value:
        return False
    return current["raw"] == tariff.raw or _content(current["raw"]) == _content(tariff.raw)


def _content(raw: bytes) -> bytes:
    return document.canonical(document.load(raw, document="tariff"), document="tariff")


async def delete_tariff(connection: Connection, *, party_id: str, tariff_id: str, now: datetime) -> bool:
    """End the current version of a tariff; its history stays. False when there is none."""
    ended = await _sql.supersede_tariff(connection, party_id=party_id, tariff_key=tariff_id.lower(), now=now)
    return ended is not None


async def list_tariffs_known_at(
    connection: Connection, *, party_id: str, tariff_keys: Sequence[str], at: datetime
) -> list[TariffRecord]:
    """Of each named tariff the version that stood at `at`, or the first one when `at` is before all.

    Deleted ones are left out.
    """
    rows = _sql.tariffs_known_at(connection, party_id=party_id, tariff_keys=list(tariff_keys), at=at)
    return [tariff_record(row) async for row in rows]


async def list_tariff_currencies(connection: Connection) -> list[str]:
    """ISO 4217 codes of all tariffs that operators have published and not withdrawn, sorted."""
    return [row["currency"] async for row in _sql.tariff_currencies(connection) if row["currency"]]


async def load_session(
    connection: Connection, *, party_id: str, session_ref: str, lock: bool = False
) -> OcpiObjectRecord | None:
    """A kept running session; `lock` holds its row until the transaction ends."""
    query = _sql.lock_session if lock else _sql.load_session
    return _object(await query(connection, party_id=party_id, session_key=session_ref.lower()))


async def save_session(
    connection: Connection, update: SessionUpdate, *, watched: bool, now: datetime, wall_now: datetime
) -> Saved:
    """Keep a running session, unless a newer one is kept.

    `watched` has its cost compared with what is held.
    """
    created: bool | None = await _sql.save_session(
        connection,
        party_id=update.party_id,
        session_key=update.session_ref.lower(),
        session_ref=update.session_ref,
        version=update.version.value,
        body=update.body,
        status=update.status,
        currency=update.currency,
        energy_wh=update.energy_wh,
        authorization_reference=update.authorization_reference,
        last_updated=update.last_updated,
        now=now,
        wall_now=wall_now,
        watched=watched,
    )
    if created is None:
        return Saved.STALE
    return Saved.CREATED if created else Saved.REPLACED


async def count_stale(connection: Connection, *, peer_id: UUID) -> None:
    """Count a push of a peer that was older than what is kept."""
    await _sql.count_stale(connection, peer_id=peer_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueSession:
    """A running session whose cost is to be checked; `due_at` is the lease, `attempts` counts this one."""

    party_id: str
    session_key: str
    attempts: int
    due_at: datetime
    session_ref: str
    version: OcpiVersion
    body: bytes
    energy_wh: int
    authorization_reference: str | None
    last_updated: datetime


async def lease_due_session(
    connection: Connection, *, wall_now: datetime, leased_until: datetime
) -> DueSession | None:
    """The longest due session, kept from others until `leased_until`."""
    row = await _sql.take_due_session(connection, wall_now=wall_now, leased_until=leased_until)
    return None if row is None else DueSession(**{**dict(row), "version": OcpiVersion(row["version"])})


async def finish_due_session(connection: Connection, due: DueSession) -> None:
    """The session was checked; an update that arrived meanwhile keeps it due."""
    await _sql.session_done(connection, party_id=due.party_id, session_key=due.session_key, due_at=due.due_at)


async def add_rejection(
    connection: Connection,
    *,
    party_id: str,
    module: str,
    object_id: str | None,
    version: OcpiVersion,
    status_code: int,
    reason: str,
    raw: bytes,
    url: str,
    now: datetime,
    pulled: bool = False,
) -> None:
    """Keep a push, or a `pulled` object, that was rejected; of each party the newest thousand stay.

    `url`: the path of the push or the address of the page.
    """
    await _sql.add_rejection(
        connection,
        id=new_id(),
        party_id=party_id,
        module=module,
        object_id=object_id,
        version=version.value,
        status_code=status_code,
        reason=reason,
        raw=raw,
        url=url[:_URL_KEPT],
        pulled=pulled,
        now=now,
    )
    await _sql.trim_rejections(connection, party_id=party_id, keep=_REJECTIONS_KEPT)


async def list_rejections(
    connection: Connection, *, party_id: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """The newest rejected pushes, without their bytes."""
    return [dict(row) async for row in _sql.list_rejections(connection, party_id=party_id, row_limit=limit)]


def _object(row: Any) -> OcpiObjectRecord | None:
    if row is None:
        return None
    return OcpiObjectRecord(
        body=row["body"], version=OcpiVersion(row["version"]), last_updated=row["last_updated"]
    )


def tariff_record(row: Mapping[str, Any]) -> TariffRecord:
    """A row of a version of a tariff."""
    return TariffRecord(
        tariff_id=row["tariff_id"],
        version=OcpiVersion(row["version"]),
        raw=row["raw"],
        type=row["type"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        received_at=row["received_at"],
        superseded_at=row["superseded_at"],
    )


async def find_last_update(
    connection: Connection, *, cpo_id: str, session_ref: str | None, references: Sequence[str]
) -> DueSession | None:
    """The last update of a running session, by the CPO's id of it or one of our references; None: unknown."""
    row = await _sql.last_update(
        connection, cpo_id=cpo_id, references=list(references), session_key=(session_ref or "").lower()
    )
    if row is None:
        return None
    return DueSession(
        party_id=cpo_id,
        session_key=row["session_ref"].lower(),
        attempts=0,
        due_at=row["last_updated"],
        session_ref=row["session_ref"],
        version=OcpiVersion(row["version"]),
        body=row["body"],
        energy_wh=row["energy_wh"],
        authorization_reference=None,
        last_updated=row["last_updated"],
    )
