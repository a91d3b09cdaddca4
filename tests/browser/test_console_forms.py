"""Forms on contracts and roots in a real browser: two themes, a phone, four languages, rejected too."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Dialog, FilePayload

from gateway.database import Pool
from sandbox.pki.hierarchy import ContractPki, Suite, build_pki, cross_sign, revocation_list
from tests.browser.conftest import PHONE, TABLET, WIDE, OpenPage, WatchedPage
from tests.browser.test_console_pages import with_cookies
from tests.fakes.api import START
from tests.fakes.console import ConsoleOfTest, open_console, paid_session
from tests.fakes.pnc_market import EMAID, OCSP_URL
from tests.integration.test_console_plug_and_charge import CONTRACT, ROOTS, contract_of, store_contract, trust
from tests.integration.test_console_trust_forms import CROSS, REVOCATION


@asynccontextmanager
async def opened(
    pool: Pool, open_page: OpenPage, **options: Any
) -> AsyncIterator[tuple[ConsoleOfTest, ContractPki, WatchedPage]]:
    async with open_console(pool) as console:
        await paid_session(console.api)
        pki = build_pki(suite=Suite.P256, now=START, ocsp_url=OCSP_URL, name="A Mobility Operator")
        async with open_page(prepare=with_cookies(console), **options) as watched:
            yield console, pki, watched


async def accept(watched: WatchedPage, button: str | re.Pattern[str]) -> None:
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


@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light"), (PHONE, "dark")])
async def test_an_authority_a_cross_certificate_and_a_list_are_seen_and_confirmed(
    pool: Pool, open_page: OpenPage, width: int, theme: Any
) -> None:
    async with opened(pool, open_page, width=width, theme=theme) as (console, pki, watched):
        page = watched.page
        await trust(console, pki)
        await watched.go(console.base + ROOTS)
        await page.get_by_role("link", name=re.compile("A Mobility Operator")).click()
        await page.locator("#authority").fill(pki.second.pem)
        await page.locator("#authorities button").last.click()
        await watched.check()
        await accept(watched, "Let this authority issue contracts")
        await page.wait_for_url("**notice=done")
        await watched.check()
        await page.locator("#authorities summary").click()
        await watched.check()
        await page.locator("#authorities input[name=reason]").first.fill("ended")
        await accept(watched, re.compile("^Remove: "))
        await page.wait_for_url("**notice=done")
        assert "None is named" in await page.locator("#authorities").inner_text()

        other = build_pki(suite=Suite.P256, now=START, name="Another Operator")
        await watched.go(console.base + CROSS)
        await page.locator("#pem").fill(cross_sign(other.root, by=pki.root, now=START).pem)
        await accept(watched, "Show the certificate")
        await watched.check()
        await accept(watched, "Use this cross certificate")
        await page.wait_for_url("**notice=done")
        await watched.check()

        await watched.go(console.base + REVOCATION)
        await watched.check()
        crl = revocation_list(pki.second, now=console.api.clock.now(), serials=range(1, 31))
        await page.locator("#crl-authority").fill(pki.first.pem)
        for name, content in (("wrong.crl", b"no list"), ("of-another.crl", crl)):
            file: FilePayload = {"name": name, "mimeType": "application/pkix-crl", "buffer": content}
            await page.locator("#file").set_input_files(file)
            await accept(watched, "Show the list")
            assert await page.get_by_role("alert").is_visible()
            await watched.check()
        await page.locator("#crl-authority").fill(pki.second.pem)
        await page.locator("#file").set_input_files(file)
        await accept(watched, "Show the list")
        await watched.check()
        assert "The 20 that were revoked last." in await page.locator("main").inner_text()
        await accept(watched, "Store this list")
        await page.wait_for_url("**notice=done")


@pytest.mark.parametrize("language", ["de", "fr", "it"])
async def test_the_forms_fit_a_phone_in_each_language(pool: Pool, open_page: OpenPage, language: str) -> None:
    async with opened(pool, open_page, width=PHONE, locale=language) as (console, pki, watched):
        await trust(console, pki)
        await store_contract(console)
        root = pki.root.pem
        await watched.go(console.base + ROOTS)
        found = re.search(rf"{ROOTS}/[0-9a-f]{{64}}", await watched.page.content())
        assert found is not None
        for path in (ROOTS, found[0], CONTRACT, REVOCATION, CROSS):
            await watched.go(console.base + path)
            await watched.check(axe=False)
        other = build_pki(suite=Suite.P256, now=START, name="Another Operator")
        await watched.page.locator("#pem").fill(cross_sign(other.root, by=pki.root, now=START).pem)
        await watched.page.locator("#add button").click()
        await watched.page.wait_for_selector("input[name=confirmed]", state="attached")
        await watched.check(axe=False)
        await watched.go(console.base + found[0])
        await watched.page.locator("#authority").fill("ab" * 32)
        await watched.page.locator("#authorities button").last.click()
        await watched.page.wait_for_selector("input[name=confirmed]", state="attached")
        await watched.check(axe=False)
        await watched.go(console.base + REVOCATION)
        crl = revocation_list(pki.second, now=console.api.clock.now(), serials=[4711])
        await watched.page.locator("#crl-authority").fill(pki.second.pem)
        await watched.page.locator("#file").set_input_files(
            {"name": "a.crl", "mimeType": "application/pkix-crl", "buffer": crl}
        )
        await watched.page.locator("#upload button").click()
        await watched.page.wait_for_selector("input[name=confirmed]", state="attached")
        await watched.check(axe=False)
        await watched.go(console.base + ROOTS)
        await watched.page.locator("#pem").fill(root)
        await watched.page.locator("#add button").click()
        assert await watched.page.get_by_role("alert").is_visible(), "it is trusted already"
        await watched.check(axe=False)
        assert await watched.page.locator("html").get_attribute("lang") == language
