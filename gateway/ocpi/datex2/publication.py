"""The two publications of DATEX II for a national access point: the table of sites, and their status.

Owns: the shape of both, ids and versions of their objects. Must not know: SQL, files, how a price is written.
Source: DATEX II profile AFIR Energy Infrastructure 01-00-00 (documentation revision 2), JSON encoding;
Implementing Regulation (EU) 2025/655. A site is an OCPI location with one station, for OCPI knows no station;
a refill point is an EVSE. An id follows from the CPO's ids and a version from the content, so both are the
same in every export of the same data.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5
from zoneinfo import ZoneInfo

import msgspec

from clearing.pricing.explain import display_prices
from clearing.pricing.tariff import Tariff
from gateway.ocpi.datex2.prices import energy_prices, in_language
from gateway.ocpi.datex2.values import AUTHENTICATION, CONNECTORS, PAYMENT_MEANS, STATUSES
from gateway.ocpi.envelope import timestamp
from gateway.ocpi.location_tree import find_part
from gateway.ocpi.repository.objects import Connector
from gateway.ocpi.repository.public_evses import PublicEvse
from gateway.ocpi.request_bodies import Tree

_encoder: Final = msgspec.json.Encoder(decimal_format="number", order="sorted")
_VERSION_DIGITS: Final = 12
_PROFILE: Final = {
    "modelBaseVersionG": "3",
    "profileNameG": "AFIR Energy Infrastructure",
    "profileVersionG": "01-00-00",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Who publishes: the id by which the national access point knows it, and how the data is marked."""

    country: str
    identifier: str
    language: str
    test: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedEvse:
    """A public EVSE with its connectors and the tariff for ad hoc payment; None where none is in force."""

    evse: PublicEvse
    connectors: Sequence[Connector]
    tariff: Tariff | None
    tariff_known_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedLocation:
    """A public location as stored, with its public EVSEs; `operator` is its published name."""

    party_id: str
    tree: Tree
    last_updated: datetime
    operator: str
    evses: Sequence[ExportedEvse]


@dataclass(slots=True, kw_only=True)
class Omissions:
    """What was left out, by EVSE or connector as `CPO location uid`."""

    without_place: list[str] = field(default_factory=list)
    without_current: list[str] = field(default_factory=list)
    connectors_without_power: list[str] = field(default_factory=list)
    without_price: list[str] = field(default_factory=list)
    prices_in_words: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publications:
    """Both publications as JSON, and what is not in them."""

    table: bytes
    status: bytes
    sites: int
    points: int
    omissions: Omissions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """A refill point's static and dynamic part."""

    static: dict[str, Any]
    status: dict[str, Any]
    power_w: int


def publish(
    locations: Sequence[ExportedLocation], *, publisher: Publisher, at: datetime
) -> Publications | None:
    """Both publications as of `at` (aware); None where no EVSE can be in them."""
    omissions = Omissions()
    sites = []
    for location in locations:
        points = list(_points(location, publisher=publisher, at=at, omissions=omissions))
        if points:
            sites.append((location, points))
    if not sites:
        return None
    tables = [_site(location, points, language=publisher.language) for location, points in sites]
    table = _versioned({"energyInfrastructureSite": tables}, name=f"table {publisher.identifier}")
    statuses = [
        _site_status(location, site, points) for (location, points), site in zip(sites, tables, strict=True)
    ]
    header = _header(publisher, at=at)
    return Publications(
        table=_encoder.encode(
            {
                "payload": {
                    **_PROFILE,
                    "aegiEnergyInfrastructureTablePublication": {
                        **header,
                        "energyInfrastructureTable": [table],
                    },
                }
            }
        ),
        status=_encoder.encode(_message(header, table, statuses, at=at)),
        sites=len(sites),
        points=sum(len(points) for _, points in sites),
        omissions=omissions,
    )


def _header(publisher: Publisher, *, at: datetime) -> dict[str, Any]:
    return {
        "lang": publisher.language,
        "publicationTime": timestamp(at),
        "publicationCreator": {
            "country": publisher.country,
            "nationalIdentifier": publisher.identifier,
        },
        "headerInformation": {
            "confidentiality": {"value": "noRestriction"},
            "informationStatus": {"value": "test" if publisher.test else "real"},
        },
    }


def _message(
    header: Mapping[str, Any], table: Mapping[str, Any], sites: Sequence[Any], *, at: datetime
) -> dict[str, Any]:
    """The status publication in its container, as a whole snapshot."""
    publication = {
        **header,
        "tableReference": [_reference(table, "EnergyInfrastructureTable")],
        "energyInfrastructureSiteStatus": sites,
    }
    return {
        "messageContainer": {
            "payload": [{**_PROFILE, "aegiEnergyInfrastructureStatusPublication": publication}],
            "exchangeInformation": {
                "exchangeContext": {
                    "codedExchangeProtocol": {"value": "snapshotPush"},
                    "exchangeSpecificationVersion": "3.0",
                    "supplierOrCisRequester": {},
                },
                "dynamicInformation": {
                    "exchangeStatus": {"value": "online"},
                    "messageGenerationTimestamp": timestamp(at),
                },
            },
        }
    }


