"""Writes docs/openapi.json and docs/events.json: the public contract as it is reviewed and stored.

Run by `make api`. Must not know any resource. tests/unit/gateway/test_api_contract.py compares the stored
documents with what the code says.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from gateway.api.openapi import event_document, openapi_document
from gateway.api.routes import endpoints

DOCS: Final = Path(__file__).parents[2] / "docs"
BASE_URL: Final = "https://networkcore.example"


def documents() -> dict[str, dict[str, Any]]:
    """Each stored document by its file's name."""
    return {
        "openapi.json": openapi_document(endpoints(sandbox=True), base_url=BASE_URL),
        "events.json": event_document(),
    }


def as_text(document: dict[str, Any]) -> str:
    """The document as it is stored: two spaces, names in their order."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every document."""
    for name, document in documents().items():
        (DOCS / name).write_text(as_text(document), encoding="utf-8")
        sys.stdout.write(f"wrote docs/{name}\n")


if __name__ == "__main__":
    main()
