"""The API's reference in pages: every operation has its place, a search finds it, nothing of it runs."""

import re
from collections.abc import AsyncIterator

import pytest

from gateway.api.openapi import openapi_document
from gateway.api.reference import build_reference, sample, search
from gateway.api.routes import endpoints
from gateway.database import Pool
from tests.fakes.api import Api, open_api

DOCUMENT = openapi_document(endpoints(sandbox=True), base_url="http://api.test")
REFERENCE = build_reference(DOCUMENT, base_url="http://api.test")


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


def test_every_operation_and_object_has_its_place_on_a_page() -> None:
    text = "".join(REFERENCE.pages.values())
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            assert f"id='{operation['operationId']}'" in text
    for name in DOCUMENT["components"]["schemas"]:
        assert f"/reference/objects/{name}" in REFERENCE.pages


def test_every_link_leads_to_a_page_of_ours() -> None:
    known = {*REFERENCE.pages, "/problems", "/docs", "/openapi.json"}
    for address, page in REFERENCE.pages.items():
        for link in re.findall(r"href=[\"']([^\"'#]+)", page):
            place = link.partition("?")[0]
            assert place in known or place == "/reference/reference.css", f"{address}: {link}"


def test_no_page_is_as_long_as_all_of_them() -> None:
    assert max(len(page) for page in REFERENCE.pages.values()) < 250_000
    for page in REFERENCE.pages.values():
        assert "<script" not in page
        assert " style=" not in page


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("refund session", "Refund a session"),
        ("capture.succeeded", "capture.succeeded"),
        ("getEvseQrCode", "Get an EVSE's QR code"),
        ("AUTHORIZE session", "Authorize a session"),
        ("AuthorizationSchema", None),
        ("nothing of this kind", None),
        ("", None),
    ],
)
def test_a_search_finds_what_has_all_words_titles_first(query: str, first: str | None) -> None:
    found = [entry.title for entry in search(REFERENCE.entries, query)]
    assert (first in found) if first else len(found) <= 50


def test_a_sample_fits_its_schema_and_ends_where_a_schema_holds_itself() -> None:
    looping = {
        "components": {"schemas": {"Node": {"properties": {"next": {"$ref": "#/components/schemas/Node"}}}}}
    }
    assert sample(looping, {"$ref": "#/components/schemas/Node"})["next"]["next"] is not None
    for name, schema in DOCUMENT["components"]["schemas"].items():
        value = sample(DOCUMENT, schema)
        if schema.get("properties"):
            assert set(value) == set(schema["properties"]), name


async def test_the_pages_are_served_and_the_entrance_leads_to_them(api: Api) -> None:
    entrance = await api.client.get("/", allow_redirects=False)
    assert (entrance.status, entrance.headers["Location"]) == (302, "/reference")
    for path in ("/reference", "/reference/sessions", "/reference/objects/Session", "/reference/event-types"):
        answer = await api.call("GET", path, party=None)
        assert answer.status == 200, path
        assert "default-src 'none'; style-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
    found = await api.call("GET", "/reference?q=<script>alert(1)</script>", party=None)
    assert "<script>" not in found.text
    assert "Nothing has all of these words" in found.text
    assert "Get a refund" in (await api.call("GET", "/reference?q=refund", party=None)).text
    style = await api.call("GET", "/reference/reference.css", party=None)
    assert style.headers["Content-Type"].startswith("text/css")
    for path in ("/reference/nothing", "/reference/objects/Nothing", "/reference/objects/..%2fx"):
        assert (await api.call("GET", path, party=None)).status == 404