def _versioned(content: dict[str, Any], *, name: str, **unversioned: Any) -> dict[str, Any]:
    """An object with its id, from the CPO's ids, and its version, from its content."""
    digest = hashlib.sha256(_encoder.encode(content)).hexdigest()
    return {"idG": _id(name), "versionG": digest[:_VERSION_DIGITS], **unversioned, **content}


def _id(name: str) -> str:
    return str(uuid5(NAMESPACE_OID, f"networkcore datex2 {name.lower()}"))


def _reference(target: Mapping[str, Any], target_class: str = "FacilityObject") -> dict[str, str]:
    return {"targetClass": target_class, "idG": target["idG"], "versionG": target["versionG"]}


def _points(
    location: ExportedLocation, *, publisher: Publisher, at: datetime, omissions: Omissions
) -> Iterator[_Point]:
    for exported in location.evses:
        evse = exported.evse
        name = f"{evse.party_id} {evse.location_id} {evse.evse_uid}"
        strongest = max(exported.connectors, key=lambda connector: connector.max_power_w)
        current = strongest.power_type[:2].lower()
        if evse.latitude is None:
            omissions.without_place.append(name)
        elif current not in {"ac", "dc"}:
            omissions.without_current.append(name)
        else:
            yield _point(
                location,
                exported,
                name=name,
                current=current,
                publisher=publisher,
                at=at,
                omissions=omissions,
            )


def _point(
    location: ExportedLocation,
    exported: ExportedEvse,
    *,
    name: str,
    current: str,
    publisher: Publisher,
    at: datetime,
    omissions: Omissions,
) -> _Point:
    evse = exported.evse
    tree = find_part(location.tree, [evse.evse_uid]) or {}
    content: dict[str, Any] = {
        "deliveryUnit": {"value": "kWh"},
        "currentType": {"value": current},
        "numberOfConnectors": len(exported.connectors),
        "connector": [],
    }
    if evse.evse_id is not None:
        content["externalIdentifier"] = [_identifier(evse.evse_id, "evseId")]
    for connector in exported.connectors:
        if connector.max_power_w:
            content["connector"].append(_connector(connector))
        else:
            omissions.connectors_without_power.append(f"{name} {connector.connector_id}")
    if evse.max_power_w:
        content["availableChargingPower"] = [evse.max_power_w]
    rate = _rate(exported, tree, name=name, publisher=publisher, at=at, omissions=omissions)
    if rate is not None:
        content["electricEnergy"] = [{"energyRate": [rate]}]
    static = _versioned(content, name=f"evse {name}", lastUpdated=timestamp(evse.last_updated))
    status: dict[str, Any] = {
        "reference": _reference(static),
        "lastUpdated": timestamp(evse.last_updated),
        "status": {"value": STATUSES.get(evse.status, "unknown")},
    }
    if rate is not None and rate["energyPrice"]:
        status["energyRateUpdate"] = [
            {
                "lastUpdated": rate["lastUpdated"],
                "energyRateReference": {"targetClass": "EnergyRate", "idG": rate["idG"]},
                "energyPrice": rate["energyPrice"],
            }
        ]
    return _Point(static=static, status=status, power_w=evse.max_power_w)


def _identifier(identifier: str, kind: str) -> dict[str, Any]:
    return {
        "identifier": identifier,
        "typeOfIdentifier": {"value": "extendedG", "extendedValueG": kind},
    }


def _connector(connector: Connector) -> dict[str, Any]:
    kind = CONNECTORS.get(connector.standard.upper())
    written: dict[str, Any] = {
        "connectorType": {"value": kind or "other"},
        "maxPowerAtSocket": connector.max_power_w,
    }
    if kind is None and connector.standard:
        written["otherConnector"] = connector.standard
    if connector.format == "SOCKET":
        written["connectorFormat"] = {"value": "socket"}
    elif connector.format == "CABLE":  # mode 3 is the one of AC; the enumeration has none for DC
        is_ac = connector.power_type.startswith("AC")
        written["connectorFormat"] = {"value": "cableMode3" if is_ac else "otherCable"}
    return written


