"""What README and the guides name exists: commands, endpoints, settings, events, metrics, targets, files."""

import json
import re
import shlex

import click
import pytest

from gateway.cli.main import networkcore
from gateway.config import Settings
from gateway.exception_kinds import ExceptionKind
from gateway.exceptions.rules import KINDS
from gateway.webhooks.events import EventType
from tests.guides import METHODS, PAGES, README, ROOT, commands_of, text_of

# What a command line in prose leaves open: the rest of the line is not looked at.
_OPEN = re.compile(r"^(\.\.\.|…|#)")

COMMAND_LINES = sorted({(page.name, line) for page in PAGES for line in commands_of(page)})


def unknown_part(line: str) -> str | None:
    """The first word of a command line that is no command, argument or option of ours."""
    words = shlex.split(line)[1:]
    command: click.Command = networkcore
    context = click.Context(networkcore, info_name="networkcore")
    while words and isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        if found is None:
            return words[0]
        command, words = found, words[1:]
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in words:
        if _OPEN.match(word):
            break
        if word.startswith("--") and word.partition("=")[0] not in {*known, "--help"}:
            return word
    return None


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES, ids=lambda value: str(value)[:60])
def test_every_command_in_the_docs_exists_with_its_options(page: str, line: str) -> None:
    assert unknown_part(line) is None, f"{page}: {line}"


def test_the_docs_name_commands() -> None:
    assert len(COMMAND_LINES) > 60


def test_every_endpoint_in_the_docs_is_one_of_the_api() -> None:
    described = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))["paths"]
    known = {
        (method.upper(), re.sub(r"\{[^}]+\}", "*", path).rstrip("/"))
        for path, operations in described.items()
        for method in operations
    }
    # The PSP's own door, and the glossary's pattern.
    known |= {("POST", "/v1/psp/webhooks"), ("POST", "/v1/*/*/*")}
    missing = []
    for page in PAGES:
        for method, path in re.findall(rf"\b({METHODS}) (/v1/[^\s`)?,;|]+)", text_of(page)):
            written = re.sub(r"\{[^}]+\}|\$\w+", "*", path).rstrip("/.")
            if not any(method == one and _same(written, template) for one, template in known):
                missing.append(f"{page.name}: {method} {path}")
    assert missing == []


def _same(written: str, template: str) -> bool:
    """Whether a path as it is written, with ids or with stars, is of this template."""
    ours, theirs = written.split("/"), template.split("/")
    return len(ours) == len(theirs) and all(
        other in {"*", one} for one, other in zip(ours, theirs, strict=True)
    )


def test_every_setting_in_the_docs_exists() -> None:
    known = {f"NETWORKCORE_{name.upper()}" for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known} | {"NETWORKCORE_TRACEBACK", "NETWORKCORE_CONFIG_FILE"}
    missing = [
        f"{page.name}: {name}"
        for page in PAGES
        for name in re.findall(r"\bNETWORKCORE_[A-Z_]*[A-Z]\b(?!_?\*)", text_of(page))
        if name not in known
    ]
    assert missing == []


def test_every_event_in_the_docs_is_published() -> None:
    prefixes = {event.value.split(".")[0] for event in EventType}
    known = {event.value for event in EventType}
    missing = [
        f"{page.name}: {name}"
        for page in PAGES
        for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", text_of(page))
        if name.split(".")[0] in prefixes
        and name not in known
        and not name.endswith((".py", ".sql", ".md", ".json", ".csv", ".toml", ".xml"))
        and not hasattr_column(name)
    ]
    assert missing == []


def hasattr_column(name: str) -> bool:
    """Whether `object.field` names a table's column or an object's field rather than an event."""
    schema = "".join(path.read_text("utf-8") for path in ROOT.glob("*/sql/migrations/*.sql"))
    _, field = name.split(".")
    return re.search(rf"^\s+{field}\s", schema, re.MULTILINE) is not None


