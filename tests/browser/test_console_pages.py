"""Every page of the console in a real browser: both themes, three widths, without script, by two people."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import BrowserContext

from gateway.console.views.routes import PAGES
from gateway.database import Pool
from tests.browser.conftest import PHONE, TABLET, WIDE, OpenPage, Theme, WatchedPage
from tests.fakes.console import ConsoleOfTest, HostileTariff, open_console, paid_session
from tests.fakes.console_operators import add_decision, add_operator

LISTS = [path for path in PAGES if "{" not in path]


async def use_link(console: ConsoleOfTest, watched: WatchedPage, **who: str) -> None:
    """Sign in as a person does: open the link, press the button."""
    _, path = await console.invite(**who)
    await watched.go(console.base + path)
    await watched.page.get_by_role("button").click()
    await watched.page.wait_for_url("**/console")


def with_cookies(console: ConsoleOfTest, **who: str) -> Callable[[BrowserContext], Awaitable[None]]:
    async def prepare(context: BrowserContext) -> None:
        visitor = await console.signed_in(**who)
        cookies: list[Any] = [
            {"name": one.key, "value": one.value, "url": console.base} for one in visitor.session.cookie_jar
        ]
        await context.add_cookies([*cookies, _zone(console)])

    return prepare


def _zone(console: ConsoleOfTest) -> Any:
    return {"name": "networkcore_zone", "value": "Europe%2FZurich", "url": f"{console.base}/console"}


async def address_on(watched: WatchedPage, pattern: str) -> str:
    found = re.search(pattern, await watched.page.content())
    for _ in range(20):  # a request is in the log about a second after its answer
        if found is not None:
            break
        await asyncio.sleep(0.25)
        await watched.page.reload()
        found = re.search(pattern, await watched.page.content())
    assert found is not None, watched.page.url
    return found[0]


async def every_page(console: ConsoleOfTest, watched: WatchedPage, session: str) -> list[str]:
    pool = console.api.services.pool
    peer, decision = await add_operator(pool), await add_decision(pool)
    objects = [
        f"/console/sessions/{session}",
        "/console/parties/DE-ABC",
        "/console/nowhere/x",
        f"/console/operators/connections/{peer}",
        "/console/operators/tariffs/DE-ABC/t1?kwh=30&minutes=60&start=2026-11-30T02:00",
        "/console/operators/tariffs/DE-ABC/by-minute",
        "/console/operators/meter-keys?party=DE-ABC",
        f"/console/plug-and-charge/decisions/{decision}",
        "/console/keys?party=parking",
    ]
    for path, pattern in (
        ("/console/payouts", r"/console/payouts/dis_\w+"),
        ("/console/webhooks", r"/console/webhooks/whe_\w+"),
        ("/console/events", r"/console/events/evt_\w+"),
        ("/console/requests", r"/console/requests/rql_\w+"),
    ):
        await watched.go(console.base + path)
        objects.append(await address_on(watched, pattern))
    return [*LISTS, "/console?day=2026-10-29", "/console/flow?day=2026-11-05&range=month", *objects]


@pytest.mark.parametrize(
    ("width", "theme", "axe"),
    [(WIDE, "light", True), (PHONE, "dark", True), (TABLET, "light", False), (PHONE, "light", False)],
)
async def test_every_page_holds_in_this_width_and_theme(
    pool: Pool, open_page: OpenPage, width: int, theme: Any, *, axe: bool
) -> None:
    async with open_console(pool, tariffs=HostileTariff()) as console:
        session = await paid_session(console.api)
        async with open_page(
            width=width, theme=theme, prepare=with_cookies(console), timezone_id="Europe/Zurich"
        ) as watched:
            for path in await every_page(console, watched, session):
                await watched.go(console.base + path, status=404 if "nowhere" in path else 200)
                if "nowhere" not in path:
                    await watched.check(axe=axe)
                assert await watched.page.title() != "x"  # a hostile text did not run


@pytest.mark.parametrize("language", ["de", "fr", "it"])
async def test_pages_of_other_languages_fit_a_phone(pool: Pool, open_page: OpenPage, language: str) -> None:
    async with open_console(pool) as console:
        session = await paid_session(console.api)
        async with open_page(width=PHONE, locale=language, prepare=with_cookies(console)) as watched:
            for path in (
                "/console",
                f"/console/sessions/{session}",
                "/console/payouts",
                "/console/approvals",
                "/console/operators/tariffs",
                "/console/operations",
                "/console/plug-and-charge",
                "/console/keys",
                "/console/requests",
            ):
                await watched.go(console.base + path)
                await watched.check(axe=False)
                assert await watched.page.locator("html").get_attribute("lang") == language


async def test_a_person_signs_in_refunds_and_signs_out(pool: Pool, open_page: OpenPage) -> None:
    async with open_console(pool) as console:
        session = await paid_session(console.api)
        async with open_page(timezone_id="America/New_York") as watched:
            await watched.go(f"{console.base}/console/sign-in")
            await watched.check()
            await use_link(console, watched, role="support")
            page = watched.page
            await watched.go(f"{console.base}/console/sessions/{session}")
            # Times are of the viewer's zone, with the market's beside it.
            assert "EDT" in await page.locator(".timeline").first.inner_text()
            assert "CET" in await page.locator(".timeline").first.inner_text()
            page.on("dialog", lambda dialog: dialog.accept())
            await page.get_by_label("Amount in EUR").fill("2.50")
            await page.locator("#refund").get_by_role("button").click()
            await page.wait_for_url("**notice=done")
            assert "2.50" in await page.locator(".timeline").first.inner_text()
            await watched.check()
            await page.get_by_role("button", name="Sign out", exact=True).first.click()
            await page.wait_for_url("**/console/sign-in")
            await watched.go(f"{console.base}/console/sessions/{session}")
            assert "/console/sign-in" in page.url


async def test_two_people_decide_on_new_bank_details_and_a_viewer_has_no_button(
    pool: Pool, open_page: OpenPage
) -> None:
    async with open_console(pool) as console:
        await paid_session(console.api)
        address = {"street": "Werft", "building": "1", "post_code": "1000", "town": "Hafen", "country": "DE"}
        bank = {"name": "Hafen GmbH", "iban": "DE89370400440532013000", "address": address}
        made = await console.api.call("POST", "/v1/parties/DE-ABC/bank-details", bank, party="admin")
        assert made.status == 201, made.text
        async with open_page(prepare=with_cookies(console, role="viewer")) as watched:
            await watched.go(f"{console.base}/console/approvals")
            assert await watched.page.get_by_role("button", name="Approve").count() == 0
        async with open_page(prepare=with_cookies(console, role="finance")) as watched:
            await watched.go(f"{console.base}/console/approvals")
            await watched.check()
            await watched.page.get_by_role("button", name="Approve").click()
            await watched.page.wait_for_url("**notice=done")
            assert await watched.page.get_by_role("button", name="Approve").count() == 0


async def test_pages_work_without_script(pool: Pool, open_page: OpenPage) -> None:
    async with open_console(pool) as console:
        session = await paid_session(console.api)
        async with open_page(width=PHONE, script=False) as watched:
            await use_link(console, watched)
            await watched.go(f"{console.base}/console/sessions/{session}")
            text = await watched.page.locator(".timeline").first.inner_text()
            assert "UTC" in text
            assert await watched.page.locator(".copy").first.is_hidden()
            await watched.page.locator(".menu summary").click()
            await watched.page.locator(".menu").get_by_role("link", name="Payouts").click()
            await watched.page.wait_for_url("**/console/payouts")


async def test_a_developer_copies_a_new_key_once_and_the_figures_of_operations_follow_what_happens(
    pool: Pool, open_page: OpenPage
) -> None:
    async with open_console(pool) as console:
        await paid_session(console.api)
        async with open_page(prepare=with_cookies(console, party="parking")) as watched:
            page = watched.page
            await watched.go(f"{console.base}/console/keys")
            await page.get_by_label("capture:read").check()
            await page.get_by_role("button", name="Create the key").click()
            assert await page.locator(".notice code").inner_text() != ""
            await watched.check()
            await page.reload()  # a form that is sent again shows nothing again
            assert await page.locator(".notice code").count() == 0
        async with open_page(prepare=with_cookies(console)) as watched:
            page = watched.page
            await watched.go(f"{console.base}/console/operations")
            shown = page.locator("[data-live] time").first
            before = await shown.get_attribute("datetime")
            console.api.clock.pass_wall(60)
            await page.wait_for_function(
                "before => document.querySelector('[data-live] time').dateTime !== before", arg=before
            )
            await watched.check()
            await page.get_by_role("button", name="Pause").click()
            assert await page.get_by_role("button", name="Resume").count() == 1
            await page.get_by_role("button", name="Resume").click()
            form = page.locator(".side form[action='/console/sign-out']").first
            answer = await page.request.post(
                f"{console.base}/console/sign-out",
                form={"csrf": await form.locator("input[name=csrf]").get_attribute("value") or ""},
                max_redirects=0,
            )
            assert answer.status == 303  # as in another tab
            await page.wait_for_url("**/console/sign-in?next=*")  # the figures are gone from the screen
            assert await page.locator("[data-live]").count() == 0


@pytest.mark.parametrize(("width", "theme"), [(PHONE, "dark"), (WIDE, "light")])
async def test_without_script_the_figures_of_operations_are_read_again_by_a_link(
    pool: Pool, open_page: OpenPage, width: int, theme: Theme
) -> None:
    async with (
        open_console(pool) as console,
        open_page(prepare=with_cookies(console), script=False, width=width, theme=theme) as watched,
    ):
        await watched.go(f"{console.base}/console/operations")
        before = await watched.page.locator("[data-live] time").first.get_attribute("datetime")
        console.api.clock.pass_wall(60)
        await watched.page.get_by_role("link", name="Reload").click()
        assert await watched.page.locator("[data-live] time").first.get_attribute("datetime") != before
        assert await watched.page.get_by_role("button", name="Pause").is_hidden()
        await watched.check(axe=False)  # axe is a script
