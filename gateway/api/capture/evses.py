"""EVSEs: the directory of public EVSEs, with the price to show before a start.

Owns: the query, the cursor and the wire form. Must not know how a tariff is chosen or a distance computed.
"""

import base64
import binascii
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel
from gateway.api.field_types import MAX_PAGE, Slug, foreign_cursor
from gateway.api.problems import FieldError, ProblemError
from gateway.ocpi.connector_standards import ConnectorStandard
from gateway.ocpi.connectors import evse_key
from gateway.ocpi.evse_directory import DirectoryEntry, EvseDirectory
from gateway.ocpi.repository.public_evses import Box, Circle, EvseFilter, EvsePosition
from gateway.schemas import api_schemas

# OCPI's CiString is printable ASCII; a slash can't be in a path.
_PATH: Final = "/v1/evses/{evse_id:[!-.0-~]{1,64}}"
_DEFAULT_RADIUS_M: Final = 5_000
_MAX_RADIUS_M: Final = 200_000
_MAX_POWER_W: Final = 10**9
_MAX_DISTANCE_M: Final = 10**8
_MAX_KEY: Final = 100
_EDGES: Final = 4
_cursor: Final = msgspec.json.Decoder(tuple[int, str, str, str])


class EvseStatus(StrEnum):
    """Status of an EVSE (OCPI); an EVSE that was removed is not in the directory."""

    AVAILABLE = "AVAILABLE"
    BLOCKED = "BLOCKED"
    CHARGING = "CHARGING"
    INOPERATIVE = "INOPERATIVE"
    OUTOFORDER = "OUTOFORDER"
    PLANNED = "PLANNED"
    RESERVED = "RESERVED"
    UNKNOWN = "UNKNOWN"


_Locale = Annotated[
    str,
    Field(
        pattern=r"^[a-z]{2}(-[A-Za-z]{2})?$",
        description="language of the prices: en, de, fr, it, or a locale such as de-AT; others read English",
    ),
]


class EvseQuery(QueryModel):
    """How one EVSE is shown, and whose it is."""

    cpo: Slug | None = Field(None, description="its operator, where several use the same uid")
    locale: _Locale = "en"


class EvsesQuery(EvseQuery):
    """A page of the directory; all filters in the query must match."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=512)] | None = Field(
        None, description="next_cursor of the page before"
    )
    latitude: Decimal | None = Field(
        None, ge=-90, le=90, max_digits=20, description="of a point, degrees WGS 84", examples=["51.92"]
    )
    longitude: Decimal | None = Field(
        None, ge=-180, le=180, max_digits=20, description="of a point, degrees WGS 84", examples=["4.48"]
    )
    radius_m: int | None = Field(
        None, ge=1, le=_MAX_RADIUS_M, description="metres around the point; 5000 if not given"
    )
    box: Annotated[str, Field(max_length=128)] | None = Field(
        None,
        description="south,west,north,east in degrees, not with a point; west above east spans the date line",
        examples=["51.8,4.3,52.0,4.6"],
    )
    evse_id: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")] | None = Field(
        None, description="EVSE ID with or without separators, in any case, or the operator's uid"
    )
    cpo: Slug | None = Field(None, description="only EVSEs of this operator")
    status: EvseStatus | None = Field(None, description="only EVSEs of this status")
    standard: ConnectorStandard | None = Field(None, description="only EVSEs with such a connector")
    min_power_w: int | None = Field(
        None, ge=0, le=_MAX_POWER_W, description="watts of the strongest connector, at least"
    )
    max_power_w: int | None = Field(
        None, ge=0, le=_MAX_POWER_W, description="watts of the strongest connector, at most"
    )


class EvseConnectorSchema(api_schemas.PublicSchema):
    """One connector of an EVSE, as its operator published it."""

    id: str = Field(description="connector id within the EVSE")
    standard: str | None = Field(description="ConnectorType of OCPI", examples=["IEC_62196_T2_COMBO"])
    format: str | None = Field(description="SOCKET or CABLE")
    power_type: str | None = Field(description="PowerType of OCPI", examples=["DC"])
    max_power_w: int | None = Field(description="watts; null: not known")


class EvseLocationSchema(api_schemas.PublicSchema):
    """Where an EVSE is."""

    id: str = Field(description="location id at the operator")
    name: str | None = Field(description="name of the location")
    address: str | None = Field(description="street and number")
    city: str | None = Field(description="city")
    postal_code: str | None = Field(description="postal code")
    country: str = Field(description="ISO 3166-1 alpha-2 code")
    latitude: str | None = Field(description="degrees WGS 84; null: not known", examples=["51.92"])
    longitude: str | None = Field(description="degrees WGS 84; null: not known", examples=["4.48"])
    time_zone: str | None = Field(description="IANA time zone in which the tariff's times are")


class EvseTariffSchema(api_schemas.PublicSchema):
    """The operator's public tariff in force, which an authorization at this EVSE would freeze now."""

    id: str = Field(description="tariff id at the operator")
    type: str | None = Field(description="TariffType of OCPI; null: for every session")
    version: str = Field(description="OCPI version of the tariff", examples=["2.2.1"])
    sha256: str = Field(description="hash of the canonical tariff", min_length=64, max_length=64)
    currency: api_schemas.Currency
    valid_from: api_schemas.Instant | None = Field(description="in force from then on; null: no limit")
    valid_until: api_schemas.Instant | None = Field(description="not in force from then on; null: no limit")
    display: list[str] = Field(
        description="price components to show before the start: per kWh, per minute, per session, others",
        examples=[["0.5929 EUR per kWh (incl. 21 % VAT)"]],
    )