def _rate(
    exported: ExportedEvse,
    tree: Tree,
    *,
    name: str,
    publisher: Publisher,
    at: datetime,
    omissions: Omissions,
) -> dict[str, Any] | None:
    """The rate for ad hoc payment: its prices now, and all of its components in words."""
    tariff = exported.tariff
    if tariff is None or exported.tariff_known_at is None:
        omissions.without_price.append(name)
        return None
    local = at.astimezone(ZoneInfo(exported.evse.time_zone))
    prices, whole = energy_prices(tariff, at=local, language=publisher.language)
    if not whole:
        omissions.prices_in_words.append(name)
    words = "; ".join(display_prices(tariff, locale=publisher.language))
    rate: dict[str, Any] = {
        "idG": _id(f"rate {name}"),
        "ratePolicy": {"value": "adHoc"},
        "lastUpdated": timestamp(exported.tariff_known_at),
        "applicableCurrency": [tariff.currency],
        "additionalInformation": in_language(words, publisher.language),
        "energyPrice": prices,
    }
    for key, limit in (("minimumDeliveryFee", tariff.min_price), ("maximumDeliveryFee", tariff.max_price)):
        if limit is not None and limit.incl_vat is not None:
            rate[key] = limit.incl_vat
    means = _mapped([tree], PAYMENT_MEANS)
    if means:
        rate["payment"] = {"paymentMeans": means}
    return rate


def _mapped(evses: Sequence[Tree], table: Mapping[str, str]) -> list[dict[str, str]]:
    """The capabilities of EVSEs that have a counterpart, sorted, each once."""
    found = set()
    for evse in evses:
        listed = evse.get("capabilities")
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, str) and one in table:
                found.add(table[one])
    return [{"value": value} for value in sorted(found)]


def _site(location: ExportedLocation, points: Sequence[_Point], *, language: str) -> dict[str, Any]:
    """A site with its one station."""
    first = location.evses[0].evse
    name = f"{location.party_id} {first.location_id}"
    evses = [find_part(location.tree, [exported.evse.evse_uid]) or {} for exported in location.evses]
    shared = {
        "locationReference": _place(location, language=language),
        "operator": _operator(location, language=language),
        "operatingHours": _hours(location.tree),
    }
    station: dict[str, Any] = {
        **shared,
        "totalMaximumPower": sum(point.power_w for point in points),
        "numberOfRefillPoints": len(points),
        "serviceType": [{"serviceType": {"value": "extendedG", "extendedValueG": "unknown"}}],
        "refillPoint": [{"aegiElectricChargingPoint": point.static} for point in points],
    }
    methods = _mapped(evses, AUTHENTICATION)
    if methods:
        station["authenticationAndIdentificationMethods"] = methods
    updated = timestamp(location.last_updated)
    site: dict[str, Any] = {
        **shared,
        "energyInfrastructureStation": [_versioned(station, name=f"station {name}", lastUpdated=updated)],
    }
    if first.name is not None:
        site["name"] = in_language(first.name, language)
    return _versioned(site, name=f"site {name}", lastUpdated=updated)


def _place(location: ExportedLocation, *, language: str) -> dict[str, Any]:
    placed = next(one.evse for one in location.evses if one.evse.latitude is not None)
    point = {"latitude": _degrees(placed.latitude), "longitude": _degrees(placed.longitude)}
    address: dict[str, Any] = {"countryCode": placed.country}
    if placed.postal_code:
        address["postcode"] = placed.postal_code
    if placed.city is not None:
        address["city"] = in_language(placed.city, language)
    if placed.address is not None:
        line = {"order": 0, "type": {"value": "street"}, "text": in_language(placed.address, language)}
        address["addressLine"] = [line]
    return {
        "locPointLocation": {
            "coordinatesForDisplay": point,
            "pointByCoordinates": {"pointCoordinates": point},
            "locLocationExtensionG": {"FacilityLocation": {"address": address}},
        }
    }


def _degrees(value: Decimal | None) -> Decimal:
    return Decimal(0) if value is None else value.normalize()


def _operator(location: ExportedLocation, *, language: str) -> dict[str, Any]:
    return {
        "afacAnOrganisation": {
            "name": in_language(location.operator, language),
            "externalIdentifier": [_identifier(location.party_id.replace("-", "*"), "operatorId")],
        }
    }


def _hours(tree: Tree) -> dict[str, Any]:
    """Open at all hours where the CPO says so; other hours are not written."""
    found = tree.get("opening_times")
    always = isinstance(found, dict) and found.get("twentyfourseven") is True
    return {"afacOpenAllHours": {}} if always else {"afacUnknownOperatingHours": {}}


def _site_status(
    location: ExportedLocation, site: Mapping[str, Any], points: Sequence[_Point]
) -> dict[str, Any]:
    updated = timestamp(location.last_updated)
    station = site["energyInfrastructureStation"][0]
    return {
        "reference": _reference(site),
        "lastUpdated": updated,
        "energyInfrastructureStationStatus": [
            {
                "reference": _reference(station),
                "lastUpdated": updated,
                "refillPointStatus": [{"aegiElectricChargingPointStatus": point.status} for point in points],
            }
        ],
    }
