"""The documentation's site: every page has its place, and the pictures name what exists."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
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


def test_the_order_of_the_list_is_that_of_the_readers() -> None:
    """Each reader of the first page has a part of the list, in this order, with the page to begin with."""
    project = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    parts = [pages for entry in project["nav"] for pages in entry.values() if isinstance(pages, list)]
    rows = re.findall(
        r"^\| (?:an?|in|on) (.+?) \| \[.+?\]\((.+?)\) \|", text_of(DOCS / "index.md"), re.MULTILINE
    )
    readers = [
        "demand partner's developer",
        "charge point operator",
        "finance",
        "call",
        "auditor",
        "contributor",
    ]
    assert [reader for reader, _ in rows] == readers
    assert len(parts) == len(rows)
    for (reader, page), pages in zip(rows, parts, strict=True):
        assert page in pages, reader


def test_no_link_leads_out_of_the_site() -> None:
    """A file beside `docs` is no page: a link to it would be broken."""
    out = [
        f"{page.relative_to(DOCS)}: {target}"
        for page in sorted(DOCS.rglob("*.md"))
        for target in re.findall(r"\]\(([^)#:]+)", text_of(page))
        if not (page.parent / target).resolve().is_relative_to(DOCS)
    ]
    assert out == []


@pytest.mark.slow
def test_the_site_is_built_whole_and_its_search_finds_a_page(tmp_path: Path) -> None:
    """Strict: a link to a page or a heading that is not there stops the builder."""
    builder = ROOT / ".venv-site/bin/zensical"
    if not builder.exists():
        pytest.skip("the builder is not installed: make test and make site install it")
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    built = subprocess.run(
        [builder, "build", "--clean", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md")} - {Path("index")}
    site = tmp_path / "build/site"
    assert [page for page in sorted(pages) if not (site / page / "index.html").exists()] == []
    found = json.loads((site / "search.json").read_text(encoding="utf-8"))
    assert "guides/webhooks/" in {one["location"] for one in found["items"]}


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
