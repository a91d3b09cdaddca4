"""The API's reference in pages: every operation has its place, a search finds it, nothing of it runs."""

import html
import json
import re
from collections.abc import AsyncIterator

import pytest

from gateway.api import reference
from gateway.api.openapi import openapi_document
from gateway.api.reference import build_reference, sample, search
from gateway.api.routes import endpoints
from gateway.api_versions import VERSIONS
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
    known = {*REFERENCE.pages, "/problems", "/docs", "/openapi.json", "/console"}
    for address, page in REFERENCE.pages.items():
        for link in re.findall(r"href=[\"']([^\"'#]+)", page):
            place = link.partition("?")[0]
            assert place in known or place == "/reference/reference.css", f"{address}: {link}"


def test_a_sandboxs_pages_have_one_script_of_ours_and_what_it_sends_is_in_the_page() -> None:
    tried = build_reference(DOCUMENT, base_url="http://api.test", try_it=True)
    assert tried.headers == reference.TRY_HEADERS
    policy = reference.TRY_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert re.findall(r"(script-src|connect-src) ([^;]+)", policy) == [
        ("script-src", "'self'"),
        ("connect-src", "'self'"),
    ]
    found = {}
    for address, page in tried.pages.items():
        scripts = re.findall(r"<script[^>]*>", page)
        offered = re.findall(r'data-operation="([^"]+)"', page)
        assert len(scripts) == bool(offered), address
        assert all("/reference/reference.js?v=" in script and " defer" in script for script in scripts)
        for text in offered:
            one = json.loads(html.unescape(text))
            found[one["method"], one["path"]] = one
    described = {
        (method.upper(), path): operation
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    }
    assert found.keys() == described.keys()
    for place, one in found.items():
        of_the_form = {"Networkcore-Version"}  # one choice beside the parameters, of the versions there are
        assert {part["name"] for part in one["parameters"]} == {
            part["name"] for part in described[place]["parameters"]
        } - of_the_form
        named = set(re.findall(r"{(\w+)}", one["path"]))
        assert named == {part["name"] for part in one["parameters"] if part["in"] == "path"}


def test_the_script_keeps_no_key_and_makes_no_markup_of_text() -> None:
    text = reference.script().decode()
    for forbidden in ("localStorage", "sessionStorage", "cookie", "indexedDB", "innerHTML", "eval(", "http"):
        assert forbidden not in text.replace("HTTP", ""), forbidden
    assert text.count("fetch(") == 1
    assert "new URL(asked.path, location.origin)" in text
    assert 'credentials: "omit"' in text


@pytest.mark.parametrize("sandbox", [True, False])
async def test_a_live_gateway_offers_nothing_to_try(pool: Pool, *, sandbox: bool) -> None:
    async with open_api(pool, sandbox=sandbox) as api:
        page = await api.call("GET", "/reference/sessions", party=None)
        script = await api.call("GET", "/reference/reference.js", party=None)
        assert (page.status, script.status) == (200, 200 if sandbox else 404)
        assert ("<script" in page.text, "data-operation" in page.text) == (sandbox, sandbox)
        assert ("script-src" in page.headers["Content-Security-Policy"]) == sandbox


def test_the_page_of_versions_shows_the_policy_and_each_change() -> None:
    page = html.unescape(REFERENCE.pages["/reference/versions"])
    for version in VERSIONS.versions:
        assert f'<h2 id="{version.name}">' in page
    assert "<code>of_establishment</code>" in page
    assert "<code>Networkcore-Version</code>" in page
    (found, *_) = search(REFERENCE.entries, "deprecation sunset")
    assert found.address == "/reference/versions"


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