class EvseSchema(api_schemas.PublicSchema):
    """A public EVSE of a connected operator, with the price to show before a session starts."""

    object: Literal["evse"] = "evse"
    evse_id: str | None = Field(description="EVSE ID as the operator writes it; null: it has none")
    uid: str = Field(description="the operator's own id; usable as evse_id of an authorization")
    cpo: str = Field(description="party id of the operator")
    operator: str | None = Field(description="name of the operator as published")
    status: str = Field(description="Status of OCPI", examples=["AVAILABLE"])
    location: EvseLocationSchema = Field(description="where it is")
    distance_m: int | None = Field(description="metres from the point of the search; null: none was given")
    connectors: list[EvseConnectorSchema] = Field(description="its connectors, in the operator's order")
    tariff: EvseTariffSchema | None = Field(
        description="for payment by card (ad hoc) and by app alike; null: no price is known, so no session "
        "can be authorized here"
    )
    last_updated: api_schemas.Instant = Field(description="the operator's last change of this EVSE")


async def list_all(call: ApiRequest) -> ApiResponse:
    """A page of the directory."""
    query: EvsesQuery = call.query
    wanted = _wanted(query)
    entries = await _directory(call).search(
        wanted, after=_after(query.cursor), limit=query.limit + 1, locale=query.locale
    )
    shown, has_more = entries[: query.limit], len(entries) > query.limit
    measured = isinstance(wanted.place, Circle)
    return ApiResponse(
        body={
            "object": "list",
            "data": [_shown(entry, measured=measured) for entry in shown],
            "has_more": has_more,
            "next_cursor": _cursor_of(shown[-1].evse.position) if has_more else None,
        }
    )


async def get(call: ApiRequest) -> ApiResponse:
    """One EVSE by its EVSE ID in any spelling, or by its uid."""
    return ApiResponse(body=_shown(await find_evse(call), measured=False))


async def find_evse(call: ApiRequest) -> DirectoryEntry:
    """The EVSE that the path names. Raises ProblemError where there is none, or several operators' are."""
    name, query = call.path["evse_id"], call.query
    if not evse_key(name):
        raise ProblemError(problems.EVSE_NOT_FOUND, "An EVSE ID has letters or digits.")
    found = await _directory(call).find(name, cpo_id=query.cpo, locale=query.locale, limit=MAX_PAGE)
    if not found:
        raise ProblemError(problems.EVSE_NOT_FOUND, f"No operator publishes an EVSE {name}.")
    owners = sorted({entry.evse.party_id for entry in found})
    if len(owners) > 1:
        raise ProblemError(
            problems.EVSE_NOT_FOUND,
            f"EVSEs of several operators are called {name}: {', '.join(owners)}.",
            errors=[FieldError(pointer="/cpo", expected="the operator of the EVSE that is meant")],
        )
    return max(found, key=lambda entry: entry.evse.last_updated)


def _directory(call: ApiRequest) -> EvseDirectory:
    if call.services.evse_directory is None:
        raise ProblemError(problems.UNAVAILABLE, "This process has no OCPI.")
    return call.services.evse_directory


def _wanted(query: EvsesQuery) -> EvseFilter:
    low, high = query.min_power_w, query.max_power_w
    if low is not None and high is not None and low > high:
        raise _invalid("/max_power_w", f"at least min_power_w, which is {low}")
    if query.evse_id is not None and not evse_key(query.evse_id):
        raise _invalid("/evse_id", "an EVSE ID or uid with letters or digits")
    return EvseFilter(
        place=_place(query),
        evse_key=None if query.evse_id is None else evse_key(query.evse_id),
        evse_uid=query.evse_id,
        party_id=query.cpo,
        status=None if query.status is None else query.status.value,
        standard=None if query.standard is None else query.standard.value,
        min_power_w=low,
        max_power_w=high,
    )


