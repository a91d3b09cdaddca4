"""The directory of public EVSEs, in PostgreSQL: rewritten with each location, searched by partners.

Owns: the rows of the directory and how they are searched. Must not know: the OCPI shapes of a version, HTTP,
prices. Distances are great circles on a sphere of the Earth's mean radius, in whole metres.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Connection, FromRow, named_queries
from gateway.ocpi.repository.objects import TariffRecord, tariff_record

_sql = named_queries("gateway", "ocpi_public_evses.sql")
_METRES_PER_DEGREE: Final = Decimal(111_000)  # a little less than of a meridian, so that no box is too small
_POLE: Final = Decimal(90)
_DATE_LINE: Final = Decimal(180)
_NEAR_POLE: Final = Decimal(89)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicEvse:
    """One EVSE as the directory stores it.

    Coordinates in degrees (WGS 84), both None where unknown; `standards` upper case, `max_power_w` watts of
    the strongest connector, 0 where unknown; `last_updated` is the CPO's own.
    """

    party_id: str
    location_id: str
    evse_uid: str
    evse_id: str | None
    evse_key: str | None
    status: str
    latitude: Decimal | None
    longitude: Decimal | None
    name: str | None
    address: str | None
    city: str | None
    postal_code: str
    country: str
    time_zone: str
    operator_name: str | None
    standards: tuple[str, ...]
    max_power_w: int
    last_updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle of degrees, edges included; `west` above `east` spans the date line."""

    south: Decimal
    west: Decimal
    north: Decimal
    east: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """All places within `radius_m` metres of a point in degrees."""

    latitude: Decimal
    longitude: Decimal
    radius_m: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvseFilter:
    """Which EVSEs are wanted; None leaves a field open. Power in watts, bounds included."""

    place: Box | Circle | None = None
    evse_key: str | None = None
    evse_uid: str | None = None
    party_id: str | None = None
    status: str | None = None
    standard: str | None = None
    min_power_w: int | None = None
    max_power_w: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvsePosition:
    """Where a page of the directory ended: distance in metres, then the row's key."""

    distance_m: int
    party_id: str
    location_key: str
    evse_uid_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEvse(FromRow):
    """A row of the directory; `distance_m` is 0 where no circle was asked for."""

    party_id: str
    location_key: str
    evse_uid_key: str
    location_id: str
    evse_uid: str
    evse_id: str | None
    evse_key: str | None
    status: str
    latitude: Decimal | None
    longitude: Decimal | None
    name: str | None
    address: str | None
    city: str | None
    postal_code: str
    country: str
    time_zone: str
    operator_name: str | None
    last_updated: datetime
    distance_m: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What its connectors are found by."""
        return self.party_id, self.location_key, self.evse_uid_key

    @property
    def position(self) -> EvsePosition:
        """Where a page that ends with this EVSE goes on."""
        return EvsePosition(
            distance_m=self.distance_m,
            party_id=self.party_id,
            location_key=self.location_key,
            evse_uid_key=self.evse_uid_key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedConnector:
    """One connector of the directory: watts, 0 where unknown; tariff ids in lower case."""

    connector_id: str
    standard: str
    format: str
    power_type: str
    max_power_w: int
    tariff_keys: tuple[str, ...]


async def rewrite_public_evses(
    connection: Connection, *, party_id: str, location_id: str, evses: Sequence[PublicEvse]
) -> None:
    """Replace the directory's entries of one location. In the transaction that saves the location."""
    key = location_id.lower()
    await _sql.forget_public_evses(connection, party_id=party_id, location_key=key)
    if evses:
        await _sql.add_public_evse(
            connection,
            [
                {
                    **asdict(evse),
                    "standards": list(evse.standards),
                    "location_key": key,
                    "evse_uid_key": evse.evse_uid.lower(),
                }
                for evse in evses
            ],
        )


