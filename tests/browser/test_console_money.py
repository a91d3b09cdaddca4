"""The console's pages of money in a real browser: the proof, four eyes, holds, evidence, saved views."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Route

from clearing.settlement_statements.statement import canonical, seal
from gateway.database import Pool
from tests.browser.conftest import PHONE, TABLET, WIDE, OpenPage, WatchedPage
from tests.browser.test_console_pages import with_cookies
from tests.fakes.console import ConsoleOfTest, open_console, paid_session
from tests.integration.test_console_money import PDF, with_difference

Change = Callable[[list[dict[str, Any]]], None]
THEMES = [(WIDE, "light"), (PHONE, "dark"), (TABLET, "light"), (TABLET, "dark")]


async def payout_of(console: ConsoleOfTest, watched: WatchedPage) -> str:
    await watched.go(f"{console.base}/console/payouts?party=DE-ABC")
    found = re.search(r"/console/payouts/dis_\w+", await watched.page.content())
    assert found is not None
    return console.base + found[0]


async def verdict(watched: WatchedPage) -> str:
    badge = watched.page.locator("#proof [data-verdict]")
    await badge.and_(watched.page.locator(".good, .bad")).wait_for()
    return await badge.inner_text()


async def altered(watched: WatchedPage, change: Change, *, sealed: bool) -> None:
    """Serve the statement with a change; `sealed` seals every record of it again."""

    async def serve(route: Route) -> None:
        answer = await route.fetch()
        records = [json.loads(text) for text in (await answer.text()).splitlines()]
        change(records)
        before = closing = ""
        for record in records:
            stated = record.pop("sha256")
            before = record["sha256"] = seal(before, record) if sealed else stated
            closing = before if record["type"] == "closing" else closing
        headers = {**answer.headers, **({"x-statement-sha256": closing} if sealed else {})}
        body = "".join(f"{canonical(record)}\n" for record in records)
        await route.fulfill(status=200, headers=headers, body=body)

    await watched.page.route("**/statement?format=json", serve)


def one_cent(records: list[dict[str, Any]]) -> None:
    """One cent more in a line."""
    next(one for one in records if one["type"] == "line")["amount_minor"] += 1


def one_cent_everywhere(records: list[dict[str, Any]]) -> None:
    """One cent more in a line and in all that repeats it, but not in the journal."""
    for one in records:
        match one["type"]:
            case "line":
                one["amount_minor"] += 1
                one["owed_minor"] += 1
                one["other_minor"] += 1
                if one["deducted_minor"] is not None:
                    one["deducted_minor"] -= 1
            case "payment":
                one["amount_minor"] += 1
            case "closing":
                one["sums"]["capture"]["amount_minor"] += 1
                one["proof"]["new_minor"] += 1
                one["proof"]["payout_minor"] += 1


async def test_a_statement_is_proved_and_one_cent_is_seen(pool: Pool, open_page: OpenPage) -> None:
    async with open_console(pool) as console:
        await paid_session(console.api)
        async with open_page(prepare=with_cookies(console, party="DE-ABC", role="viewer")) as watched:
            payout = await payout_of(console, watched)
            await watched.go(payout)
            assert await verdict(watched) == "agrees"
            await watched.check()
            rows = watched.page.locator("#proof tbody tr")
            assert await rows.count() >= 6  # head, line, its batch, the payment's batch, payment, closing
            assert "does not agree" not in await watched.page.locator("#proof").inner_text()
            await altered(watched, one_cent, sealed=False)
            await watched.go(payout)
            assert await verdict(watched) == "does not agree"
            wrong = watched.page.locator("#proof tbody .bad")
            assert "altered" in await wrong.first.inner_text()
        async with open_page(prepare=with_cookies(console, role="finance")) as watched:
            await altered(watched, one_cent_everywhere, sealed=True)
            await watched.go(payout)
            assert await verdict(watched) == "does not agree"
            texts = await watched.page.locator("#proof tbody .bad").all_inner_texts()
            assert texts  # sealed anew, and still not what the journal has
            assert all("does not agree with the journal" in text for text in texts)
        async with open_page(script=False, prepare=with_cookies(console, role="finance")) as watched:
            await watched.go(payout)
            shown = await watched.page.locator("#proof").inner_text()
            assert "networkcore verify dis_" in shown


@asynccontextmanager
async def workbench(
    pool: Pool, open_page: OpenPage, width: int, theme: Any
) -> AsyncIterator[tuple[ConsoleOfTest, str, WatchedPage]]:
    async with (
        with_difference(pool) as (console, page),
        open_page(width=width, theme=theme, prepare=with_cookies(console, role="finance")) as watched,
    ):
        yield console, page, watched


@pytest.mark.parametrize(("width", "theme"), THEMES)
async def test_two_people_resolve_a_difference_with_evidence(
    pool: Pool, open_page: OpenPage, width: int, theme: Any
) -> None:
    async with workbench(pool, open_page, width, theme) as (console, path, watched):
        page = watched.page
        await watched.go(f"{console.base}/console/reconciliation")
        await watched.check()
        await page.locator("#differences th a").click()
        await page.wait_for_url(f"**{path}")
        files = [{"name": "letter.pdf", "mimeType": "application/pdf", "buffer": PDF}]
        await page.locator("#file").set_input_files(files=files)  # type: ignore[arg-type]
        await page.get_by_role("button", name="Attach").click()
        await page.wait_for_url("**notice=done")
        assert "letter.pdf" in await page.locator("#evidence").inner_text()
        await page.get_by_label("Resolution").select_option("suspense")
        await page.get_by_label("Reason").fill("nobody knows yet")
        await page.get_by_role("button", name="Propose").click()
        await page.wait_for_url("**notice=done")
        await watched.check()
        assert await page.get_by_role("button", name="Approve").count() == 0
        async with open_page(prepare=with_cookies(console, role="finance", name="Ben")) as other:
            await other.go(console.base + path)
            await other.page.get_by_role("button", name="Approve").click()
            await other.page.wait_for_url("**notice=done")
            assert "Ben" in await other.page.locator("#requests").inner_text()
            await other.go(f"{console.base}/console/reconciliation")
            await other.check()
            assert "nobody knows yet" in await other.page.locator("#decided").inner_text()


@pytest.mark.parametrize(("width", "theme"), THEMES)
async def test_filters_views_and_holds_fit_every_width(
    pool: Pool, open_page: OpenPage, width: int, theme: Any
) -> None:
    async with open_console(pool) as console:
        await paid_session(console.api)
        prepare = with_cookies(console, role="finance")
        async with open_page(width=width, theme=theme, prepare=prepare) as watched:
            page = watched.page
            await watched.go(f"{console.base}/console/sessions")
            if width == PHONE:  # filters are behind their button there
                await page.get_by_text("Filters", exact=True).click()
            await page.get_by_label("Amount from").fill("11.90")
            await page.get_by_label("Currency").fill("EUR")
            await (
                page.get_by_role("button", name="Apply").or_(page.locator("form.filters .main")).first.click()
            )
            await page.wait_for_url("**amount_min=11.90**")
            await page.locator(".views summary").click()
            await page.get_by_label("Name of the view").fill("Eleven ninety")
            await page.get_by_role("button", name="Save view").click()
            await page.wait_for_url("**notice=done")
            assert await page.get_by_role("link", name="Eleven ninety").count() == 1
            await watched.check()
            await watched.go(f"{console.base}/console/payments?state=authorized")
            await watched.check()
            await watched.go(f"{console.base}/console/payouts?party=DE-ABC")
            await page.get_by_label("Reason, which the party reads").fill("court order 12/26")
            await page.get_by_role("button", name="Hold payouts of DE-ABC").click()
            await page.wait_for_url("**notice=done")
            await watched.check()
            await watched.go(await payout_of(console, watched))
            await verdict(watched)
            await watched.check()
            page.on("dialog", lambda dialog: dialog.accept())
            await page.get_by_role("button", name=re.compile("Lift: DE-ABC")).click()
            await page.wait_for_url("**notice=done")
            await watched.go(f"{console.base}/console/parties/DE-ABC")
            await watched.check()


@pytest.mark.parametrize("language", ["de", "fr", "it"])
async def test_pages_of_money_fit_a_phone_in_every_language(
    pool: Pool, open_page: OpenPage, language: str
) -> None:
    async with with_difference(pool) as (console, path):
        prepare = with_cookies(console, role="finance")
        async with open_page(width=PHONE, locale=language, prepare=prepare) as watched:
            for address in (
                path,
                "/console/reconciliation",
                "/console/payments?state=failed",
                "/console/payouts?party=NL-ABC",
            ):
                await watched.go(console.base + address)
                await watched.check(axe=False)