def _place(query: EvsesQuery) -> Box | Circle | None:
    latitude, longitude = query.latitude, query.longitude
    if query.box is not None:
        if (latitude, longitude, query.radius_m) != (None, None, None):
            raise _invalid("/box", "either a box, or latitude and longitude")
        return _box(query.box)
    if latitude is None and longitude is None and query.radius_m is None:
        return None
    if latitude is None:
        raise _invalid("/latitude", "degrees from -90 to 90, together with longitude")
    if longitude is None:
        raise _invalid("/longitude", "degrees from -180 to 180, together with latitude")
    return Circle(latitude=latitude, longitude=longitude, radius_m=query.radius_m or _DEFAULT_RADIUS_M)


def _box(text: str) -> Box:
    try:
        edges = [Decimal(edge) for edge in text.split(",")]
    except InvalidOperation:
        edges = []
    if len(edges) == _EDGES and all(edge.is_finite() for edge in edges):
        south, west, north, east = edges
        if -90 <= south <= north <= 90 and abs(west) <= 180 and abs(east) <= 180:  # noqa: PLR2004 - degrees
            return Box(south=south, west=west, north=north, east=east)
    raise _invalid("/box", "south,west,north,east in degrees, such as 51.8,4.3,52.0,4.6")


def _invalid(pointer: str, expected: str) -> ProblemError:
    return ProblemError(
        problems.INVALID_PARAMETERS,
        f"{pointer}: {expected}.",
        errors=[FieldError(pointer=pointer, expected=expected)],
    )


def _cursor_of(position: EvsePosition) -> str:
    parts = (position.distance_m, position.party_id, position.location_key, position.evse_uid_key)
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


def _after(cursor: str | None) -> EvsePosition | None:
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        distance, *keys = _cursor.decode(raw)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        distance, keys = -1, []
    fit = all(len(key) <= _MAX_KEY and key.isascii() and key.isprintable() for key in keys)
    if not 0 <= distance <= _MAX_DISTANCE_M or not fit:
        raise foreign_cursor()
    party_id, location_key, evse_uid_key = keys
    return EvsePosition(
        distance_m=distance, party_id=party_id, location_key=location_key, evse_uid_key=evse_uid_key
    )


def _shown(entry: DirectoryEntry, *, measured: bool) -> EvseSchema:
    evse, tariff = entry.evse, entry.tariff
    return EvseSchema(
        evse_id=evse.evse_id,
        uid=evse.evse_uid,
        cpo=evse.party_id,
        operator=evse.operator_name,
        status=evse.status,
        location=EvseLocationSchema(
            id=evse.location_id,
            name=evse.name,
            address=evse.address,
            city=evse.city,
            postal_code=evse.postal_code or None,
            country=evse.country,
            latitude=_degrees(evse.latitude),
            longitude=_degrees(evse.longitude),
            time_zone=evse.time_zone or None,
        ),
        distance_m=evse.distance_m if measured else None,
        connectors=[
            EvseConnectorSchema(
                id=connector.connector_id,
                standard=connector.standard or None,
                format=connector.format or None,
                power_type=connector.power_type or None,
                max_power_w=connector.max_power_w or None,
            )
            for connector in entry.connectors
        ],
        tariff=None
        if tariff is None
        else EvseTariffSchema(
            id=tariff.tariff_id,
            type=tariff.type,
            version=tariff.version,
            sha256=tariff.sha256,
            currency=tariff.currency,
            valid_from=tariff.valid_from,
            valid_until=tariff.valid_until,
            display=list(tariff.display),
        ),
        last_updated=evse.last_updated,
    )


def _degrees(value: Decimal | None) -> str | None:
    return None if value is None else format(value.normalize(), "f")


_COMMON: Final[dict[str, Any]] = {
    "method": "GET",
    "tag": "EVSEs",
    "answers": {200: EvseSchema},
}
ENDPOINTS: Final = (
    ApiEndpoint(
        path="/v1/evses",
        operation="listEvses",
        summary="List EVSEs",
        description="Public EVSEs of all operators: around a point (`latitude`, `longitude`, `radius_m`), "
        "nearest first, in a `box`, or all; each with the price to show before a session starts. Keep "
        "the filters and pass `next_cursor` for the next page.",
        handler=list_all,
        query=EvsesQuery,
        listed=True,
        **_COMMON,
    ),
    ApiEndpoint(
        path=_PATH,
        operation="getEvse",
        summary="Get an EVSE",
        description="By its EVSE ID, with or without separators and in any case, or by its operator's uid.",
        handler=get,
        query=EvseQuery,
        problems=(problems.EVSE_NOT_FOUND,),
        **_COMMON,
    ),
)
