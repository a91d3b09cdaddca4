"""A CDR from metered usage says exactly what was metered."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.pricing.cdr import parse_cdr
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.api.capture.usage import Usage, cdr_of_usage
from gateway.api.problems import ProblemError
from gateway.ids import format_id
from gateway.payments.records import SessionRecord

START = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)


def session(**changes: Any) -> SessionRecord:
    values: dict[str, Any] = {
        "shard": 1,
        "id": UUID(int=1),
        "demand_partner_id": "parking",
        "cpo_id": "DE-ABC",
        "evse_id": "DE*ABC*E1",
        "location_id": "L1",
        "session_ref": None,
        "tax_jurisdiction": "DE",
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "tariff_sha256": "0" * 64,
        "state": "active",
        "cdr_id": None,
        "cdr_version": None,
        "cdr": None,
        "price_minor": None,
        "price_net_minor": None,
        "energy_wh": None,
        "started_at": None,
        "ended_at": None,
        "flags": (),
        "metadata": {},
        "created_at": START,
        "updated_at": START,
    }
    return SessionRecord(**(values | changes))


USAGE = Usage(started_at=START, ended_at=START + timedelta(hours=1), energy_wh=20_000, parking_s=900)


@given(
    energy=st.integers(0, 10_000_000),
    charging=st.integers(0, 86_400),
    parking=st.integers(0, 86_400),
)
def test_energy_and_times_come_out_as_they_went_in(energy: int, charging: int, parking: int) -> None:
    usage = Usage(
        started_at=START,
        ended_at=START + timedelta(seconds=charging + parking),
        energy_wh=energy,
        parking_s=parking,
    )
    read = parse_cdr(cdr_of_usage(session(), usage), version=OcpiVersion("2.2.1"))
    volumes = {quantity.type: quantity.volume for period in read.periods for quantity in period.dimensions}
    assert volumes["ENERGY"] * 1000 == energy
    assert (volumes["TIME"] * 3600).quantize(Decimal("0.001")) == charging
    assert (volumes.get("PARKING_TIME", Decimal(0)) * 3600).quantize(Decimal("0.001")) == parking
    assert read.start == usage.started_at
    assert read.end == usage.ended_at
    assert read.currency == "EUR"
    assert read.total_cost is None


def test_the_same_usage_is_the_same_cdr_and_names_its_session() -> None:
    first, second = cdr_of_usage(session(), USAGE), cdr_of_usage(session(), USAGE)
    assert first == second
    read = parse_cdr(first, version=OcpiVersion("2.2.1"))
    assert read.authorization_reference == format_id("ses", UUID(int=1))
    shifted = replace(USAGE, started_at=START.astimezone(), ended_at=USAGE.ended_at.astimezone())
    assert cdr_of_usage(session(), shifted) == first


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"ended_at": START - timedelta(seconds=1)}, "/usage/ended_at"),
        ({"ended_at": START + timedelta(days=31)}, "/usage/ended_at"),
        ({"parking_s": 3601}, "/usage/parking_s"),
    ],
)
def test_times_that_contradict_each_other_are_named(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ProblemError) as caught:
        cdr_of_usage(session(), replace(USAGE, **changes))
    assert caught.value.rejection.errors[0].pointer == pointer
