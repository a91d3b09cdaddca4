"""DATEX II for a national access point: prices that add up, ids that stay, and the profile's own schema.

AFIR_DIR names a directory with the JSON schemas of the profile "AFIR Energy Infrastructure" 01-00-00, in the
folders EnergyInfrastructureTablePublication and EnergyInfrastructureStatusPublication as it is published;
without it the validation is skipped.
"""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.tariff import Tariff, parse_tariff
from gateway.ocpi.connectors import read_connectors
from gateway.ocpi.datex2.prices import energy_prices
from gateway.ocpi.datex2.publication import (
    ExportedEvse,
    ExportedLocation,
    Omissions,
    Publications,
    Publisher,
    publish,
)
from gateway.ocpi.public_evses import read_public_evses
from gateway.ocpi.request_bodies import read_object
from tests.fakes.ocpi_objects import location, tariff

SCHEMAS = os.environ.get("AFIR_DIR", "")
THERE = bool(SCHEMAS) and Path(SCHEMAS).is_dir()
NOW = datetime(2026, 10, 29, 8, tzinfo=UTC)  # a Thursday, 09:00 in Amsterdam
LOCAL = NOW.astimezone(ZoneInfo("Europe/Amsterdam"))
PUBLISHER = Publisher(country="NL", identifier="NL-NAP-NWC", language="en", test=True)


def part(kind: str, price: float, *, vat: float | None = 21, step: int = 1) -> dict[str, Any]:
    found = {"type": kind, "price": price, "step_size": step}
    return found if vat is None else found | {"vat": vat}


def element(*parts: dict[str, Any], **restrictions: Any) -> dict[str, Any]:
    return {"price_components": list(parts)} | ({"restrictions": restrictions} if restrictions else {})


def parsed(*elements: dict[str, Any], version: OcpiVersion = OcpiVersion.V2_2_1, **changes: Any) -> Tariff:
    return parse_tariff(json.dumps(tariff(elements=list(elements), **changes)).encode(), version=version)


def prices(*elements: dict[str, Any], at: datetime = LOCAL, **changes: Any) -> list[dict[str, Any]]:
    written, whole = energy_prices(parsed(*elements, **changes), at=at, language="en")
    assert whole
    return written


def brief(written: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["priceType"]["value"], str(one["value"])) for one in written]


def test_prices_are_in_the_order_of_the_regulation_with_tax_included_and_its_rate() -> None:
    written = prices(element(part("FLAT", 1), part("TIME", 6), part("ENERGY", 0.4)))
    assert brief(written) == [
        ("pricePerKWh", "0.4840"),
        ("pricePerMinute", "0.1210"),
        ("basePrice", "1.2100"),
    ]
    assert all((one["taxIncluded"], one["taxRate"]) == (True, Decimal(21)) for one in written)


def test_tax_is_not_said_to_be_included_where_it_is_not() -> None:
    assert "taxIncluded" not in prices(element(part("ENERGY", 0.4, vat=None)))[0]
    written, _ = energy_prices(
        parsed(element(part("ENERGY", 0.4, vat=None)), version=OcpiVersion.V2_1_1), at=LOCAL, language="en"
    )
    assert written[0]["taxIncluded"] is False
    assert "taxRate" not in written[0]


def test_a_price_of_another_time_or_day_is_not_the_price_now() -> None:
    elements = (
        element(part("ENERGY", 0.1), start_time="22:00", end_time="06:00"),
        element(part("ENERGY", 0.2), day_of_week=["SATURDAY", "SUNDAY"]),
        element(part("ENERGY", 0.3), end_date="2026-10-29"),
        element(part("ENERGY", 0.5)),
    )
    assert brief(prices(*elements)) == [("pricePerKWh", "0.6050")]
    assert brief(prices(*elements, at=LOCAL + timedelta(hours=13))) == [("pricePerKWh", "0.1210")]
    assert brief(prices(*elements, at=LOCAL + timedelta(hours=20))) == [("pricePerKWh", "0.1210")]
    assert brief(prices(*elements, at=LOCAL + timedelta(days=2))) == [("pricePerKWh", "0.2420")]
    assert brief(prices(*elements, at=LOCAL - timedelta(days=1))) == [("pricePerKWh", "0.3630")]


def test_tiers_do_not_overlap_for_all_prices_of_a_rate_apply_together() -> None:
    written = prices(
        element(part("ENERGY", 0.2), max_kwh=10),
        element(part("ENERGY", 0.3), min_kwh=5, max_kwh=20),
        element(part("ENERGY", 0.4)),
    )
    assert [one.get("energyBasedApplicability") for one in written] == [
        {"fromKWh": 0, "toKWh": 10},
        {"fromKWh": 10, "toKWh": 20},
        {"fromKWh": 20},
    ]
    assert [str(one["value"]) for one in written] == ["0.2420", "0.3630", "0.4840"]
    by_time = prices(element(part("TIME", 6), min_duration=3600))
    assert by_time[0]["timeBasedApplicability"] == {"fromMinute": 60}


