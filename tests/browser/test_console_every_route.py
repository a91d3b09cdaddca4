"""No page of the console without a look: every route at phone width, what axe says of it, and the keyboard.

A route without an address here makes the first test fail: add one on which its page shows something. Other
widths and the dark theme are in test_console_pages.py.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from playwright.async_api import BrowserContext, Locator

from gateway.console.views.routes import PAGES
from gateway.database import Pool
from tests.browser.conftest import PHONE, WIDE, OpenPage, WatchedPage, serious_findings
from tests.browser.test_console_pages import with_cookies
from tests.fakes.console import ConsoleOfTest, open_console, paid_session
from tests.fakes.console_everything import console_with_everything
from tests.fakes.console_operators import OPERATOR
from tests.fakes.pnc_market import EMAID
from tests.integration.test_console_money import with_difference

# A route's page by the list that has a link to it; without one, by its address.
LINKED: Final[Mapping[str, tuple[str, str]]] = {
    "/console/sessions/{id}": ("/console/sessions", r"/console/sessions/ses_\w+"),
    "/console/disputes/{id}": ("/console/disputes", r"/console/disputes/dsp_\w+"),
    "/console/ledger/accounts/{account}": ("/console/ledger", r"/console/ledger/accounts/[^\"?]+"),
    "/console/payouts/{id}": ("/console/payouts", r"/console/payouts/dis_\w+"),
    "/console/webhooks/{id}": ("/console/webhooks", r"/console/webhooks/whe_\w+"),
    "/console/events/{id}": ("/console/events", r"/console/events/evt_\w+"),
    "/console/requests/{id}": ("/console/requests", r"/console/requests/rql_\w+"),
    "/console/operators/connections/{id}": (
        "/console/operators",
        r"/console/operators/connections/ocp_\w+",
    ),
    "/console/plug-and-charge/decisions/{id}": (
        "/console/plug-and-charge",
        r"/console/plug-and-charge/decisions/dec_\w+",
    ),
    "/console/plug-and-charge/roots/{sha256}": (
        "/console/plug-and-charge/roots",
        r"/console/plug-and-charge/roots/[0-9a-f]{64}",
    ),
}
# A delivery, by the page of its endpoint: it has a link once there was an attempt.
DELIVERY: Final = "/console/webhooks/{id}/deliveries/{event_id}"
ADDRESSES: Final[Mapping[str, str]] = {
    "/console/operators/tariffs/{party}/{tariff}": f"/console/operators/tariffs/{OPERATOR}/by-minute",
    "/console/plug-and-charge/contracts/{emaid}": f"/console/plug-and-charge/contracts/{EMAID}",
    "/console/parties/{id}": "/console/parties/DE-ABC",
}
WITH_DIFFERENCE: Final[Mapping[str, tuple[str, str]]] = {
    "/console/exceptions/{id}": ("/console/exceptions", r"/console/exceptions/exc_\w+"),
    "/console/reconciliation/{id}": ("/console/reconciliation", r"/console/reconciliation/rdf_\w+"),
}
FILES: Final = frozenset(  # downloads, and an address that leads to a session: no pages of their own
    {
        "/console/objects/{id}",
        "/console/sessions/{id}/receipt",
        "/console/payouts/{id}/statement",
        "/console/evidence/{id}",
        "/console/documents/{number}",
    }
)
LISTS: Final = [path for path in PAGES if "{" not in path]
_TARGET_SIZE: Final = {"runOnly": ["target-size"], "resultTypes": ["violations"]}


def test_every_route_is_looked_at() -> None:
    known = {*LISTS, *LINKED, DELIVERY, *ADDRESSES, *WITH_DIFFERENCE, *FILES}
    assert set(PAGES) == known, "add an address of the page to this file"


async def linked(
    console: ConsoleOfTest, watched: WatchedPage, places: Mapping[str, tuple[str, str]]
) -> list[str]:
    """The address of each page, from the list that links it: a list without the link fails."""
    found = []
    for path, pattern in places.values():
        await watched.go(console.base + path)
        for _ in range(20):  # a request is in the log about a second after its answer
            match = re.search(pattern, await watched.page.content())
            if match is not None:
                break
            await asyncio.sleep(0.25)
            await watched.page.reload()
        assert match is not None, f"{path} links no page of {pattern}"
        found.append(match[0])
    return found


async def check_on_a_phone(console: ConsoleOfTest, watched: WatchedPage, path: str) -> None:
    await watched.go(console.base + path)
    await watched.check()
    small = await serious_findings(watched.page, options=_TARGET_SIZE)
    assert small == []  # WCAG 2.2, 2.5.8: 24 pixels, or space around


async def test_every_page_is_fit_for_a_phone(pool: Pool, open_page: OpenPage) -> None:
    async with (
        console_with_everything(pool) as console,
        open_page(width=PHONE, prepare=with_cookies(console)) as watched,
    ):
        objects = await linked(console, watched, LINKED)
        await watched.go(console.base + next(path for path in objects if "/whe_" in path))
        event = re.search(r"/console/events/(evt_\w+)", await watched.page.content())
        assert event is not None, "the endpoint's page lists no delivery"
        objects.append(
            DELIVERY.replace("{event_id}", event[1]).replace("{id}", watched.page.url.rpartition("/")[2])
        )
        for path in [*LISTS, *objects, *ADDRESSES.values()]:
            await check_on_a_phone(console, watched, path)


async def test_pages_of_a_difference_and_an_exception_are_fit_for_a_phone(
    pool: Pool, open_page: OpenPage
) -> None:
    async with (
        with_difference(pool) as (console, _),
        open_page(width=PHONE, prepare=with_cookies(console, role="finance")) as watched,
    ):
        for path in await linked(console, watched, WITH_DIFFERENCE):
            await check_on_a_phone(console, watched, path)
        # The exception leads to what it is about.
        await watched.page.goto(console.base + (await linked(console, watched, WITH_DIFFERENCE))[0])
        await watched.page.get_by_role("link", name="Open what it is about").click()
        await watched.page.wait_for_url("**/console/reconciliation/rdf_*")


async def test_errors_are_pages_that_say_what_to_do(pool: Pool, open_page: OpenPage) -> None:
    async with (
        open_console(pool) as console,
        open_page(width=PHONE, locale="de", prepare=with_cookies(console, party="DE-ABC")) as watched,
    ):
        for path, status, advice in (
            ("/console/nowhere/x", 404, "oder es gehört einem anderen Teilnehmer"),
            ("/console/sessions/ses_x", 404, "oder es gehört einem anderen Teilnehmer"),
            ("/console/ledger", 403, "Ihre Rolle umfasst das nicht"),
        ):
            await watched.go(console.base + path, status=status)
            await watched.check()
            shown = await watched.page.locator("main").inner_text()
            assert advice in shown
            assert "req_" in shown  # what support asks for


async def tab_to(watched: WatchedPage, wanted: Locator) -> None:
    """Reach an element by Tab alone, and see where the focus is on the way."""
    for _ in range(120):
        await watched.page.keyboard.press("Tab")
        outline = await watched.page.evaluate(
            "() => { const style = getComputedStyle(document.activeElement);"
            " return [style.outlineStyle, parseFloat(style.outlineWidth)]; }"
        )
        assert outline[0] != "none", await watched.page.evaluate("document.activeElement.outerHTML")
        assert outline[1] >= 2
        if await wanted.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError("Tab does not reach it")


async def test_a_refund_is_made_by_keyboard_and_a_wrong_amount_is_given_back(
    pool: Pool, open_page: OpenPage
) -> None:
    async with open_console(pool) as console:
        session = await paid_session(console.api)
        async with open_page(prepare=with_cookies(console, role="support")) as watched:
            page = watched.page
            page.on("dialog", lambda dialog: dialog.accept())
            await watched.go(f"{console.base}/console/sessions/{session}")
            await tab_to(watched, page.locator(".skip"))
            await page.keyboard.press("Enter")  # past the sections
            amount = page.get_by_label("Amount in EUR")
            await tab_to(watched, amount)
            await page.keyboard.type("1.000,5")
            await tab_to(watched, page.locator("#reason"))
            await page.keyboard.press("ArrowDown")
            await page.keyboard.press("Tab")
            await page.keyboard.press("Enter")
            await page.wait_for_url("**field=amount")
            await watched.check()
            assert await amount.input_value() == "1.000,5"
            assert await page.locator("#reason").input_value() == "duplicate"
            assert await amount.get_attribute("aria-invalid") == "true"
            described = await amount.get_attribute("aria-describedby")
            assert "expected an amount in EUR" in await page.locator(f"#{described}").inner_text()
            assert await amount.evaluate("one => one === document.activeElement")
            await page.keyboard.press("Control+A")
            await page.keyboard.type("1.50")
            await page.keyboard.press("Enter")
            await page.wait_for_url("**notice=done")


async def test_a_wrong_filter_keeps_the_form_and_names_its_field(pool: Pool, open_page: OpenPage) -> None:
    async with (
        open_console(pool) as console,
        open_page(prepare=with_cookies(console, role="viewer")) as watched,
    ):
        await watched.go(f"{console.base}/console/sessions?amount_min=5&evse_id=DE*X", status=400)
        await watched.check()
        page = watched.page
        assert await page.get_by_label("Amount from").input_value() == "5"
        assert await page.get_by_label("EVSE").input_value() == "DE*X"
        currency = page.get_by_label("Currency")
        assert await currency.get_attribute("aria-invalid") == "true"
        assert await currency.get_attribute("aria-describedby") == "problem"


async def test_a_difference_is_resolved_and_approved_by_keyboard(pool: Pool, open_page: OpenPage) -> None:
    async with with_difference(pool) as (console, path):
        async with open_page(width=WIDE, prepare=with_cookies(console, role="finance")) as watched:
            page = watched.page
            await watched.go(console.base + path)
            await tab_to(watched, page.get_by_label("Resolution"))
            await tab_to(watched, page.get_by_label("Reason"))
            await page.keyboard.type("nobody knows yet")
            await tab_to(watched, page.get_by_role("button", name="Propose"))
            await page.keyboard.press("Enter")
            await page.wait_for_url("**notice=done")
        async with open_page(prepare=with_cookies(console, role="finance", name="Ben")) as other:
            await other.go(f"{console.base}/console/approvals")
            await tab_to(other, other.page.get_by_role("button", name="Approve"))
            await other.page.keyboard.press("Enter")
            await other.page.wait_for_url("**notice=done")


async def test_an_id_is_copied_by_its_button_or_else_selected(pool: Pool, open_page: OpenPage) -> None:
    async with open_console(pool) as console:
        session = await paid_session(console.api)

        async def prepare(context: BrowserContext) -> None:
            await with_cookies(console)(context)
            await context.grant_permissions(["clipboard-read", "clipboard-write"], origin=console.base)

        async with open_page(prepare=prepare) as watched:
            page = watched.page
            for path in (f"/console/sessions/{session}", "/console/events"):
                await watched.go(console.base + path)
                button = page.locator("main .copy").first
                await button.click()
                await page.wait_for_selector(".copy.copied")
                copied = await page.evaluate("navigator.clipboard.readText()")
                assert copied == await button.get_attribute("data-copy")
            await page.evaluate(
                "() => { navigator.clipboard.writeText = async () => { throw new Error('no'); }; }"
            )
            other = page.locator("main .copy").nth(1)
            await other.click()
            await page.wait_for_function("getSelection().toString() !== ''")
            selected = await page.evaluate("getSelection().toString()")
            assert selected.replace("\n", "") == await other.get_attribute("data-copy")


async def test_rows_stay_rows_for_a_screen_reader_on_a_phone(pool: Pool, open_page: OpenPage) -> None:
    async with open_console(pool) as console:
        await paid_session(console.api)
        async with open_page(width=PHONE, prepare=with_cookies(console)) as watched:
            await watched.go(f"{console.base}/console/sessions")
            table = watched.page.get_by_role("table").first
            assert await table.get_by_role("row").count() == 2
            assert await table.get_by_role("rowheader").count() == 1
            # The filters are behind their button, which the keyboard works too.
            assert await watched.page.get_by_label("Amount from").is_hidden()
            await watched.page.get_by_label("Filters").focus()
            await watched.page.keyboard.press("Space")
            assert await watched.page.get_by_label("Amount from").is_visible()
            await watched.check()
