"""The driver's way in a real browser: from the price to the receipt, with a bank that asks, and a decline."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, expect

from gateway.database import Pool
from gateway.driver_page.qr_codes import page_address
from gateway.payments.psp.stripe.adapter import StripePsp
from sandbox.stripe.server import start_psp
from sandbox.stripe.settings import PspSettings
from sandbox.stripe.test_numbers import TEST_NUMBERS
from tests.browser.conftest import PHONE, OpenPage, Theme
from tests.fakes.driver_page import EVSE, Driver, open_driver_page
from tests.fakes.ocpi_edge import NOW

NUMBERS = {one.card: "".join(one.groups) for one in TEST_NUMBERS}
PAYS = NUMBERS["pm_card_visa"]
ASKS = NUMBERS["pm_card_authenticationRequired"]
DECLINES = NUMBERS["pm_card_visa_chargeDeclinedInsufficientFunds"]
THEMES: tuple[Theme, ...] = ("light", "dark")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def opened(pool: Pool, **changes: Any) -> AsyncIterator[tuple[Driver, str]]:
    """The page on a port of its own, with the sandbox PSP; and its address at one EVSE."""
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    async with start_psp(PspSettings(pull_webhooks=True, start_at=int(NOW.timestamp()))) as running:
        psp = StripePsp(
            api_key="sk_test_sandbox",
            webhook_secret="whsec_of_the_test",
            base_url=running.url,
            publishable_key="pk_test_sandbox",
        )
        try:
            async with open_driver_page(pool, psp=psp, base_url=base_url, port=port, **changes) as driver:
                yield driver, page_address(base_url, EVSE)
        finally:
            await psp.close()


async def enter_card(page: Page, number: str) -> None:
    frame = page.frame_locator("#card iframe")
    await frame.locator("#number").fill(number)
    await frame.locator("#expiry").fill("12 / 34")
    await frame.locator("#cvc").fill("123")


async def pay(page: Page, number: str) -> None:
    await enter_card(page, number)
    await page.get_by_role("button", name="Pay and charge").click()


async def stage(page: Page, name: str) -> None:
    await expect(page.locator("#live")).to_have_attribute("data-stage", name, timeout=15_000)


def token_in(page: Page) -> str:
    return urlsplit(page.url).path.split("/")[2]


@pytest.mark.parametrize("theme", THEMES)
async def test_a_driver_pays_confirms_charges_and_has_a_receipt(
    pool: Pool, open_page: OpenPage, theme: Theme
) -> None:
    async with opened(pool) as (driver, address), open_page(width=PHONE, theme=theme) as watched:
        page: Page = watched.page
        await watched.go(address)
        await expect(page.get_by_text("0.5929 EUR per kWh")).to_be_visible()
        await expect(page.get_by_role("button", name="Pay and charge")).to_be_enabled()
        await watched.check()
        await pay(page, ASKS)
        await page.wait_for_url("**/authenticate")  # the bank's page, without a tap
        await page.get_by_role("button", name="Accept").click()
        await page.wait_for_url("**/charge/*")
        await stage(page, "starting")
        assert "secret" not in page.url
        await watched.check()
        token = token_in(page)
        await driver.report(token, kwh=10.0)
        await stage(page, "charging")  # by itself
        await expect(page.locator("[data-field=cost]")).to_have_text("5.93 EUR")
        await driver.report(token, kwh=12.0, minutes=25)
        await expect(page.locator("[data-field=energy]")).to_have_text("12.0 kWh")
        await watched.check()
        await page.get_by_text("Invoice for a company").click()
        await watched.check()
        await page.get_by_role("button", name="Stop charging").click()
        await stage(page, "stopping")
        await driver.complete(token)
        await stage(page, "paid")
        await expect(page.locator("[data-field=total]")).to_have_text("12.15 EUR")
        await page.get_by_text("How the price is made up").click()
        await watched.check()
        assert [name for name, _ in driver.operator.commands] == ["START_SESSION", "STOP_SESSION"]


@pytest.mark.parametrize("theme", THEMES)
async def test_a_declined_card_is_replaced_by_another(pool: Pool, open_page: OpenPage, theme: Theme) -> None:
    async with opened(pool) as (driver, address), open_page(width=PHONE, theme=theme) as watched:
        page: Page = watched.page
        await watched.go(address)
        await pay(page, DECLINES)
        await stage(page, "declined")
        await expect(page.get_by_text("Your card does not cover the hold")).to_be_visible()
        await watched.check()
        assert driver.operator.commands == []
        await page.get_by_role("link", name="Pay with another card").click()
        await pay(page, PAYS)
        await stage(page, "starting")
        await watched.check()


async def test_a_double_tap_and_the_back_button_hold_once(pool: Pool, open_page: OpenPage) -> None:
    async with opened(pool) as (driver, address), open_page(width=PHONE) as watched:
        page: Page = watched.page
        await watched.go(address)
        await enter_card(page, PAYS)
        await page.get_by_role("button", name="Pay and charge").dblclick()
        await stage(page, "starting")
        paid = token_in(page)
        await page.go_back()
        await page.get_by_role("link", name="You have a payment here").click()
        await stage(page, "starting")
        assert token_in(page) == paid
        assert await driver.pool.fetchval("SELECT count(*) FROM gateway.payment_authorization") == 1
        await watched.check()


async def test_a_card_that_is_none_is_said_so_on_the_page(pool: Pool, open_page: OpenPage) -> None:
    async with opened(pool) as (driver, address), open_page(width=PHONE) as watched:
        page: Page = watched.page
        await watched.go(address)
        await pay(page, "1234 5678 1234 5678")
        await expect(page.locator("#card-error")).to_contain_text("incorrect")
        await expect(page.get_by_role("button", name="Pay and charge")).to_be_enabled()
        assert await driver.pool.fetchval("SELECT count(*) FROM gateway.driver_payment") == 0
        await watched.check(axe=False)


async def test_names_with_markup_run_nothing(pool: Pool, open_page: OpenPage) -> None:
    attack = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    async with opened(pool, place={"name": attack}) as (_, address), open_page(width=PHONE) as watched:
        await watched.go(address)
        assert await watched.page.title() != "owned"
        await expect(watched.page.get_by_role("heading", level=1)).to_have_text(attack)
        await watched.check(axe=False)


async def test_without_script_a_running_session_is_seen_and_stopped(pool: Pool, open_page: OpenPage) -> None:
    async with opened(pool) as (driver, address):
        shown = await driver.get(urlsplit(address).path)
        token = (await driver.send_payment("pm_card_visa", page=shown)).location.split("?")[0].split("/")[2]
        await driver.report(token)
        async with open_page(width=PHONE, script=False) as watched:
            await watched.go(f"{address.partition('/c/')[0]}/charge/{token}")
            await expect(watched.page.get_by_text("10.0 kWh")).to_be_visible()
            await watched.page.get_by_role("button", name="Stop charging").click()
            await expect(watched.page.locator("#live")).to_have_attribute("data-stage", "stopping")