def test_every_metric_in_the_docs_is_one_of_ours() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "gateway").rglob("*.py"))
    missing = [
        f"{page.name}: {name}"
        for page in PAGES
        for name in re.findall(r"\b(networkcore_[a-z_]+[a-z])\b", text_of(page))
        if not any(one in source for one in (name, name.removeprefix("networkcore_").removesuffix("_total")))
        and name != "networkcore_metrics_key"  # the file with Prometheus's key
    ]
    assert missing == []


def test_every_make_target_in_the_docs_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", text_of(ROOT / "Makefile"), re.MULTILINE))
    missing = [
        f"{page.name}: make {name}"
        for page in PAGES
        for name in re.findall(r"(?:^\$? ?|`)make ([a-z][a-z-]*)", text_of(page), re.MULTILINE)
        if name not in targets
    ]
    assert missing == []


def test_every_file_that_a_page_names_exists() -> None:
    missing = [
        f"{page.name}: {name}"
        for page in (*PAGES, *sorted((ROOT / "docs/decisions").glob("*.md")))
        for name in re.findall(
            r"`((?:gateway|clearing|pnc|sandbox|tests|benchmarks|deploy|docs|sdk|examples)/[\w./-]+)`",
            text_of(page),
        )
        if not (ROOT / name.rstrip("/")).exists() and not list(ROOT.glob(name))
    ]
    assert missing == []


def test_the_guide_of_exceptions_has_a_row_for_each_kind_with_its_owner() -> None:
    page = text_of(ROOT / "docs/guides/exceptions.md")
    rows = dict(re.findall(r"^\| `([a-z_]+)` \|(.*)\|$", page, re.MULTILINE))
    assert set(rows) == {kind.value for kind in ExceptionKind}
    for kind, spec in KINDS.items():
        _, owner, _, resolving = (cell.strip() for cell in rows[kind].split("|"))
        assert owner.split(",")[0] == spec.owner
        assert resolving.startswith("nothing") == (spec.retry is None and not spec.final)


def test_every_line_of_the_log_that_the_alerts_name_is_written() -> None:
    lines = re.findall(r"^\| `([a-z]+_[a-z_]+)` \|", text_of(ROOT / "docs/guides/alerts.md"), re.MULTILINE)
    named = [name for name in lines if not name.startswith("networkcore_")]
    source = "".join(path.read_text("utf-8") for path in (ROOT / "gateway").rglob("*.py"))
    assert len(named) > 4
    assert [name for name in named if f'"{name}"' not in source] == []


TREE = re.search(r"## Packages\n\n```\n(.*?)```", text_of(ROOT / "docs/ARCHITECTURE.md"), re.DOTALL)
PACKAGES = sorted(
    path.parent.relative_to(ROOT)
    for package in ("gateway", "clearing")
    for path in ROOT.glob(f"{package}/*/__init__.py")
)


def parts_of_the_tree() -> dict[str, list[str]]:
    """The names that the architecture gives to the parts of each package."""
    assert TREE
    found: dict[str, list[str]] = {}
    for line in TREE.group(1).splitlines():
        if package := re.match(r"(\w+)/", line):
            found[package.group(1)] = []
        elif names := re.match(r"  ((?:\w+ )+) ", line):
            found[list(found)[-1]] += names.group(1).split()
    return found


def test_the_architecture_names_what_exists_and_each_package_of_gateway_and_clearing() -> None:
    for package, names in parts_of_the_tree().items():
        for name in names:
            assert (ROOT / package / name).is_dir() or (ROOT / package / f"{name}.py").is_file(), name
        if package in {"gateway", "clearing"}:
            assert [one for one in PACKAGES if one.parts[0] == package and one.name not in names] == []


def test_the_readme_says_of_each_package_what_is_in_it() -> None:
    text = text_of(README)
    wanted = [one for one in PACKAGES if one.parts[0] in {"gateway", "clearing"}]
    assert [str(one) for one in wanted if f"`{one}/" not in text] == []


def test_the_glossary_is_in_alphabetical_order() -> None:
    terms = re.findall(r"^\| \*\*(.+?)\*\*", text_of(ROOT / "docs/glossary.md"), re.MULTILINE)
    plain = [re.sub(r"[^a-z0-9 ]", "", term.lower()) for term in terms]
    assert plain == sorted(plain)
