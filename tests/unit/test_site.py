"""The documentation's site: every page has its place, and the pictures name what exists."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.webhooks.events import EventType
from tests.guides import ROOT, text_of

DOCS = ROOT / "docs"
DRAWN = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)
# Pages that are read from another page, not from the list.
ELSEWHERE = {"decisions"}


def places(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values():
                yield from places(value) if isinstance(value, list) else [value]


def test_every_page_has_one_place_in_the_list() -> None:
    project = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    pages = [
        str(path.relative_to(DOCS))
        for path in sorted(DOCS.rglob("*.md"))
        if path.relative_to(DOCS).parts[0] not in ELSEWHERE
    ]
    assert sorted(places(project["nav"])) == sorted(pages)


def test_the_site_asks_no_other_host_for_fonts() -> None:
    project = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    assert project["theme"]["font"] is False
    assert not any("//" in script for script in project["extra_javascript"])


def test_the_pictures_name_calls_and_events_that_exist() -> None:
    text = text_of(DOCS / "pictures.md")
    drawn = "\n".join(DRAWN.findall(text))
    paths = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))["paths"]
    calls = re.findall(r"(GET|POST|PUT|PATCH) (/v1/[\w/-]+)", drawn)
    assert calls
    for method, path in calls:
        assert method.lower() in paths[path], path
    events = set(re.findall(r"\b([a-z_]+\.[a-z_]+)\b", drawn)) - {"pain.001", "pain.002"}
    assert events
    assert events <= set(EventType)


@pytest.mark.parametrize("diagram", DRAWN.findall(text_of(DOCS / "pictures.md")))
def test_a_diagram_has_no_semicolon_which_ends_a_line_of_it(diagram: str) -> None:
    assert ";" not in diagram
