"""The charge point of an authorization is read with its tariffs: one statement finds what two would find."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.database import Connection, Pool
from gateway.ocpi.repository import objects
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.payments.requests import ChargePoint, TariffChoice, TariffMissing, TariffUse
from tests.fakes.ocpi_edge import NOW, Edge, start_edge, stop_edge
from tests.fakes.ocpi_objects import AT, location, tariff

SOURCE = OcpiTariffSource()


@pytest.fixture
async def edge(pool: Pool) -> AsyncIterator[Edge]:
    started = await start_edge(pool)
    yield started
    await stop_edge(started)


async def push(edge: Edge, token: str, path: str, body: dict[str, Any]) -> None:
    answer, status = await edge.call("PUT", f"/emsp/2.2.1{path}", token, body)
    assert status in {200, 201}, answer


def connector(number: str, *tariffs: str) -> dict[str, Any]:
    base = dict(location()["evses"][0]["connectors"][0])
    return {**base, "id": number, "tariff_ids": list(tariffs)}


def evse(uid: str, evse_id: str | None, *connectors: dict[str, Any]) -> dict[str, Any]:
    named = {} if evse_id is None else {"evse_id": evse_id}
    return {
        "uid": uid,
        "status": "AVAILABLE",
        "connectors": list(connectors),
        "last_updated": AT,
        **named,
    }


@pytest.fixture
async def reading(edge: Edge) -> AsyncIterator[Connection]:
    """Two operators; EVSEs by id and by uid, connectors with no tariff, an unknown one and several."""
    token, other = await edge.register("NL-ABC"), await edge.register("DE-XYZ")
    evses = [
        evse("E1", "NL*ABC*E0001", connector("1"), connector("2", "GONE"), connector("3", "T1", "T2")),
        evse("E2", "NL*ABC*E0002", connector("1", "T2", "LATE"), connector("2", "T1")),
        evse("NLABCE0001", None, connector("1", "T2")),
    ]
    await push(edge, token, "/locations/NL/ABC/LOC1", location(evses=evses))
    for name, price, changes in (
        ("T1", 0.40, {}),
        ("T2", 0.50, {"type": "REGULAR"}),
        ("LATE", 0.60, {"start_date_time": "2030-01-01T00:00:00Z"}),
    ):
        await push(edge, token, f"/tariffs/NL/ABC/{name}", tariff(price, id=name, **changes))
    edge.clock.at = NOW + timedelta(hours=1)
    await push(edge, token, "/tariffs/NL/ABC/T1", tariff(0.45, id="T1"))
    theirs = location(country_code="DE", party_id="XYZ", country="DEU", time_zone="Europe/Berlin")
    theirs["evses"] = [evse("E2", "DE*XYZ*E0009", connector("1", "T1"))]
    await push(edge, other, "/locations/DE/XYZ/LOC1", theirs)
    async with edge.pool.acquire() as connection:
        yield connection


async def test_one_read_finds_what_two_reads_find(reading: Connection) -> None:
    found = 0
    for name in ("NLABCE0001", "NLABCE0002", "E1", "E2", "DEXYZE0009", "NOTHING"):
        for cpo_id in (None, "NL-ABC", "DE-XYZ"):
            for wanted in (None, "1", "2", "3"):
                for hours in (-1, 0, 2):
                    at = NOW + timedelta(hours=hours)
                    known = await objects.find_connectors(
                        reading, evse_key=name, evse_uid=name, party_id=cpo_id
                    )
                    read = await objects.find_connectors_with_tariffs(
                        reading, evse_key=name, evse_uid=name, party_id=cpo_id, connector_id=wanted, at=at
                    )
                    assert list(read.connectors) == known
                    by_id = [one for one in known if one.evse_key == name] or known
                    meant = [one for one in by_id if one.tariff_keys and wanted in {None, one.connector_id}]
                    assert read.meant == (meant[0] if meant else None)
                    if read.meant is not None:
                        found += 1
                        assert list(read.tariffs) == await objects.list_tariffs_known_at(
                            reading,
                            party_id=read.meant.party_id,
                            tariff_keys=read.meant.tariff_keys,
                            at=at,
                        )
    assert found > 20


async def test_a_connector_whose_tariff_is_unknown_leaves_it_to_the_next_one(reading: Connection) -> None:
    point = await SOURCE.tariff_for(reading, evse_id="NL*ABC*E0001", at=NOW + timedelta(hours=2))
    assert isinstance(point, ChargePoint)
    assert b'"id": "T2"' in point.tariff_raw  # connector 1 has none, that of connector 2 was never pushed
    second = await SOURCE.tariff_for(
        reading, evse_id="NL*ABC*E0001", at=NOW, choice=TariffChoice(use=TariffUse.AD_HOC, connector_id="2")
    )
    assert second == TariffMissing(cpo_id="NL-ABC")


async def test_it_is_one_statement_where_the_first_connector_has_a_tariff(reading: Connection) -> None:
    made: list[str] = []
    await SOURCE.tariff_for(reading, evse_id="NL*ABC*E0002", at=NOW)  # the types are known from then on
    reading.add_query_logger(lambda query: made.append(query.query))
    assert isinstance(await SOURCE.tariff_for(reading, evse_id="NL*ABC*E0002", at=NOW), ChargePoint)
    await asyncio.sleep(0)  # the logger is called in the loop's next round
    assert len(made) == 1, made
