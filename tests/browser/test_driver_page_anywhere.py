"""The driver's way on any phone: without script, without the card form, with a bad connection.

axe is a script: what it says of these pages is asked where script runs (test_driver_page.py).
"""

from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, Route, expect

from gateway.database import Pool
from tests.browser.conftest import PHONE, OpenPage, Theme, WatchedPage
from tests.browser.test_driver_page import ASKS, DECLINES, PAYS, opened, pay, stage, token_in
from tests.fakes.driver_page import Driver

THEMES: tuple[Theme, ...] = ("light", "dark")
NARROW = 320
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
THERE = "Pay on the provider's page"


async def type_card(page: Page, number: str) -> None:
    """The card on the PSP's page, and its button."""
    await page.locator("#number").fill(number)
    await page.locator("#expiry").fill("12 / 34")
    await page.locator("#cvc").fill("123")
    await page.get_by_role("button", name="Pay").click()


async def lead_to_psp(watched: WatchedPage, address: str) -> None:
    page: Page = watched.page
    page.set_default_timeout(10_000)
    await watched.go(address)
    await expect(page.get_by_role("button", name=THERE)).to_be_visible()
    await expect(page.locator("#pay")).to_be_hidden()
    await watched.check(axe=False)
    await page.get_by_role("button", name=THERE).click()
    await page.wait_for_url("**/c/pay/cs_*")


async def reload_until(page: Page, name: str) -> None:
    """Without script a page renews itself; the driver is faster."""
    await page.goto(page.url.partition("?")[0])
    await expect(page.locator("#live")).to_have_attribute("data-stage", name)


@pytest.mark.parametrize("theme", THEMES)
async def test_without_script_from_the_code_to_the_receipt_with_the_banks_question(
    pool: Pool, open_page: OpenPage, theme: Theme
) -> None:
    async with (
        opened(pool) as (driver, address),
        open_page(width=PHONE, theme=theme, script=False) as watched,
    ):
        page: Page = watched.page
        await lead_to_psp(watched, address)
        await watched.check(axe=False)
        await type_card(page, ASKS)
        await page.wait_for_url("**/authenticate")
        await page.get_by_role("button", name="Accept").click()
        await page.wait_for_url("**/charge/*")
        await expect(page.locator("#live")).to_have_attribute("data-stage", "starting")
        assert "secret" not in page.url
        await watched.check(axe=False)
        token = token_in(page)
        await driver.report(token, kwh=10.0)
        await reload_until(page, "charging")
        await expect(page.locator("[data-field=cost]")).to_have_text("5.93 EUR")
        assert (
            await page.locator("noscript meta[http-equiv=refresh]").count()
            or "refresh" in await page.content()
        )
        await page.get_by_role("link", name="Invoice for a company").click()
        assert 'http-equiv="refresh"' not in await page.content()  # it does not renew itself while one writes
        await watched.check(axe=False)
        for name, value in {
            "name": "Vracht B.V.",
            "street": "Haven 3",
            "postal_code": "3011 AB",
            "city": "Rotterdam",
            "country": "NL",
        }.items():
            await page.locator(f"#company-{name}").fill(value)
        await page.get_by_role("button", name="Use for the invoice").click()
        await expect(page.get_by_text("The invoice will be in the company's name.")).to_be_visible()
        await page.get_by_role("button", name="Stop charging").click()
        await expect(page.locator("#live")).to_have_attribute("data-stage", "stopping")
        await driver.complete(token)
        await reload_until(page, "paid")
        await expect(page.locator("[data-field=total]")).to_have_text("12.15 EUR")
        await driver.clear()
        await reload_until(page, "paid")
        await watched.check(axe=False)
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Receipt (PDF)").click()
        assert (await download.value).suggested_filename.endswith(".pdf")
        assert [name for name, _ in driver.operator.commands] == ["START_SESSION", "STOP_SESSION"]


async def test_without_script_a_declined_card_is_replaced_on_the_psps_page(
    pool: Pool, open_page: OpenPage
) -> None:
    async with opened(pool) as (driver, address), open_page(width=NARROW, script=False) as watched:
        page: Page = watched.page
        await lead_to_psp(watched, address)
        await type_card(page, DECLINES)
        await expect(page.locator("#error")).to_contain_text("insufficient funds")
        assert driver.operator.commands == []
        await type_card(page, PAYS)
        await page.wait_for_url("**/charge/*")
        await expect(page.locator("#live")).to_have_attribute("data-stage", "starting")
        watched.troubles.clear()  # the answer 402 to the declined card
        await watched.check(axe=False)
        assert await driver.pool.fetchval("SELECT count(*) FROM gateway.payment_authorization") == 1


