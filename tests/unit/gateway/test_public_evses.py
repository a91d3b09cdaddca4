"""Entries of the EVSE directory, read from locations of every version, and the box around a circle."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.ocpi.connectors import read_connectors
from gateway.ocpi.public_evses import read_place, read_public_evses
from gateway.ocpi.repository.public_evses import Circle, PublicEvse, box_around
from gateway.ocpi.request_bodies import read_object
from tests.fakes.ocpi_objects import location

NOW = datetime(2026, 10, 29, 8, tzinfo=UTC)


def entries(tree: dict[str, Any], version: OcpiVersion = OcpiVersion.V2_2_1) -> list[PublicEvse]:
    return read_public_evses(
        tree, connectors=read_connectors(tree, party_id="NL-ABC"), version=version, changed_at=NOW
    )


def read(text: str) -> Any:
    return read_object(text.encode(), name="location").tree


@pytest.mark.parametrize(
    ("publish", "version", "shown"),
    [
        (True, OcpiVersion.V2_2_1, 1),
        (False, OcpiVersion.V2_2_1, 0),
        (None, OcpiVersion.V2_2_1, 0),
        ("true", OcpiVersion.V2_3_0, 0),
        (None, OcpiVersion.V2_1_1, 1),
    ],
)
def test_a_location_is_public_where_its_cpo_says_so_and_always_in_the_version_without_the_field(
    publish: object, version: OcpiVersion, shown: int
) -> None:
    connector = {
        **location()["evses"][0]["connectors"][0],
        "max_electric_power": Decimal(1),
        "max_voltage": Decimal(1),
        "max_amperage": Decimal(1),
    }
    evse = {**location()["evses"][0], "connectors": [connector]}
    assert len(entries(location(publish=publish, evses=[evse]), version)) == shown


@pytest.mark.parametrize(
    ("coordinates", "expected"),
    [
        ('{"latitude": "51.92", "longitude": "4.48"}', ("51.9200000", "4.4800000")),
        ('{"latitude": "-33.8688197", "longitude": "151.2092955"}', ("-33.8688197", "151.2092955")),
        ('{"latitude": 51.92, "longitude": 4.48}', ("51.9200000", "4.4800000")),
        ('{"latitude": "51.12345678", "longitude": "0"}', ("51.1234568", "0.0000000")),
        ('{"latitude": "90.1", "longitude": "0"}', None),
        ('{"latitude": "1", "longitude": "180.0000001"}', None),
        ('{"latitude": "51,92", "longitude": "4,48"}', None),
        ('{"latitude": "51.92"}', None),
        ('{"latitude": 1e19, "longitude": 0}', None),
        ('"51.92 4.48"', None),
        ("null", None),
    ],
)
def test_a_place_is_read_or_left_out_and_never_guessed(
    coordinates: str, expected: tuple[str, str] | None
) -> None:
    found = read_place(read(f'{{"coordinates": {coordinates}}}'))
    assert (found and tuple(format(degrees, "f") for degrees in found)) == expected


def test_an_evse_with_a_place_of_its_own_is_shown_there() -> None:
    place = {"latitude": "1.5", "longitude": "2.5"}
    evse = {"uid": "E1", "status": "AVAILABLE", "connectors": [{"id": "1"}], "coordinates": place}
    other = {"uid": "E2", "status": "AVAILABLE", "connectors": [{"id": "1"}], "last_updated": "soon"}
    first, second = entries(location(evses=[evse, other]))
    assert (first.latitude, first.longitude) == (Decimal("1.5"), Decimal("2.5"))
    assert (second.latitude, second.longitude) == (Decimal("51.92"), Decimal("4.48"))
    assert second.last_updated == NOW


@given(
    latitude=st.decimals(-90, 90, places=5),
    longitude=st.decimals(-180, 180, places=5),
    radius_m=st.integers(1, 200_000),
    bearing=st.floats(0, 2 * math.pi),
    part=st.floats(0, 0.999),
)
def test_the_box_around_a_circle_holds_every_place_in_it(
    latitude: Decimal, longitude: Decimal, radius_m: int, bearing: float, part: float
) -> None:
    box = box_around(Circle(latitude=latitude, longitude=longitude, radius_m=radius_m))
    angle = part * radius_m / 6_371_008.8
    north, east = math.radians(float(latitude)), math.radians(float(longitude))
    target = math.asin(
        min(
            1.0,
            max(
                -1.0,
                math.sin(north) * math.cos(angle) + math.cos(north) * math.sin(angle) * math.cos(bearing),
            ),
        )
    )
    turn = math.atan2(
        math.sin(bearing) * math.sin(angle) * math.cos(north),
        math.cos(angle) - math.sin(north) * math.sin(target),
    )
    place = (math.degrees(target), (math.degrees(east + turn) + 540) % 360 - 180)
    slack = 1e-9
    assert float(box.south) - slack <= place[0] <= float(box.north) + slack
    west, far_east = float(box.west), float(box.east)
    if west <= far_east:
        beside = west - slack <= place[1] <= far_east + slack or abs(abs(place[1]) - 180) < slack
    else:
        beside = place[1] >= west - slack or place[1] <= far_east + slack
    assert beside
