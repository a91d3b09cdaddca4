"""From an operator's push to the files for a national access point, by the command as a person runs it."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.database import Pool
from tests.fakes.command import networkcore
from tests.fakes.ocpi_edge import Edge, start_edge, stop_edge
from tests.fakes.ocpi_objects import location, tariff


@pytest.fixture
async def edge(pool: Pool) -> Any:
    started = await start_edge(pool)
    token = await started.register("NL-ABC")
    for path, body in (("/tariffs/NL/ABC/T1", tariff()), ("/locations/NL/ABC/LOC1", location())):
        answer, _ = await started.call("PUT", f"/emsp/2.2.1{path}", token, body)
        assert answer["status_code"] == 1000, answer
    yield started
    await stop_edge(started)


def export(database_url: str, *arguments: str) -> tuple[int, str, str]:
    done = networkcore("ocpi", "export-afir", *arguments, database_url=database_url)
    return done.returncode, done.stdout, done.stderr


async def test_both_files_are_written_and_what_is_missing_is_printed(
    edge: Edge, database_url: str, tmp_path: Path
) -> None:
    status, out, err = export(
        database_url, str(tmp_path / "afir"), "--country", "nl", "--publisher", "NL-NAP-1"
    )
    assert (status, err) == (0, "")
    assert out.startswith("wrote 1 sites with 1 refill points")
    files = sorted(path.name for path in (tmp_path / "afir").iterdir())
    assert files == ["energy-infrastructure-status.json", "energy-infrastructure-table.json"]
    table = json.loads((tmp_path / "afir" / files[1]).read_bytes())
    publication = table["payload"]["aegiEnergyInfrastructureTablePublication"]
    assert publication["publicationCreator"] == {"country": "NL", "nationalIdentifier": "NL-NAP-1"}
    assert publication["headerInformation"]["informationStatus"] == {"value": "real"}
    site = publication["energyInfrastructureTable"][0]["energyInfrastructureSite"][0]
    point = site["energyInfrastructureStation"][0]["refillPoint"][0]["aegiElectricChargingPoint"]
    assert point["electricEnergy"][0]["energyRate"][0]["energyPrice"][0]["value"] == 0.5929
    snapshot = json.loads((tmp_path / "afir" / files[0]).read_bytes())
    assert snapshot["messageContainer"]["exchangeInformation"]["dynamicInformation"]


async def test_a_location_that_is_not_public_or_of_another_country_is_not_exported(
    edge: Edge, database_url: str, tmp_path: Path
) -> None:
    status, _, err = export(database_url, str(tmp_path / "a"), "--country", "DE", "--publisher", "X")
    assert status == 2
    assert err.strip() == ("networkcore: no public EVSE in DE can be exported; nothing was written")
    assert not (tmp_path / "a").exists()
    status, _, err = export(
        database_url, str(tmp_path / "a"), "--country", "NL", "--publisher", "X", "--cpo", "NL-XYZ"
    )
    assert (status, "no public EVSE of NL-XYZ" in err) == (2, True)
    await edge.pool.execute("DELETE FROM gateway.ocpi_public_evse")
    assert export(database_url, str(tmp_path / "a"), "--country", "NL", "--publisher", "X")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--country", "NLD", "--publisher", "X"], "--country: expected an ISO 3166-1 alpha-2 code"),
        (
            ["--country", "NL", "--publisher", "X", "--publisher-country", "1"],
            "--publisher-country: expected",
        ),
        (["--country", "NL"], "--publisher"),
        (["--country", "NL", "--publisher", ""], "--publisher: expected"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    status, out, err = export("postgresql://nobody@127.0.0.1:1/none", str(tmp_path), *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1