async def test_without_script_a_driver_leaves_the_psps_page_and_cancels_or_goes_on(
    pool: Pool, open_page: OpenPage
) -> None:
    async with opened(pool) as (driver, address), open_page(width=PHONE, script=False) as watched:
        page: Page = watched.page
        await lead_to_psp(watched, address)
        await page.get_by_role("link", name="Back without paying").click()
        await page.wait_for_url("**/charge/*")
        await expect(page.get_by_role("heading", name="Not paid yet")).to_be_visible()
        await watched.check(axe=False)
        await page.get_by_role("link", name="Continue to the payment page").click()
        await page.wait_for_url("**/c/pay/cs_*")
        hosted = page.url
        await page.get_by_role("link", name="Back without paying").click()
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.locator("#live")).to_have_attribute("data-stage", "lapsed")
        await watched.check(axe=False)
        await watched.go(hosted)
        await expect(page.get_by_role("heading", name="This page has expired")).to_be_visible()
        assert driver.operator.commands == []


async def refuse(route: Route) -> None:
    await route.abort("failed")


async def test_a_card_form_that_cant_be_had_gives_way_to_the_psps_page(
    pool: Pool, open_page: OpenPage
) -> None:
    async with opened(pool) as (_, address), open_page(width=PHONE) as watched:
        page: Page = watched.page
        await page.route("**/_sandbox/element.js", refuse)
        await watched.go(address)
        await expect(page.locator("#card-error")).to_contain_text("does not load")
        await page.get_by_role("button", name=THERE).click()
        await page.wait_for_url("**/c/pay/cs_*")
        await type_card(page, PAYS)
        await page.wait_for_url("**/charge/*")
        await stage(page, "starting")


async def test_a_page_whose_own_script_never_comes_offers_the_psps_page_after_seconds(
    pool: Pool, open_page: OpenPage
) -> None:
    async with opened(pool) as (_, address), open_page(width=PHONE) as watched:
        page: Page = watched.page
        await page.route("**/driver-page/pay.js*", refuse)
        await watched.go(address)
        there = page.get_by_role("button", name=THERE)
        assert not await there.is_visible()
        await expect(there).to_be_visible(timeout=12_000)
        watched.troubles.clear()  # what was refused above
        await watched.check()


async def test_a_card_form_that_is_there_is_alone(pool: Pool, open_page: OpenPage) -> None:
    async with opened(pool) as (_, address), open_page(width=PHONE) as watched:
        await watched.go(address)
        await expect(watched.page.get_by_role("button", name="Pay and charge")).to_be_enabled()
        await watched.page.wait_for_timeout(9_000)
        await expect(watched.page.get_by_role("button", name=THERE)).to_be_hidden()
        await watched.check()


async def charging(driver: Driver, watched: WatchedPage, address: str) -> str:
    await watched.go(address)
    await pay(watched.page, PAYS)
    await stage(watched.page, "starting")
    token = token_in(watched.page)
    await driver.report(token, kwh=10.0)
    await stage(watched.page, "charging")
    return token


async def test_a_lost_connection_is_said_and_the_page_goes_on_by_itself(
    pool: Pool, open_page: OpenPage
) -> None:
    async with opened(pool) as (driver, address), open_page(width=PHONE) as watched:
        page: Page = watched.page
        token = await charging(driver, watched, address)
        await page.context.set_offline(True)
        await expect(page.locator("#offline")).to_be_visible()
        await page.get_by_role("button", name="Stop charging").click()  # stays where it is
        await expect(page.locator("#live")).to_have_attribute("data-stage", "charging")
        assert token in page.url
        await driver.report(token, kwh=14.0, minutes=30)
        await page.context.set_offline(False)
        await expect(page.locator("#offline")).to_be_hidden()
        await expect(page.locator("[data-field=energy]")).to_have_text("14.0 kWh", timeout=15_000)
        await page.get_by_role("button", name="Stop charging").click()
        await stage(page, "stopping")


async def test_a_stream_that_breaks_is_followed_by_asking_and_then_by_a_stream_again(
    pool: Pool, open_page: OpenPage
) -> None:
    async with opened(pool) as (driver, address), open_page(width=PHONE) as watched:
        page: Page = watched.page
        token = await charging(driver, watched, address)
        seen: list[str] = []
        page.on("request", lambda one: seen.append(urlsplit(one.url).path.rpartition("/")[2]))
        await page.route("**/events?*", refuse)
        await page.context.set_offline(True)
        await page.context.set_offline(False)  # the open stream is gone, and no other can be had
        await driver.report(token, kwh=12.0, minutes=25)
        await expect(page.locator("[data-field=energy]")).to_have_text("12.0 kWh", timeout=30_000)
        assert "live" in seen
        await page.unroute("**/events?*")
        seen.clear()
        async with page.expect_request("**/events?*", timeout=60_000):
            pass
        await driver.report(token, kwh=13.0, minutes=28)
        await expect(page.locator("[data-field=energy]")).to_have_text("13.0 kWh", timeout=15_000)


async def test_a_phone_that_wakes_asks_at_once(pool: Pool, open_page: OpenPage) -> None:
    async with opened(pool, live_seconds=3600.0) as (driver, address), open_page(width=PHONE) as watched:
        page: Page = watched.page
        await watched.go(address)
        await pay(page, PAYS)
        await stage(page, "starting")
        await driver.report(token_in(page), kwh=10.0)  # the stream looks again in an hour only
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await stage(page, "charging")
