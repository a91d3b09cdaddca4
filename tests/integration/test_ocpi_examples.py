"""The specification's own JSON, unchanged, pushed over real HTTP.

Skipped where the examples are not at hand.
"""

import json
import os
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.database import Pool
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.payments.requests import ChargePoint
from tests.fakes.ocpi_edge import NOW, Edge, start_edge, stop_edge

_FOUND = os.environ.get("OCPI_EXAMPLES_DIR", "")
EXAMPLES = Path(_FOUND) if _FOUND else Path("/nonexistent")
pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="set OCPI_EXAMPLES_DIR to the directory of the specification's examples"
)
CURRENT = [
    ("2.2.1", "2.2.1"),
    ("2.3.0-core", "2.3.0"),
    ("2.3.0-payments", "2.3.0"),
    ("2.3.0-bookings", "2.3.0"),
]


@pytest.fixture
async def edge(pool: Pool) -> AsyncIterator[Edge]:
    started = await start_edge(pool)
    yield started
    await stop_edge(started)


def read(path: Path) -> Any:
    return json.loads(path.read_bytes(), parse_float=Decimal)


def owner(tree: dict[str, Any]) -> str:
    return f"{tree['country_code']}/{tree['party_id']}"


def owners(folder: str) -> list[str]:
    found = set()
    for path in (EXAMPLES / folder).glob("*.json"):
        tree = read(path)
        # One booking example names a party of five characters, which the type CiString(3) excludes.
        if isinstance(tree, dict) and len(tree.get("party_id", "")) == 3 and "country_code" in tree:
            found.add(f"{tree['country_code']}-{tree['party_id']}")
    return sorted(found)


@pytest.mark.parametrize(("folder", "version"), CURRENT)
async def test_every_location_tariff_session_and_cdr_is_accepted_and_given_back(
    edge: Edge, folder: str, version: str
) -> None:
    token = await edge.register(*owners(folder), version=version)
    pushed = 0
    for module, pattern in (
        ("locations", "location_example*.json"),
        ("tariffs", "tariff_[0-9p]*.json"),
        ("sessions", "session_example*.json"),
    ):
        # Examples share ids: pushed in the order of their times, for an older one changes nothing.
        found = [(read(path), path) for path in sorted((EXAMPLES / folder).glob(pattern))]
        for tree, path in sorted(found, key=lambda example: example[0].get("last_updated", "9")):
            url = f"/emsp/{version}/{module}/{owner(tree)}/{tree['id']}"
            answer, status = await edge.call("PUT", url, token, raw=path.read_bytes())
            assert status in {200, 201}, (path.name, answer)
            assert answer["status_code"] == 1000, (path.name, answer)
            given, status = await edge.call("GET", url, token)
            assert status == 200
            assert given["data"] == json.loads(path.read_bytes()), path.name
            pushed += 1
    cdr = EXAMPLES / folder / "cdr_example.json"
    response, answer = await edge.send("POST", f"/emsp/{version}/cdrs", token, raw=cdr.read_bytes())
    assert (response.status, answer["status_code"]) == (201, 1000), answer
    given, status = await edge.call("GET", response.headers["Location"], token)
    assert given["data"] == json.loads(cdr.read_bytes())
    assert pushed > 25


@pytest.mark.parametrize(("folder", "version"), CURRENT)
async def test_every_patch_of_the_examples_applies(edge: Edge, folder: str, version: str) -> None:
    token = await edge.register(*owners(folder), version=version)
    base = EXAMPLES / folder
    location = read(base / "location_example.json")
    url = f"/emsp/{version}/locations/{owner(location)}/{location['id']}"
    raw = (base / "location_example.json").read_bytes()
    assert (await edge.call("PUT", url, token, raw=raw))[0]["status_code"] == 1000
    evse = location["evses"][0]["uid"]
    added = read(base / "location_put_example_add_evse.json")["uid"]
    connector = location["evses"][0]["connectors"][0]["id"]
    for method, name, deeper in (
        ("PUT", "location_put_example_add_evse.json", f"/{added}"),
        ("PATCH", "location_patch_example_status.json", f"/{evse}"),
        ("PATCH", "location_patch_example_location.json", ""),
        ("PATCH", "location_patch_example_tariff.json", f"/{evse}/{connector}"),
        ("PATCH", "location_patch_example_remove_evse.json", f"/{evse}"),
    ):
        answer, _ = await edge.call(method, f"{url}{deeper}", token, raw=(base / name).read_bytes())
        assert answer["status_code"] == 1000, (name, answer)
    found = (await edge.call("GET", f"{url}/{evse}", token))[0]["data"]
    assert found["status"] == "REMOVED"
    assert found["connectors"][0]["tariff_ids"] == ["15"]
    session = read(base / "session_example_2_short_finished.json")
    url = f"/emsp/{version}/sessions/{owner(session)}/{session['id']}"
    raw = (base / "session_example_2_short_finished.json").read_bytes()
    assert (await edge.call("PUT", url, token, raw=raw))[0]["status_code"] == 1000
    for name in ("session_patch_example_total_cost.json", "session_patch_example_charging_period.json"):
        answer, _ = await edge.call("PATCH", url, token, raw=(base / name).read_bytes())
        assert answer["status_code"] == 1000, (name, answer)
    found = (await edge.call("GET", url, token))[0]["data"]
    assert len(found["charging_periods"]) == len(session["charging_periods"]) + 1


