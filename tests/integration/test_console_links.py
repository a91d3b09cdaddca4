"""Ids on pages lead to what they name: every page that links reach is read, and no id stands in it alone."""

import re
from collections import deque
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

from typing_extensions import override

from gateway.console.views.routes import PAGES
from gateway.database import Pool
from tests.fakes.api import EVSE
from tests.fakes.console import ConsoleOfTest, Visitor
from tests.fakes.console_everything import console_with_everything
from tests.fakes.parties import MARKET
from tests.fakes.pnc_market import EMAID

_ID: Final = re.compile(r"\b[a-z]{2,6}_[0-9a-hjkmnp-tv-z]{26}\b")
_HASH: Final = re.compile(r"\b[0-9a-f]{64}\b")
# What is not read as a page's text: a body that is shown as it is, and what nobody sees.
_NOT_TEXT: Final = {"pre", "title", "script", "option", "textarea", "datalist", "h1"}
_VOID: Final = {"br", "input", "img", "meta", "link", "path", "rect", "hr"}
_OF_A_ROUTE: Final = 3
ANYWHERE: Final = "/console/objects/{id}"
ELSEWHERE: Final = {  # shown where reconciliation differs, and downloads
    "/console/reconciliation/{id}",
    "/console/evidence/{id}",
}


class PlainTexts(HTMLParser):
    """The texts of a page that stand in no link and no id with a copy button, and its links."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.links: list[str] = []
        self._open: list[tuple[str, bool]] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag in _VOID:
            return
        named = set((given.get("class") or "").split())
        covers = tag == "a" or tag in _NOT_TEXT or "id" in named
        self._open.append((tag, covers or (bool(self._open) and self._open[-1][1])))

    @override
    def handle_endtag(self, tag: str) -> None:
        while self._open:
            if self._open.pop()[0] == tag:
                return

    @override
    def handle_data(self, data: str) -> None:
        if data.strip() and not (self._open and self._open[-1][1]):
            self.texts.append(data.strip())


@dataclass
class Crawl:
    """Pages by their route, from links alone; what stands alone on each."""

    visitor: Visitor
    names: frozenset[str]
    routes: dict[str, list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    async def run(self) -> None:
        waiting, seen = deque(["/console"]), {"/console"}
        while waiting:
            path = waiting.popleft()
            route = route_of(path)
            found = self.routes.setdefault(route, [])
            if len(found) == _OF_A_ROUTE:
                continue
            found.append(path)
            answer = await self.visitor.get(path, follow=route == ANYWHERE)
            if answer.status != 200:
                self.faults.append(f"{path} answered {answer.status}")
                continue
            if not answer.headers["Content-Type"].startswith("text/html"):
                continue
            for link in self.look(path, answer.text):
                if link not in seen:
                    seen.add(link)
                    waiting.append(link)

    def look(self, path: str, text: str) -> list[str]:
        page = PlainTexts()
        page.feed(text)
        for one in page.texts:
            alone = [*_ID.findall(one), *_HASH.findall(one)]
            if any(name not in path for name in alone) or one in self.names:
                self.faults.append(f"{path}: {one}")
        return [
            link.partition("#")[0]
            for link in page.links
            if link.startswith("/console") and "lang=" not in link and "format=" not in link
        ]


def route_of(path: str) -> str:
    bare = path.partition("?")[0]
    for route in PAGES:
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route), bare):
            return route
    raise AssertionError(f"no route has {path}")


async def crawled(console: ConsoleOfTest, *, names: frozenset[str] = frozenset(), **who: str) -> Crawl:
    crawl = Crawl(visitor=await console.signed_in(**who), names=names)
    await crawl.run()
    return crawl


async def test_every_page_is_reached_by_links_and_no_id_on_it_stands_alone(pool: Pool) -> None:
    async with console_with_everything(pool) as console:
        names = frozenset({*MARKET, EVSE, EMAID, "NLNCOC12345678", "loc1", "t1", "by-minute"})
        platform = await crawled(console, names=names)
        assert platform.faults == []
        reached = {route for route, paths in platform.routes.items() if paths}
        files = {
            route for route in PAGES if route.endswith(("/receipt", "/statement", "/documents/{number}"))
        }
        assert set(PAGES) - reached - files == ELSEWHERE
        for who in ({"party": "parking", "role": "administrator"}, {"party": "DE-ABC", "role": "viewer"}):
            assert (await crawled(console, **who)).faults == [], who
