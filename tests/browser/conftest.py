"""The system's Chromium, and what every page holds to: no overflow, no error, no broken policy, axe content.

The tests skip with a reason where there is no Chromium: no other test needs one.
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

PHONE, TABLET, WIDE = 390, 820, 1440  # widths in CSS pixels
_HEIGHT = 900
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SERIOUS = {"serious", "critical"}
_OWN_HOSTS = {"127.0.0.1", "localhost", "::1"}
Theme = Literal["light", "dark"]


@dataclass
class WatchedPage:
    """A page with what went wrong on it: messages of the console, errors, requests to another host."""

    page: Page
    troubles: list[str] = field(default_factory=list)

    async def go(self, address: str, *, status: int = 200) -> None:
        """Open an address and see that it answers as it should."""
        response = await self.page.goto(address, wait_until="load")
        assert response is not None
        assert response.status == status, f"{address} answered {response.status}"

    async def check(self, *, axe: bool = True) -> None:
        """What holds on every page. An answer of 4xx that a test asked for is no trouble of the page."""
        assert self.troubles == [], f"{self.page.url}: {self.troubles}"
        wide = await self.page.evaluate(_WIDER_THAN_THE_SCREEN)
        assert wide == [], f"{self.page.url} is wider than its screen: {wide}"
        if axe:
            assert await serious_findings(self.page) == []


_WIDER_THAN_THE_SCREEN = """() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  return [...document.querySelectorAll('body *')]
    .filter(one => one.getBoundingClientRect().right > root.clientWidth + 1)
    .slice(0, 5)
    .map(one => `${one.tagName.toLowerCase()}.${one.className} ends at ` +
      `${Math.round(one.getBoundingClientRect().right)} of ${root.clientWidth}`)
    .concat(`${root.scrollWidth} of ${root.clientWidth}`);
}"""


async def serious_findings(page: Page, *, options: dict[str, Any] | None = None) -> list[str]:
    """What axe finds that keeps people from using a page: its rule, and where. `options` as axe's own."""
    found = await (Axe().run(page) if options is None else Axe().run(page, options=options))
    return [
        f"{page.url}: {one['id']} ({one['impact']}): {one['help']}: "
        + "; ".join(" ".join(node["target"]) for node in one["nodes"][:3])
        for one in found.response["violations"]
        if one["impact"] in _SERIOUS
    ]


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where the system's Chromium is; without one the test skips."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium on this system: apt-get install chromium")
    return found


@pytest.fixture
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    """A browser of the test's own."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium_path, args=list(_ARGUMENTS))
        yield launched
        await launched.close()


OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(browser: Browser) -> OpenPage:
    """Open a page of a width and a theme, in a context of its own: no cookie of another."""

    @asynccontextmanager
    async def opened(
        *,
        width: int = WIDE,
        theme: Theme = "light",
        script: bool = True,
        context: BrowserContext | None = None,
        prepare: Callable[[BrowserContext], Awaitable[None]] | None = None,
        **options: Any,
    ) -> AsyncIterator[WatchedPage]:
        own = context or await browser.new_context(
            viewport={"width": width, "height": _HEIGHT},
            color_scheme=theme,
            java_script_enabled=script,
            has_touch=width == PHONE,
            **options,
        )
        if prepare is not None:
            await prepare(own)
        watched = WatchedPage(page=await own.new_page())
        _watch(watched)
        try:
            yield watched
        finally:
            if context is None:
                await own.close()
            else:
                await watched.page.close()

    return opened


def _watch(watched: WatchedPage) -> None:
    """Note what a browser says to nobody: console errors (a broken policy is one) and errors of scripts."""

    def on_console(message: ConsoleMessage) -> None:
        # A page that answers 403 or 404 is logged by the browser as a resource that failed to load.
        if message.type == "error" and "the server responded with a status of 4" not in message.text:
            watched.troubles.append(message.text)

    watched.page.on("console", on_console)
    watched.page.on("pageerror", lambda error: watched.troubles.append(str(error)))
    watched.page.on("request", lambda request: _note_outside(watched, request.url))


def _note_outside(watched: WatchedPage, address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme in {"http", "https"} and parts.hostname not in _OWN_HOSTS:
        watched.troubles.append(f"asked another host: {address}")