@pytest.mark.parametrize("folder", ["2.2.1", "2.3.0-core"])
async def test_every_credentials_example_registers(edge: Edge, folder: str) -> None:
    version = folder.split("-", maxsplit=1)[0]
    for name in ("credentials_example.json", "credentials_example2.json", "credentials_example3.json"):
        example = read(EXAMPLES / folder / name)
        slugs = [f"{role['country_code']}-{role['party_id']}" for role in example["roles"]]
        token_a = await edge.invite(*slugs)
        # The example's address is not there; ours stands in for it, everything else is as printed.
        body = {**example, "url": edge.cpo.versions_url}
        answer, status = await edge.call("POST", f"/{version}/credentials", token_a, body)
        assert (status, answer["status_code"]) == (200, 1000), (name, answer)


async def test_the_oldest_version_is_accepted_as_printed(edge: Edge) -> None:
    token = await edge.register("BE-BEC", version="2.1.1")
    base = EXAMPLES / "2.1.1"
    for path in sorted(base.glob("mod_tariffs_*.json")):
        tree = read(path)
        url = f"/emsp/2.1.1/tariffs/BE/BEC/{tree.get('id', '12')}"
        answer, _ = await edge.call("PUT" if "id" in tree else "PATCH", url, token, raw=path.read_bytes())
        assert answer["status_code"] == 1000, (path.name, answer)
    for path in sorted(base.glob("mod_sessions_*.json"), key=lambda path: "id" not in read(path)):
        tree = read(path)
        url = f"/emsp/2.1.1/sessions/BE/BEC/{tree.get('id', '101')}"
        method = "PUT" if "id" in tree else "PATCH"
        answer, _ = await edge.call(method, url, token, raw=path.read_bytes())
        assert answer["status_code"] == 1000, (path.name, answer)
    raw = (base / "mod_cdrs_00.json").read_bytes()
    response, answer = await edge.send("POST", "/emsp/2.1.1/cdrs", token, raw=raw)
    assert (response.status, answer["status_code"]) == (201, 1000), answer


async def test_every_payments_example_is_accepted_as_printed(edge: Edge) -> None:
    token = await edge.register("NL-ALF", version="2.3.0")
    base, where = EXAMPLES / "2.3.0-payments", "/ptp/2.3.0/payments/terminals"
    raw = (base / "payment_terminal_activate.json").read_bytes()
    answer, _ = await edge.call("POST", f"{where}/activate", token, raw=raw)
    assert answer["status_code"] == 1000, answer
    terminal = f"{where}/{read(base / 'payment_terminal_activate.json')['terminal_id']}"
    for method, name in (
        ("PATCH", "payment_terminal_location_assignment.json"),
        ("PUT", "payment_terminal_put_update.json"),
        ("PUT", "payment_terminal_example_assigned_locations_assigned_evses.json"),
    ):
        answer, _ = await edge.call(method, terminal, token, raw=(base / name).read_bytes())
        assert answer["status_code"] == 1000, (name, answer)
    found = (await edge.call("GET", terminal, token))[0]["data"]
    assert found["customer_reference"] == "BP"
    assert found["terminal_id"] == read(base / "payment_terminal_activate.json")["terminal_id"]
    assert len(found["evse_uids"]) == 1
    assert (await edge.call("POST", f"{terminal}/deactivate", token))[0]["status_code"] == 1000


@pytest.mark.parametrize(("folder", "version"), CURRENT)
async def test_an_evse_of_the_examples_can_be_authorized_at_its_tariff(
    edge: Edge, folder: str, version: str
) -> None:
    """The location's connectors name tariffs by id.

    The tariff pushed under that id prices a session there.
    """
    token = await edge.register("BE-BEC", version=version)
    base = EXAMPLES / folder
    raw = (base / "location_example.json").read_bytes()
    await edge.call("PUT", f"/emsp/{version}/locations/BE/BEC/LOC1", token, raw=raw)
    connector = json.loads(raw)["evses"][0]["connectors"][0]
    tariff = {
        **json.loads((base / "tariff_4_complex.json").read_bytes()),
        "country_code": "BE",
        "party_id": "BEC",
    }
    tariff["id"] = connector["tariff_ids"][0]
    answer, _ = await edge.call("PUT", f"/emsp/{version}/tariffs/BE/BEC/{tariff['id']}", token, tariff)
    assert answer["status_code"] == 1000, answer
    async with edge.pool.acquire() as connection:
        evse_id = json.loads(raw)["evses"][0]["evse_id"]
        found = await OcpiTariffSource().tariff_for(connection, evse_id=evse_id, at=NOW)
    assert isinstance(found, ChargePoint)
    assert (found.cpo_id, found.tax_jurisdiction, found.time_zone) == ("BE-BEC", "BE", "Europe/Brussels")
