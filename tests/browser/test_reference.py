"""The API's reference in a real browser: no overflow, no policy broken, no serious finding; what is tried."""

import re

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Request, expect

from gateway.api import reference
from gateway.api.openapi import openapi_document
from gateway.api.reference import build_reference
from gateway.api.routes import endpoints
from gateway.database import Pool
from tests.browser.conftest import PHONE, TABLET, WIDE, OpenPage, Theme
from tests.fakes.api import open_api

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


@pytest.mark.parametrize(("width", "theme"), [(PHONE, "dark"), (TABLET, "light"), (WIDE, "light")])
async def test_a_developer_tries_an_operation_with_a_test_key(
    open_page: OpenPage, pool: Pool, width: int, theme: Theme
) -> None:
    """By keyboard alone: the key, the form, the answer, its headers, the command; and nothing is kept."""
    async with open_api(pool) as api, open_page(width=width, theme=theme) as watched:
        page = watched.page
        sent: list[Request] = []
        page.on("request", lambda request: sent.append(request))  # noqa: PLW0108 - it takes a function
        await watched.go(str(api.client.make_url("/reference/webhooks")))
        await watched.check()
        opener = page.get_by_role("button", name="Try it: Create a webhook endpoint")
        await opener.focus()
        await page.keyboard.press("Enter")
        await expect(opener).to_have_attribute("aria-expanded", "true")
        form = page.locator("form.try")
        body = form.get_by_label("Body")
        await expect(body).to_have_value(re.compile('"url"'))
        await watched.check()

        send = form.get_by_role("button", name="Send")
        await send.focus()
        await page.keyboard.press("Enter")
        await expect(form.get_by_role("status")).to_contain_text("Enter a test key")
        await expect(page.get_by_label("Test key")).to_be_focused()
        assert not [one for one in sent if one.method == "POST"]

        await page.keyboard.type(api.keys["parking"])
        await form.get_by_label("Networkcore-Version").select_option("2026-11-01")
        await send.focus()
        await page.keyboard.press("Enter")
        status = form.get_by_role("status")
        await expect(status).to_contain_text(re.compile(r"201 in \d+ ms"))
        await expect(status).to_contain_text('"object": "webhook_endpoint"')
        await expect(status).to_contain_text("networkcore-version: 2026-11-01")
        await expect(status).to_contain_text("-H 'Authorization: Bearer nck_...'")
        await watched.check()

        made = [one for one in sent if one.method == "POST"]
        assert [one.headers["authorization"] for one in made] == [f"Bearer {api.keys['parking']}"]
        assert api.keys["parking"] not in await page.content()
        kept = "() => [localStorage.length, sessionStorage.length, document.cookie]"
        assert await page.evaluate(kept) == [0, 0, ""]
        await page.reload()
        await expect(page.get_by_label("Test key")).to_have_value("")


async def test_path_parameters_and_rejections_are_shown_as_text(open_page: OpenPage, pool: Pool) -> None:
    async with open_api(pool) as api, open_page() as watched:
        page = watched.page
        await watched.go(str(api.client.make_url("/reference/webhooks")))
        await page.get_by_label("Test key").fill(api.keys["parking"])
        await page.get_by_role("button", name="Try it: Get a webhook endpoint").click()
        form = page.locator("form.try")
        await form.get_by_role("button", name="Send").click()
        await expect(form.get_by_label("id", exact=True)).to_be_focused()  # it is required
        await form.get_by_label("id", exact=True).fill("<img src=x onerror=alert(1)>/../x")
        await form.get_by_role("button", name="Send").click()
        await expect(form.get_by_role("status")).to_contain_text("404 in ")
        await expect(form.get_by_role("status")).to_contain_text("%3Cimg")
        assert await page.locator("form.try img").count() == 0
        await watched.check()


async def test_without_script_the_page_is_what_it_was(open_page: OpenPage, pool: Pool) -> None:
    async with open_api(pool) as api, open_page(script=False) as watched:
        await watched.go(str(api.client.make_url("/reference/webhooks")))
        await expect(watched.page.get_by_role("button", name="Try it")).to_have_count(0)
        await expect(watched.page.locator("#createWebhookEndpoint")).to_be_visible()
        await watched.go(str(api.client.make_url("/reference/versions")))
        await expect(watched.page.get_by_role("heading", name="2026-11-30")).to_be_visible()
