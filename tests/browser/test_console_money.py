"""The console's pages of money in a real browser: the proof, four eyes, holds, evidence, saved views."""

import json
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from playwright.async_api import Route

from clearing.fx import FxLock, convert
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


def lines_with_a_rate(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [one["fx"] for one in records if one["type"] == "line" and one["fx"]]
    assert found
    return found


def another_rate(records: list[dict[str, Any]]) -> None:
    """A rate that is a thousandth greater."""
    for fx in lines_with_a_rate(records):
        fx["rate"] = f"{Decimal(fx['rate']) + Decimal('0.001'):f}"


def another_markup(records: list[dict[str, Any]]) -> None:
    """A markup that is not in the amount."""
    for fx in lines_with_a_rate(records):
        fx["markup_bps"] += 100


def another_direction(records: list[dict[str, Any]]) -> None:
    """A rate of the other direction."""
    for fx in lines_with_a_rate(records):
        fx["base"], fx["quote"] = fx["quote"], fx["base"]


def no_day(records: list[dict[str, Any]]) -> None:
    """A day that there is not."""
    for fx in lines_with_a_rate(records):
        fx["rate_date"] = "2026-13-01"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (another_rate, "another amount by this rate"),
        (another_markup, "another amount by this rate"),
        (another_direction, "another amount by this rate"),
        (no_day, "altered"),
    ],
)
async def test_one_changed_rate_is_seen_although_every_seal_is_computed_anew(
    pool: Pool, open_page: OpenPage, change: Change, said: str
) -> None:
    async with open_console(pool) as console:
        await paid_session(console.api, settles={"DE-ABC": "CHF"})
        who = with_cookies(console, party="DE-ABC", role="viewer")
        async with open_page(width=PHONE, theme="dark", prepare=who) as watched:
            payout = await payout_of(console, watched)
            await watched.go(payout)
            assert await verdict(watched) == "agrees"
            shown = await watched.page.locator("#proof").inner_text()
            assert re.search(r"EUR/CHF 0\.\d+.* · .+ 20\d\d-\d\d-\d\d", shown), "the rate, its source and day"
            assert "Not proved here: that a rate is the one its source published" in shown
            await watched.check()
            await altered(watched, change, sealed=True)
            await watched.go(payout)
            assert await verdict(watched) == "does not agree"
            wrong = await watched.page.locator("#proof tbody .bad").all_inner_texts()
            assert any(said in text for text in wrong), wrong


async def test_the_browser_exchanges_as_clearing_does(pool: Pool, open_page: OpenPage) -> None:
    """The same locks by both, drawn by a fixed seed: digits of every kind, halves, negative amounts."""
    chosen = random.Random(935)
    locks = []
    for _ in range(400):
        base, quote = chosen.sample(["EUR", "CHF", "JPY", "BHD", "SEK", "ISK", "KWD"], 2)
        digits = chosen.randrange(19)
        rate = Decimal(chosen.randrange(1, 10 ** min(18, digits + 3))).scaleb(-digits)
        markup = chosen.choice([0, 0, 25, 1000])
        lock = FxLock(
            base=base, quote=quote, rate=rate, source="ECB", rate_date=date(2026, 11, 2), markup_bps=markup
        )
        locks.append((chosen.choice([1, -1]) * chosen.randrange(10**9), lock))
    half = {"base": "EUR", "quote": "CHF", "source": "ECB", "rate_date": date(2026, 11, 2), "markup_bps": 0}
    locks += [(sign, FxLock(**half, rate=Decimal("0.5"))) for sign in (1, -1, 3, -3)]
    asked = [
        [
            amount,
            {
                "base": lock.base,
                "quote": lock.quote,
                "rate": f"{lock.rate:f}",
                "source": lock.source,
                "rate_date": lock.rate_date.isoformat(),
                "markup_bps": lock.markup_bps,
            },
        ]
        for amount, lock in locks
    ]
    async with open_console(pool) as console:
        await paid_session(console.api)
        async with open_page(prepare=with_cookies(console, role="finance")) as watched:
            await watched.go(await payout_of(console, watched))
            found = await watched.page.evaluate(
                """asked => {
                  const digits = digitsOf(document.querySelector('[data-proof]').dataset.exponents);
                  return asked.map(([amount, fx]) => exchanged(amount, fx, digits) + 0);
                }""",
                asked,
            )
    safe = 2**53
    due = [convert(amount, lock) for amount, lock in locks]
    assert [
        one for one in zip(found, due, asked, strict=True) if one[0] != one[1] and abs(one[1]) < safe
    ] == []
    assert sum(abs(one) < safe for one in due) > len(due) // 2


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
