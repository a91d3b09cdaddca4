"""Whole requests and answers for the main operations, as the documentation shows them.

Owns: reading the stored examples. Must not know any resource. They were recorded from this API; a test holds
each to its schema and plays the requests again.
"""

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def _examples() -> dict[str, dict[str, Any]]:
    text = resources.files("gateway.api").joinpath("examples.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


def operations() -> list[str]:
    """The operations that have examples."""
    return list(_examples())


def example_of(operation: str, part: str) -> Any:
    """The example of an operation's `request`, or of its answer by status; None where there is none."""
    return _examples().get(operation, {}).get(part)