async def find_public_evses(
    connection: Connection, wanted: EvseFilter, *, after: EvsePosition | None, limit: int
) -> list[FoundEvse]:
    """A page of the directory: nearest first where a circle is asked for, else by CPO, location and uid."""
    place = wanted.place
    circle = place if isinstance(place, Circle) else None
    box = box_around(place) if isinstance(place, Circle) else place
    rows = _sql.find_public_evses(
        connection,
        latitude=None if circle is None else circle.latitude,
        longitude=None if circle is None else circle.longitude,
        radius_m=None if circle is None else circle.radius_m,
        south=None if box is None else box.south,
        west=None if box is None else box.west,
        north=None if box is None else box.north,
        east=None if box is None else box.east,
        evse_key=wanted.evse_key,
        evse_uid_key=None if wanted.evse_uid is None else wanted.evse_uid.lower(),
        party_id=wanted.party_id,
        status=wanted.status,
        standard=None if wanted.standard is None else wanted.standard.upper(),
        min_power_w=wanted.min_power_w,
        max_power_w=wanted.max_power_w,
        after_distance_m=None if after is None else after.distance_m,
        after_party_id=None if after is None else after.party_id,
        after_location_key=None if after is None else after.location_key,
        after_evse_uid_key=None if after is None else after.evse_uid_key,
        row_limit=limit,
    )
    return [FoundEvse.from_row(row) async for row in rows]


def box_around(circle: Circle) -> Box:
    """A box that holds the whole circle: every longitude where the circle comes near a pole."""
    reach = Decimal(circle.radius_m) / _METRES_PER_DEGREE
    south, north = circle.latitude - reach, circle.latitude + reach
    widest = max(abs(south), abs(north))
    if widest >= _NEAR_POLE:
        return Box(south=max(south, -_POLE), west=-_DATE_LINE, north=min(north, _POLE), east=_DATE_LINE)
    # cos(x) >= 1 - x/90 for x from 0 to 90 degrees: the box is never too narrow.
    sideways = reach / (1 - widest / _POLE)
    if sideways >= _DATE_LINE:
        return Box(south=south, west=-_DATE_LINE, north=north, east=_DATE_LINE)
    return Box(
        south=south,
        west=_on_the_map(circle.longitude - sideways),
        north=north,
        east=_on_the_map(circle.longitude + sideways),
    )


def _on_the_map(longitude: Decimal) -> Decimal:
    if longitude < -_DATE_LINE:
        return longitude + 2 * _DATE_LINE
    return longitude - 2 * _DATE_LINE if longitude > _DATE_LINE else longitude


async def list_connectors_of(
    connection: Connection, evses: Sequence[FoundEvse]
) -> Mapping[tuple[str, str, str], list[ListedConnector]]:
    """The connectors of a page of EVSEs, each in its location's order, by the EVSE's key."""
    rows = _sql.connectors_of(
        connection,
        party_ids=[evse.party_id for evse in evses],
        location_keys=[evse.location_key for evse in evses],
        evse_uid_keys=[evse.evse_uid_key for evse in evses],
    )
    found: dict[tuple[str, str, str], list[ListedConnector]] = {}
    async for row in rows:
        found.setdefault((row["party_id"], row["location_key"], row["evse_uid_key"]), []).append(
            ListedConnector(
                connector_id=row["connector_id"],
                standard=row["standard"],
                format=row["format"],
                power_type=row["power_type"],
                max_power_w=row["max_power_w"],
                tariff_keys=tuple(row["tariff_keys"]),
            )
        )
    return found


async def list_tariffs_of(
    connection: Connection, names: Sequence[tuple[str, str]], *, at: datetime
) -> Mapping[tuple[str, str], TariffRecord]:
    """Of each tariff (CPO, id in lower case) the version that stood at `at`; deleted ones are left out."""
    rows = _sql.tariffs_of(
        connection, party_ids=[name[0] for name in names], tariff_keys=[name[1] for name in names], at=at
    )
    return {(row["party_id"], row["tariff_key"]): tariff_record(row) async for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicLocation:
    """A location with a public EVSE, whole; `role_name` is its CPO's name in the credentials, if any."""

    party_id: str
    version: OcpiVersion
    body: bytes
    last_updated: datetime
    role_name: str | None


async def list_public_locations(
    connection: Connection, *, country: str, party_id: str | None
) -> list[PublicLocation]:
    """The locations of a country (ISO 3166-1 alpha-2) with public EVSEs, of one CPO or of all."""
    rows = _sql.public_locations(connection, country=country, party_id=party_id)
    return [
        PublicLocation(
            party_id=row["party_id"],
            version=OcpiVersion(row["version"]),
            body=row["body"],
            last_updated=row["last_updated"],
            role_name=row["role_name"],
        )
        async for row in rows
    ]
