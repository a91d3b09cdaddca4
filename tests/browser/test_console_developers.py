"""Endpoints, attempts, keys, audits and a busy console in a real browser: wide, and on a phone."""

import os
from typing import Any

import pytest

from gateway.audit.daily_audit import audit_daily
from gateway.audit.system_audit import audit_system, record_audit
from gateway.database import Pool
from tests.browser.conftest import PHONE, WIDE, OpenPage, WatchedPage
from tests.browser.test_console_pages import with_cookies
from tests.fakes.console import open_console, paid_session
from tests.fakes.console_webhooks import add_attempts

ENDPOINT = {
    "url": "https://127.0.0.1:9/hooks/of/a/partner/with/a/rather/long/address",
    "signature": "v1a",
    "filter": {"evse_prefixes": ["DE*ABC"], "metadata": {"order": "7"}},
    "headers": {"X-Tenant": "blue"},
}
SHOWN = [(WIDE, "light"), (PHONE, "dark")]
PICTURES = os.environ.get("PICTURES")  # a directory: what the pages look like


async def picture(watched: WatchedPage, name: str) -> None:
    if PICTURES:
        width = watched.page.viewport_size["width"] if watched.page.viewport_size else 0
        await watched.page.screenshot(path=f"{PICTURES}/{name}-{width}.png", full_page=True)


@pytest.mark.parametrize(("width", "theme"), SHOWN)
async def test_an_endpoint_is_changed_and_its_attempts_are_read(
    pool: Pool, open_page: OpenPage, width: int, theme: Any
) -> None:
    async with open_console(pool) as console:
        await paid_session(console.api)
        made = await console.api.call("POST", "/v1/webhook-endpoints", ENDPOINT)
        assert made.status == 201, made.text
        path, _ = await add_attempts(pool)
        who = with_cookies(console, party="parking", role="developer")
        async with open_page(width=width, theme=theme, prepare=who) as watched:
            page = watched.page
            await watched.go(f"{console.base}/console/webhooks")
            await watched.check()
            await picture(watched, "webhooks")
            await watched.go(f"{console.base}/console/webhooks/{made.json['id']}")
            assert await page.get_by_text(made.json["public_key"], exact=True).is_visible()
            await page.get_by_text("Change the endpoint").click()
            await watched.check()
            await picture(watched, "webhook")
            await page.get_by_label("Remove X-Tenant").check()
            await page.get_by_label("Own headers").fill("X-New: 1")
            await page.get_by_role("button", name="Save").click()
            await page.wait_for_url("**notice=done")
            assert "X-New" in await page.locator(".facts").first.inner_text()
            assert "X-Tenant" not in await page.locator(".facts").first.inner_text()
            await page.locator(f"a[href='{path}']").click()
            await page.wait_for_url(f"**{path}")
            await watched.check()
            await picture(watched, "delivery")
            assert await page.locator("pre").count() == 1
            assert await page.title() != "x"  # a hostile answer did not run


@pytest.mark.parametrize(("width", "theme"), SHOWN)
async def test_a_key_is_given_another_version(
    pool: Pool, open_page: OpenPage, width: int, theme: Any
) -> None:
    async with open_console(pool) as console:
        await paid_session(console.api)
        who = with_cookies(console, party="parking", role="administrator")
        async with open_page(width=width, theme=theme, prepare=who) as watched:
            await watched.go(f"{console.base}/console/keys")
            await watched.check()
            await picture(watched, "keys")
            await watched.page.locator("td select").first.select_option("2026-11-01")
            await watched.page.get_by_role("button", name="Set").first.click()
            await watched.page.wait_for_url("**notice=done")
            assert await watched.page.locator("td select").first.input_value() == "2026-11-01"


@pytest.mark.parametrize(("width", "theme"), SHOWN)
async def test_operations_show_what_audits_compared(
    pool: Pool, open_page: OpenPage, width: int, theme: Any
) -> None:
    async with open_console(pool) as console:
        await paid_session(console.api)
        clock = console.api.clock
        whole = await audit_system(pool, clock=clock, psp=None, psp_expected=True)
        await record_audit(pool, whole, clock=clock, began_at=clock.wall_now())
        daily = await audit_daily(pool, clock=clock, psp=None, psp_expected=True)
        await record_audit(pool, daily.audit, clock=clock, began_at=clock.wall_now(), daily=True)
        for language in ("en", "de") if width == PHONE else ("en",):
            async with open_page(
                width=width, theme=theme, locale=language, prepare=with_cookies(console)
            ) as watched:
                await watched.go(f"{console.base}/console/operations")
                await watched.check()
                await picture(watched, f"operations-{language}")


@pytest.mark.parametrize(("width", "theme"), SHOWN)
async def test_a_busy_console_says_so_and_leads_back(
    pool: Pool, open_page: OpenPage, width: int, theme: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        open_console(pool) as console,
        open_page(width=width, theme=theme, prepare=with_cookies(console)) as watched,
    ):
        with monkeypatch.context() as busy:
            busy.setattr("gateway.console.turns.WAITING_FOR_EACH", 0)
            await watched.go(f"{console.base}/console/events?type=capture.succeeded", status=503)
            await picture(watched, "busy")
            watched.troubles.clear()  # the browser's line about the 503
            await watched.check()
        await watched.page.get_by_role("link", name="Try again").click()
        await watched.page.wait_for_url("**/console/events?type=capture.succeeded")
        assert await watched.page.locator("main h1").inner_text() == "Events"
