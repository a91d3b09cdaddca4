"""Forms on contracts and roots in a real browser: two themes, a phone, four languages, rejected too."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Dialog

from gateway.database import Pool
from sandbox.pki.hierarchy import ContractPki, Suite, build_pki
from tests.browser.conftest import PHONE, TABLET, WIDE, OpenPage, WatchedPage
from tests.browser.test_console_pages import with_cookies
from tests.fakes.api import START
from tests.fakes.console import ConsoleOfTest, open_console, paid_session
from tests.fakes.pnc_market import EMAID, OCSP_URL
from tests.integration.test_console_plug_and_charge import CONTRACT, ROOTS, contract_of, store_contract, trust


@asynccontextmanager
async def opened(
    pool: Pool, open_page: OpenPage, **options: Any
) -> AsyncIterator[tuple[ConsoleOfTest, ContractPki, WatchedPage]]:
    async with open_console(pool) as console:
        await paid_session(console.api)
        pki = build_pki(suite=Suite.P256, now=START, ocsp_url=OCSP_URL, name="A Mobility Operator")
        async with open_page(prepare=with_cookies(console), **options) as watched:
            yield console, pki, watched


async def accept(watched: WatchedPage, button: str) -> None:
    """Press a button, and say yes where the page asks."""

    async def yes(dialog: Dialog) -> None:
        await dialog.accept()

    watched.page.on("dialog", yes)
    await watched.page.get_by_role("button", name=button, exact=True).click()
    await watched.page.wait_for_load_state()
    watched.page.remove_listener("dialog", yes)


@pytest.mark.parametrize(
    ("width", "theme"), [(WIDE, "light"), (PHONE, "dark"), (TABLET, "dark"), (PHONE, "light")]
)
async def test_a_root_is_pasted_seen_and_confirmed(
    pool: Pool, open_page: OpenPage, width: int, theme: Any
) -> None:
    async with opened(pool, open_page, width=width, theme=theme) as (console, pki, watched):
        page = watched.page
        await watched.go(console.base + ROOTS)
        await watched.check()
        await page.get_by_label("Certificate in PEM").fill("not a certificate")
        await page.get_by_label("Reason", exact=True).fill("as published")
        await accept(watched, "Show the certificate")
        assert await page.get_by_role("alert").is_visible()
        assert await page.get_by_label("Reason", exact=True).input_value() == "as published"
        await watched.check()
        await page.get_by_label("Certificate in PEM").fill(pki.root.pem)
        await accept(watched, "Show the certificate")
        await watched.check()
        assert "A Mobility Operator" in await page.locator("main").inner_text()
        await accept(watched, "Trust this root")
        await page.wait_for_url("**notice=done")
        await page.get_by_role("link", name=re.compile("A Mobility Operator")).click()
        await watched.check()
        await page.get_by_label("Reason", exact=True).last.fill("key rolled")
        await accept(watched, "Retire the root")
        await page.wait_for_url("**notice=done")
        assert "No root is trusted." in await page.locator("main").inner_text()


@pytest.mark.parametrize(("width", "theme"), [(WIDE, "dark"), (PHONE, "light")])
async def test_a_contract_is_blocked_paid_otherwise_and_ended(
    pool: Pool, open_page: OpenPage, width: int, theme: Any
) -> None:
    async with opened(pool, open_page, width=width, theme=theme) as (console, pki, watched):
        page = watched.page
        await trust(console, pki)
        await store_contract(console, certificate_chain=pki.bundle(pki.issue(EMAID)))
        await watched.go(console.base + CONTRACT)
        await watched.check()
        await page.locator("#state-reason").fill("stolen car")
        await page.locator("#state").get_by_role("button", name="Block", exact=True).click()
        await page.wait_for_url("**notice=done")
        assert (await contract_of(console))["state"] == "blocked"
        await watched.check()
        await page.locator("#payment_method").fill("4242")
        await accept(watched, "Save")
        assert await page.get_by_role("alert").is_visible()
        assert await page.locator("#payment_method").input_value() == "4242"
        await watched.check()
        await page.locator("#type").select_option("partner_account")
        await accept(watched, "Save")
        await page.wait_for_url("**notice=done")
        assert (await contract_of(console))["payment_type"] == "partner_account"
        page.once("dialog", lambda dialog: dialog.dismiss())
        await page.get_by_role("button", name="End the contract").click()
        assert (await contract_of(console))["state"] == "blocked", "the person was asked, and said no"
        await accept(watched, "End the contract")
        await page.wait_for_url("**notice=done")
        assert (await contract_of(console))["state"] == "cancelled"
        await watched.check()


@pytest.mark.parametrize("language", ["de", "fr", "it"])
async def test_the_forms_fit_a_phone_in_each_language(pool: Pool, open_page: OpenPage, language: str) -> None:
    async with opened(pool, open_page, width=PHONE, locale=language) as (console, pki, watched):
        await trust(console, pki)
        await store_contract(console)
        root = pki.root.pem
        await watched.go(console.base + ROOTS)
        found = re.search(rf"{ROOTS}/[0-9a-f]{{64}}", await watched.page.content())
        assert found is not None
        for path in (ROOTS, found[0], CONTRACT, "/console/plug-and-charge/revocation"):
            await watched.go(console.base + path)
            await watched.check(axe=False)
        await watched.go(console.base + ROOTS)
        await watched.page.locator("#pem").fill(root)
        await watched.page.locator("#add button").click()
        assert await watched.page.get_by_role("alert").is_visible(), "it is trusted already"
        await watched.check(axe=False)
        assert await watched.page.locator("html").get_attribute("lang") == language
