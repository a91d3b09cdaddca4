"""Writes the public contract as it is reviewed and stored: the description, the events, the versions.

Run by `make api`. Must not know any resource. tests/unit/gateway/test_api_contract.py compares the stored
documents with what the code says. With `--release` it also stores what callers of the newest version rely on,
with which later descriptions are compared (`docs/api/<version>.json`).
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.api.changelog import changelog_page
from gateway.api.contract import Parts, breaking_changes, contract_parts
from gateway.api.openapi import event_document, openapi_document
from gateway.api.routes import endpoints
from gateway.api_versions import VERSIONS
from gateway.version_rules import VersionCatalogue

DOCS: Final = Path(__file__).parents[2] / "docs"
BASE_URL: Final = "https://networkcore.example"
CHANGELOG: Final = "api/changelog.md"


def documents() -> dict[str, dict[str, Any]]:
    """Each stored document by its file's name."""
    return {
        "openapi.json": openapi_document(endpoints(sandbox=True), base_url=BASE_URL),
        "events.json": event_document(),
    }


def as_text(document: dict[str, Any]) -> str:
    """The document as it is stored: two spaces, names in their order."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def released_parts(version: str) -> Parts | None:
    """What callers of a version rely on, as it was stored when it was released; None: it was not."""
    stored = DOCS / "api" / f"{version}.json"
    if not stored.exists():
        return None
    found: Parts = json.loads(stored.read_text(encoding="utf-8"))
    return found


def parts_text(parts: Parts) -> str:
    """Parts as they are stored: one a line, in the order of their names."""
    lines = [f"{json.dumps(name)}: {json.dumps(parts[name], sort_keys=True)}" for name in sorted(parts)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def unnamed_breaks(
    catalogue: VersionCatalogue, released: Mapping[str, Parts], document: Mapping[str, Any]
) -> Sequence[str]:
    """What breaks callers of a released version and no change of a later version names, one line each."""
    now = contract_parts(document)
    lines = []
    for version, parts in released.items():
        named = {part for change in catalogue.changes_after(version) for part in change.breaks}
        lines += [
            f"{part} of {version}: {why}"
            for part, why in breaking_changes(parts, now).items()
            if part not in named
        ]
    return lines


def main() -> None:
    """Write every document, and say what breaks callers without being named."""
    for name, document in documents().items():
        (DOCS / name).write_text(as_text(document), encoding="utf-8")
        sys.stdout.write(f"wrote docs/{name}\n")
    (DOCS / CHANGELOG).write_text(changelog_page(VERSIONS), encoding="utf-8")
    sys.stdout.write(f"wrote docs/{CHANGELOG}\n")
    openapi = documents()["openapi.json"]
    if "--release" in sys.argv[1:]:
        text = parts_text(contract_parts(openapi))
        (DOCS / "api" / f"{VERSIONS.newest}.json").write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote docs/api/{VERSIONS.newest}.json\n")
    found = {name: released_parts(name) for name in VERSIONS.names}
    released = {name: parts for name, parts in found.items() if parts is not None}
    for line in unnamed_breaks(VERSIONS, released, openapi):
        sys.stdout.write(f"breaks callers, and no version names it: {line}\n")


if __name__ == "__main__":
    main()
