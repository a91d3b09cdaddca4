"""A whole market day as a newcomer runs it: real processes, real HTTP, the proof at the end."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

WIDE = {"COLUMNS": "120"}
pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(300)]


def demo(state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "demo", "--state-dir", str(state_dir), *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env=os.environ | WIDE,
    )


def kept_open(state_dir: Path, *arguments: str) -> tuple[str, str]:
    """What `demo --keep` prints, and the page to which the administrator's link leads while it runs."""
    command = [sys.executable, "-m", "gateway", "demo", "--state-dir", str(state_dir), *arguments, "--keep"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | WIDE
    ) as process:
        assert process.stdout is not None
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith("The day in the console"):
                break
        link = re.search(r"^platform +administrator +(http\S+)$", printed, re.MULTILINE)
        assert link, printed
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        browser.open(link.group(1), timeout=30).close()
        with browser.open(link.group(1), data=b"", timeout=30) as answer:
            page = answer.read().decode()
        assert answer.url == printed.split()[-1]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        assert (process.returncode, rest) == (0, "")
    return printed, page


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
    options = f"--sessions 24 --seed 5 --state-dir {tmp_path}"
    assert run.stdout.splitlines()[-1] == f"The day in the console: networkcore demo --show {options}"
    other, day = kept_open(tmp_path, "--sessions", "14", "--seed", "6", "--workers", "1")
    assert digest(other) != digest(run.stdout)
    captured = re.search(r"Captured, once each.*?EUR +\d+ +([\d.,]+)", other, re.DOTALL)
    assert captured, other
    assert captured.group(1) in day


@pytest.mark.parametrize("sessions", ["11", "none", "-1"])
def test_a_day_that_can_not_be_planned_is_rejected_with_a_reason(tmp_path: Path, sessions: str) -> None:
    run = demo(tmp_path, "--sessions", sessions)
    assert run.returncode == 2
    assert "--sessions" in run.stderr
    assert "Traceback" not in run.stderr
