"""The walk of docs/guides/payment-methods.md, command by command, on `networkcore dev`."""

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.guides import BASH, ROOT, walk

GUIDE = ROOT / "docs/guides/payment-methods.md"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("dev"),  # one stack for all modules that use it
    pytest.mark.skipif(not (shutil.which("curl") and BASH), reason="needs curl and bash"),
]


@pytest.fixture(scope="module")
def walked(dev: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    variables = {
        "BASE": dev["base_url"],
        "KEY": dev["api_keys"]["parkingapp"],
        "PSP": dev["sandbox_psp_url"],
    }
    return walk(GUIDE, tmp_path_factory.mktemp("wallet"), at_least=10, variables=variables)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_the_walk_saves_a_card_after_the_bank_has_asked(walked: Path) -> None:
    assert "Confirm it is you" in (walked / "bank.html").read_text(encoding="utf-8")
    back = urlsplit((walked / "back.txt").read_text(encoding="utf-8").strip())
    assert back.netloc == "localhost:3000"
    assert parse_qs(back.query)["redirect_status"] == ["succeeded"]
    setup = read(walked, "setup.json")
    assert (setup["state"], bool(setup["mandate"]), setup["client_secret"]) == ("succeeded", True, None)


def test_the_walk_charges_the_saved_card_while_the_driver_is_away(walked: Path) -> None:
    assert read(walked, "authorization.json")["state"] == "authorized"


def test_the_walk_pays_once_after_a_challenge(walked: Path) -> None:
    challenge = read(walked, "challenge.json")
    assert challenge["state"] == "requires_action"
    assert challenge["redirect_url"].startswith("http://127.0.0.1:")
    assert challenge["return_url"] == "superapp://charging"
    assert read(walked, "authorized.json")["state"] == "authorized"


def test_the_walk_holds_a_card_at_a_terminal(walked: Path) -> None:
    assert read(walked, "terminal.json")["state"] == "requires_action"
    assert read(walked, "presented.json")["object"] == "terminal_reader"
    assert read(walked, "at-terminal.json")["state"] == "authorized"


def test_the_walk_lists_the_card_and_removes_it(walked: Path) -> None:
    (method,) = read(walked, "methods.json")["data"]
    assert (method["brand"], method["last4"]) == ("visa", "3155")
    assert read(walked, "removed.json")["code"] == "not_found"