@pytest.mark.parametrize(
    "restrictions",
    [{"max_power": 50}, {"min_kwh": 0.5}, {"min_kwh": 1, "min_duration": 60}, {"max_duration": 90}],
)
def test_what_cannot_be_separated_is_left_to_words_and_never_written_as_a_sum(
    restrictions: dict[str, Any],
) -> None:
    rules = parsed(
        element(part("ENERGY", 0.2), **restrictions), element(part("ENERGY", 0.4)), element(part("FLAT", 1))
    )
    written, whole = energy_prices(rules, at=LOCAL, language="en")
    assert not whole
    assert brief(written) == [("basePrice", "1.2100")]


def test_a_minute_parked_is_not_a_minute_of_charging_and_a_reservation_is_neither() -> None:
    written = prices(element(part("PARKING_TIME", 6)), element(part("TIME", 1), reservation="RESERVATION"))
    assert brief(written) == [("other", "0.1210")]
    assert "0.121 EUR per minute" in written[0]["additionalInformation"]["values"][0]["value"]


def exported(
    *elements: dict[str, Any], tariff_changes: dict[str, Any] | None = None, **changes: Any
) -> ExportedLocation:
    tree = read_object(json.dumps(location(**changes)).encode(), name="location").tree
    connectors = read_connectors(tree, party_id="NL-ABC")
    evses = read_public_evses(tree, connectors=connectors, version=OcpiVersion.V2_2_1, changed_at=NOW)
    rules = parsed(*(elements or (element(part("ENERGY", 0.49)),)), **(tariff_changes or {}))
    return ExportedLocation(
        party_id="NL-ABC",
        tree=tree,
        last_updated=NOW,
        operator="ABC Charging",
        evses=[
            ExportedEvse(
                evse=evse,
                connectors=[one for one in connectors if one.evse_uid == evse.evse_uid],
                tariff=rules,
                tariff_known_at=NOW,
            )
            for evse in evses
        ],
    )


def published(*locations: ExportedLocation, at: datetime = NOW) -> Publications:
    made = publish(locations, publisher=PUBLISHER, at=at)
    assert made is not None
    return made


def table_of(made: Publications) -> Any:
    payload = json.loads(made.table)["payload"]
    return payload["aegiEnergyInfrastructureTablePublication"]["energyInfrastructureTable"][0]


def point_of(made: Publications) -> Any:
    station = table_of(made)["energyInfrastructureSite"][0]["energyInfrastructureStation"][0]
    return station["refillPoint"][0]["aegiElectricChargingPoint"]


def status_of(made: Publications) -> Any:
    payload = json.loads(made.status)["messageContainer"]["payload"][0]
    return payload["aegiEnergyInfrastructureStatusPublication"]


RICH: dict[str, Any] = {
    "name": "Kade",
    "opening_times": {"twentyfourseven": True},
    "evses": [
        {
            **location()["evses"][0],
            "capabilities": [
                "CONTACTLESS_CARD_SUPPORT",
                "CREDIT_CARD_PAYABLE",
                "REMOTE_START_STOP_CAPABLE",
                "SPEAKS",
                5,
            ],
        },
        {
            "uid": "E2",
            "status": "OUTOFORDER",
            "connectors": [
                {"id": "1", "standard": "GBT_AC", "format": "CABLE", "power_type": "AC_1_PHASE"}
                | {"max_voltage": 230, "max_amperage": 16},
                {"id": "2", "standard": "IEC_62196_T2", "format": "SOCKET", "power_type": "AC_3_PHASE"},
            ],
        },
    ],
}


def test_a_site_has_its_station_its_points_their_connectors_means_of_payment_and_price() -> None:
    made = published(exported(**RICH, tariff_changes={"min_price": {"excl_vat": 1, "incl_vat": 1.21}}))
    site = table_of(made)["energyInfrastructureSite"][0]
    station = site["energyInfrastructureStation"][0]
    point = station["refillPoint"][0]["aegiElectricChargingPoint"]
    assert (made.sites, made.points) == (1, 2)
    assert site["operatingHours"] == {"afacOpenAllHours": {}}
    assert (station["totalMaximumPower"], station["numberOfRefillPoints"]) == (153_680, 2)
    assert station["authenticationAndIdentificationMethods"] == [
        {"value": "apps"},
        {"value": "creditCard"},
        {"value": "nfc"},
    ]
    assert point["externalIdentifier"][0]["identifier"] == "NL*ABC*E0001"
    assert point["connector"] == [
        {
            "connectorType": {"value": "iec62196T2COMBO"},
            "connectorFormat": {"value": "otherCable"},
            "maxPowerAtSocket": 150_000,
        }
    ]
    rate = point["electricEnergy"][0]["energyRate"][0]
    assert rate["ratePolicy"] == {"value": "adHoc"}
    assert rate["applicableCurrency"] == ["EUR"]
    assert rate["minimumDeliveryFee"] == 1.21
    assert rate["payment"] == {"paymentMeans": [{"value": "nfc"}, {"value": "paymentCreditCard"}]}
    assert rate["energyPrice"][0]["value"] == 0.5929
    assert "0.5929 EUR per kWh" in rate["additionalInformation"]["values"][0]["value"]
    second = station["refillPoint"][1]["aegiElectricChargingPoint"]
    assert second["connector"][0]["connectorType"] == {"value": "other"}
    assert second["connector"][0]["otherConnector"] == "GBT_AC"
    assert made.omissions.connectors_without_power == ["NL-ABC LOC1 E2 2"]


