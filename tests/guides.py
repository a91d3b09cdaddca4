"""What README, the guides and the operator's book tell a reader to run: commands, shell blocks, API calls.

Owns: how a page is read, and how its shell blocks are walked. Must not know what a page is about.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDES = sorted([*(ROOT / "docs/guides").glob("*.md"), *(ROOT / "docs/operations").glob("*.md")])
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *GUIDES,
]
BASH = shutil.which("bash")
METHODS = "GET|POST|PUT|PATCH|DELETE"
_CALL = re.compile(rf"^ {{4,}}({METHODS}) +(/v1/\S+) *(.*)$")
_HEADER = re.compile(r"^([A-Z][A-Za-z-]+): (.+)$")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the hosts of repositories build them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shell_blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def walk(page: Path, folder: Path, *, at_least: int, variables: dict[str, str]) -> Path:
    """Run a page's shell blocks one after the other in a folder, as a reader does; returns the folder."""
    commands = shell_blocks(text_of(page))
    assert len(commands) >= at_least
    run = subprocess.run(
        [str(BASH), "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


def section(page: Path, title: str) -> str:
    """The text of a page under the heading `title`, to the next heading of its depth."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text_of(page), re.DOTALL | re.MULTILINE)
    assert found, f"{page.name} has no section {title!r}"
    return found[1]


def commands_of(page: Path) -> Iterator[str]:
    """Each `networkcore ...` of a code block or of inline code, without the comment behind it."""
    text = text_of(page)
    inline = re.findall(r"`((?:\.venv/bin/)?networkcore [^`\n]+)`", text)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^ {4}(networkcore [^\n]+)$", text, re.MULTILINE)
    in_blocks = [
        line.removeprefix("$ ")
        for block in blocks
        for line in block.splitlines()
        if re.match(r"(\$ )?(\.venv/bin/)?networkcore ", line)
    ]
    for line in (*inline, *in_blocks, *indented):
        yield line.removeprefix(".venv/bin/").split(" #", maxsplit=1)[0].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the API as a page writes it; `body` is JSON text or empty."""

    page: str
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: str


def calls_of(page: Path) -> list[Call]:
    """The calls in a page's code blocks, in their order: method and path, headers, body."""
    calls: list[Call] = []
    lines = text_of(page).splitlines()
    for number, line in enumerate(lines):
        start = _CALL.match(line)
        if start is None:
            continue
        headers: list[tuple[str, str]] = []
        body = [start[3]] if start[3].startswith("{") else []
        for following in lines[number + 1 :]:
            if not following.startswith("    ") or _CALL.match(following):
                break
            header = _HEADER.match(following.strip())
            if header and not body:
                headers.append((header[1], header[2]))
            else:
                body.append(following.strip())
        calls.append(
            Call(page=page.name, method=start[1], path=start[2], headers=tuple(headers), body=" ".join(body))
        )
    return calls


def reads_of(page: Path) -> list[str]:
    """The paths of `GET /v1/...` in inline code that leave nothing open."""
    found = re.findall(r"`GET (/v1/[^`\s]+)`", text_of(page))
    return sorted({path.removesuffix("?cursor=") for path in found if "{" not in path})
