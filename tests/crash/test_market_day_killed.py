"""A market day whose processes are killed with -9 in the middle ends with the same proof."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
]
SESSIONS, SEED = 24, 9
PATIENCE_S = 240.0


@contextmanager
def demo(state_dir: Path) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable,
        "-m",
        "gateway",
        "demo",
        "--sessions",
        str(SESSIONS),
        "--seed",
        str(SEED),
        "--state-dir",
        str(state_dir),
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "120"},
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def finished(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    found = re.search(r"The proof holds. Figures ([0-9a-f]{16})", output)
    assert found, output
    return found.group(1)


def steps(state_dir: Path, name: str) -> int:
    checkpoints = state_dir / f"demo-{SESSIONS}-{SEED}" / "checkpoints.jsonl"
    return checkpoints.read_bytes().count(f'["{name}/'.encode()) if checkpoints.exists() else 0


def wait_for(state_dir: Path, name: str, count: int, *, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while steps(state_dir, name) < count:
        if process.poll() is not None:
            pytest.fail(f"the demo ended before its time: {process.communicate()[0]}")
        assert time.monotonic() < deadline, f"only {steps(state_dir, name)} of {count} {name}"
        time.sleep(0.02)


def children(parent: int) -> dict[int, str]:
    """Process ids and command lines of a process's own children."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == parent:
            found[int(entry.name)] = command
    return found


def kill_child(process: subprocess.Popen[str], named: str) -> None:
    pids = [pid for pid, command in children(process.pid).items() if named in command]
    assert pids, f"no child {named} among {children(process.pid)}"
    os.kill(pids[0], signal.SIGKILL)


def lose_a_webhook(state_dir: Path) -> None:
    """Have the parties' server forget its first webhook: its party must ask for it again."""
    received = state_dir / f"demo-{SESSIONS}-{SEED}" / "webhooks.jsonl"
    first, _, others = received.read_bytes().partition(b"\n")
    assert first
    received.write_bytes(others)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    with demo(tmp_path_factory.mktemp("undisturbed")) as process:
        return finished(process)


def test_children_killed_midway_change_nothing(tmp_path: Path, undisturbed: str) -> None:
    with demo(tmp_path) as process:
        for completed, named in (
            (4, "gateway serve"),
            (8, "gateway work"),
            (12, "cluster"),
            (15, "sandbox-psp"),
        ):
            wait_for(tmp_path, "completed", completed, process=process)
            kill_child(process, named)
        assert finished(process) == undisturbed


def test_a_demo_killed_midway_goes_on_and_changes_nothing(tmp_path: Path, undisturbed: str) -> None:
    for progress in (4, 12):
        with demo(tmp_path) as process:
            wait_for(tmp_path, "completed", progress, process=process)
            mine = children(process.pid)
            process.kill()
            process.wait()
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in mine) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [command for pid, command in mine.items() if Path(f"/proc/{pid}").exists()]
    lose_a_webhook(tmp_path)
    with demo(tmp_path) as process:
        assert finished(process) == undisturbed
