"""A whole market day as a newcomer runs it: real processes, real HTTP, the proof at the end."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(300)]


def demo(state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "demo", "--state-dir", str(state_dir), *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env=os.environ | {"COLUMNS": "120"},
    )


def digest(output: str) -> str:
    found = re.search(r"Figures ([0-9a-f]{16})", output)
    assert found, output
    return found.group(1)


def test_a_small_day_ends_with_a_proof_that_holds(tmp_path: Path) -> None:
    run = demo(tmp_path, "--sessions", "24", "--seed", "5")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "The proof holds" in run.stdout
    for table in (
        "Sessions",
        "Captured, once each",
        "VAT",
        "Exchange",
        "Shares",
        "Disbursement calendar",
        "One price explained",
        "Webhooks",
        "Proof",
    ):
        assert table in run.stdout, table
    assert "FAILS" not in run.stdout
    other = demo(tmp_path, "--sessions", "14", "--seed", "6", "--workers", "1")
    assert other.returncode == 0, other.stdout + other.stderr
    assert digest(other.stdout) != digest(run.stdout)


@pytest.mark.parametrize("sessions", ["11", "none", "-1"])
def test_a_day_that_can_not_be_planned_is_rejected_with_a_reason(tmp_path: Path, sessions: str) -> None:
    run = demo(tmp_path, "--sessions", sessions)
    assert run.returncode == 2
    assert "--sessions" in run.stderr
    assert "Traceback" not in run.stderr