def test_the_status_refers_to_the_objects_and_the_rate_of_the_table() -> None:
    made = published(exported(**RICH))
    site = table_of(made)["energyInfrastructureSite"][0]
    found = status_of(made)["energyInfrastructureSiteStatus"][0]
    station = found["energyInfrastructureStationStatus"][0]
    points = [one["aegiElectricChargingPointStatus"] for one in station["refillPointStatus"]]
    assert [one["status"]["value"] for one in points] == ["available", "outOfOrder"]
    assert found["reference"]["idG"] == site["idG"]
    assert found["reference"]["versionG"] == site["versionG"]
    update = points[0]["energyRateUpdate"][0]
    rate = point_of(made)["electricEnergy"][0]["energyRate"][0]
    assert update["energyRateReference"] == {"targetClass": "EnergyRate", "idG": rate["idG"]}
    assert update["energyPrice"] == rate["energyPrice"]
    assert status_of(made)["tableReference"][0]["idG"] == table_of(made)["idG"]


def test_ids_stay_and_a_version_changes_with_the_content_alone() -> None:
    first, later = published(exported()), published(exported(), at=NOW + timedelta(minutes=5))
    assert table_of(first) == table_of(later)
    busy = {**location()["evses"][0], "status": "CHARGING", "last_updated": "2026-10-29T07:59:00Z"}
    assert point_of(published(exported(evses=[busy])))["versionG"] == point_of(first)["versionG"]
    dearer = published(exported(element(part("ENERGY", 0.5))))
    assert point_of(dearer)["idG"] == point_of(first)["idG"]
    assert point_of(dearer)["versionG"] != point_of(first)["versionG"]
    assert table_of(dearer)["versionG"] != table_of(first)["versionG"]


def test_what_is_left_out_is_named() -> None:
    unplaced = exported(id="LOC2", coordinates=None)
    unpowered = {**location()["evses"][0]["connectors"][0], "power_type": None}
    odd = exported(id="LOC3", evses=[{**location()["evses"][0], "connectors": [unpowered]}])
    free = exported(id="LOC4")
    free = replace(free, evses=[replace(free.evses[0], tariff=None)])
    made = published(unplaced, odd, free)
    assert made.points == 1
    assert made.omissions == Omissions(
        without_place=["NL-ABC LOC2 E1"],
        without_current=["NL-ABC LOC3 E1"],
        without_price=["NL-ABC LOC4 E1"],
    )
    assert publish([unplaced], publisher=PUBLISHER, at=NOW) is None
    assert publish([], publisher=PUBLISHER, at=NOW) is None


def validator(folder: str, root: str) -> Draft202012Validator:
    found = {
        path.name: json.loads(path.read_text("utf-8")) for path in (Path(SCHEMAS) / folder).glob("D*.json")
    }
    registry: Registry[Any] = Registry().with_resources(
        [(name, Resource.from_contents(schema)) for name, schema in found.items()]
    )
    return Draft202012Validator(
        {"$ref": root}, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


@pytest.mark.skipif(not THERE, reason="AFIR_DIR does not name the directory of the profile's JSON schemas")
def test_both_publications_are_valid_by_the_schemas_of_the_profile() -> None:
    tiers = (element(part("ENERGY", 0.2), max_kwh=10), element(part("ENERGY", 0.3), part("PARKING_TIME", 6)))
    made = published(exported(*tiers, **RICH), exported(id="LOC9"))
    table = validator("EnergyInfrastructureTablePublication", "DATEXII_3_D2Payload.json")
    status = validator("EnergyInfrastructureStatusPublication", "DATEXII_3_MessageContainer.json")
    for schema, raw in ((table, made.table), (status, made.status)):
        content = json.loads(raw)
        assert [error.json_path + ": " + error.message for error in schema.iter_errors(content)] == []
    broken = json.loads(made.table)
    del broken["payload"]["aegiEnergyInfrastructureTablePublication"]["publicationCreator"]["country"]
    assert list(table.iter_errors(broken))
