"""Every shell block of the guide runs as it is printed."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox.stripe.cards import TEST_CARDS
from sandbox.stripe.faults import FaultKind
from sandbox.stripe.routes import ROUTES
from tests.integration.sandbox_psp_client import process

GUIDE = (Path(__file__).parents[2] / "docs/guides/sandbox-psp.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_guide_s_commands_run(tmp_path: Path) -> None:
    with process() as (url, _):
        answers = []
        for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL):
            done = subprocess.run(
                ["/bin/sh", "-eu"],
                input=block,
                env={"BASE": url, "PATH": "/usr/bin:/bin"},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
                timeout=30,
            )
            decoder, rest = json.JSONDecoder(), done.stdout
            while rest:
                answer, end = decoder.raw_decode(rest)
                answers.append(answer)
                rest = rest[end:].lstrip()
    held, captured, fault, cleared = answers
    assert held["status"] == "requires_capture"
    assert (captured["status"], captured["amount_received"]) == ("succeeded", 3210)
    assert captured["latest_charge"]["balance_transaction"]["fee"] == 73
    assert (fault["object"], cleared) == ("fault", {"removed": 1})


def test_the_guide_names_only_cards_faults_and_control_paths_that_exist() -> None:
    named = set(re.findall(r"`(pm_card_\w+)`", GUIDE))
    assert named
    assert named <= TEST_CARDS.keys()
    assert all(f"`{kind}`" in GUIDE for kind in FaultKind)
    paths = [path.removeprefix("/_sandbox/") for _, path, _ in ROUTES if path.startswith("/_sandbox/")]
    control = {path.replace("{}", "{id}") for path in paths}
    missing = {path for path in control if path not in GUIDE}
    assert missing == set()
