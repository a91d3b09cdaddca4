"""What the packages are made from: the stored description of the API, and the version of the project.

Owns: where these are. Must not know: what is made of them.
"""

import json
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
DESCRIPTION: Final = ROOT / "docs/openapi.json"
HAND_WRITTEN: Final = Path(__file__).parent


class SdkError(Exception):
    """A package can't be made; the message says what is missing."""


def description() -> dict[str, Any]:
    """The stored OpenAPI description of the API."""
    found: dict[str, Any] = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    return found


def api_version() -> str:
    """The version of the API that the description is of; the packages name it in every request."""
    return str(description()["info"]["version"])


def version() -> str:
    """The version of the project, which the packages carry."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])
