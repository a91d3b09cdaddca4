"""Who has a driver page, and its QR codes, through the API."""

from collections.abc import AsyncIterator

import pytest

from gateway.database import Pool
from tests.fakes.api import Api, open_api
from tests.fakes.ocpi_edge import start_edge, stop_edge
from tests.fakes.ocpi_objects import location

PAGE = {"demand_partner": "parking", "brand": "City Charging", "support": "+49 30 1234567"}


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


async def test_a_page_is_a_cpos_or_the_platforms_for_all_others(api: Api) -> None:
    for party in ("platform", "DE-ABC"):
        path = f"/v1/parties/{party}/driver-page"
        assert (await api.call("GET", path, party="admin")).status == 404
        answer = await api.call("PUT", path, PAGE, party="admin")
        assert (answer.status, answer.json) == (200, {"object": "driver_page", "party": party} | PAGE)
        renamed = await api.call("PUT", path, PAGE | {"brand": "Other"}, party="admin")
        assert renamed.json["brand"] == "Other"
    assert (await api.call("DELETE", "/v1/parties/DE-ABC/driver-page", party="admin")).status == 204
    assert (await api.call("GET", "/v1/parties/DE-ABC/driver-page", party="admin")).status == 404
    assert (await api.call("GET", "/v1/parties/platform/driver-page", party="admin")).status == 200


@pytest.mark.parametrize(
    ("party", "changes", "status"),
    [
        ("parking", {}, 409),  # runs no EVSEs
        ("DE-ABC", {"demand_partner": "DE-ABC"}, 409),  # brings no drivers
        ("nobody", {}, 404),
        ("DE-ABC", {"demand_partner": "nobody"}, 404),
        ("DE-ABC", {"brand": ""}, 400),
        ("DE-ABC", {"support": "x" * 101}, 400),
        ("DE-ABC", {"brand": "a\u0000b"}, 400),
    ],
)
async def test_a_page_that_can_not_be_is_rejected(
    api: Api, party: str, changes: dict[str, str], status: int
) -> None:
    answer = await api.call("PUT", f"/v1/parties/{party}/driver-page", PAGE | changes, party="admin")
    assert answer.status == status, answer.text


async def test_only_the_platform_sets_pages_up(api: Api) -> None:
    for method in ("PUT", "DELETE"):
        body = PAGE if method == "PUT" else None
        assert (await api.call(method, "/v1/parties/DE-ABC/driver-page", body)).status == 403
    await api.call("PUT", "/v1/parties/DE-ABC/driver-page", PAGE, party="admin")
    assert (await api.call("GET", "/v1/parties/DE-ABC/driver-page")).status in {403, 404}


async def test_a_code_is_a_picture_or_a_sheet(api: Api) -> None:
    edge = await start_edge(api.services.pool)
    token = await edge.register("NL-ABC")
    named = {"operator": {"name": "Kade #1 B.V."}}
    await edge.call("PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", token, location(**named))
    await stop_edge(edge)
    for kind, media, begins in (
        ("png", "image/png", b"\x89PNG"),
        ("svg", "image/svg+xml", b"<?xml"),
        ("pdf", "application/pdf", b"%PDF-"),
    ):
        answer = await api.call("GET", f"/v1/evses/nlabce0001/qr-code?format={kind}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, media), answer.content[:300]
        assert answer.content.startswith(begins)
    assert (await api.call("GET", "/v1/evses/NL*ABC*E9/qr-code")).status == 404
    assert (await api.call("GET", "/v1/evses/NL*ABC*E0001/qr-code?format=gif")).status == 400
    assert (await api.call("GET", "/v1/evses/NL*ABC*E0001/qr-code", party=None)).status == 401
