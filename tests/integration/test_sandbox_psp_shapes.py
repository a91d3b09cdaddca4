"""Every object has the keys of the provider's published fixtures, with values of the same kind."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sandbox_psp_client import sandbox
from tests.integration.sandbox_psp_objects import everything

FOLDER = os.environ.get("STRIPE_FIXTURES_DIR")
pytestmark = pytest.mark.skipif(
    FOLDER is None, reason="STRIPE_FIXTURES_DIR does not name the provider's fixtures"
)

# Keys of one variant of a union, or of an object that the platform never has.
VARIANTS = {
    "topup.source",
    "event.data.object",
}


def differences(published: Any, ours: Any, path: str) -> list[str]:
    """What `ours` lacks of `published`, or has of another kind; null stands for anything on either side."""
    if path in VARIANTS or published is None or ours is None:
        return []
    if isinstance(published, dict):
        if not isinstance(ours, dict):
            return [f"{path}: {type(ours).__name__} instead of an object"]
        if ours.get("type") != published.get("type") and "type" in published and "object" not in published:
            return []  # another variant of a union
        found = (
            []
            if path.endswith("metadata")
            else [
                f"{path}.{key}: missing"
                for key in published
                if key not in ours and f"{path}.{key}" not in VARIANTS
            ]
        )
        for key in published.keys() & ours.keys():
            found += differences(published[key], ours[key], f"{path}.{key}")
        return found
    if isinstance(published, list):
        return [] if isinstance(ours, list) else [f"{path}: {type(ours).__name__} instead of a list"]
    if type(published) is not type(ours):
        return [f"{path}: {type(ours).__name__} instead of {type(published).__name__}"]
    return []


async def test_objects_have_the_published_keys_and_kinds() -> None:
    published = json.loads((Path(FOLDER or "") / "fixtures3.json").read_text())["resources"]
    async with sandbox() as psp:
        ours = {kind: body.to_dict() for kind, body in (await everything(psp)).items()}
    found = [line for kind, body in ours.items() for line in differences(published[kind], body, kind)]
    assert found == []
    assert all(body["object"] == kind for kind, body in ours.items())
