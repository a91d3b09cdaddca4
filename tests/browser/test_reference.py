"""The API's reference in a real browser: no overflow, no policy broken, no serious finding."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import expect

from gateway.api import reference
from gateway.api.openapi import openapi_document
from gateway.api.reference import build_reference
from gateway.api.routes import endpoints
from tests.browser.conftest import PHONE, TABLET, WIDE, OpenPage, Theme

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    ("width", "theme"), [(PHONE, "dark"), (TABLET, "light"), (WIDE, "light"), (WIDE, "dark")]
)
async def test_a_developer_finds_an_operation(open_page: OpenPage, width: int, theme: Theme) -> None:
    document = openapi_document(endpoints(sandbox=True), base_url="http://api.test")
    made = build_reference(document, base_url="http://api.test")

    async def page(request: web.Request) -> web.Response:
        if request.path == reference.STYLE:
            return web.Response(body=reference.style(), content_type="text/css")
        asked = request.query.get("q", "")
        text = made.found(asked) if asked else made.pages[request.path]
        return web.Response(text=text, content_type="text/html", headers=reference.HEADERS)

    app = web.Application()
    app.router.add_get("/{tail:.*}", page)
    async with TestServer(app) as server, open_page(width=width, theme=theme) as watched:
        await watched.go(str(server.make_url("/reference")))
        await watched.check()
        await watched.page.get_by_label("Search").fill("authorize session")
        await watched.page.get_by_role("button", name="Search").click()
        await watched.check()
        await watched.page.get_by_role("link", name="Authorize a session").click()
        await expect(watched.page.locator("#createAuthorization")).to_be_visible()
        await watched.check()
        await watched.go(str(server.make_url("/reference/objects/Session")))
        await watched.check()
