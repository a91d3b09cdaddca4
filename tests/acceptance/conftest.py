"""One `networkcore dev` for all modules that walk through README and the guides."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A running `networkcore dev`, with what it printed: its addresses, keys and database."""
    state_dir = tmp_path_factory.mktemp("dev")
    command = [sys.executable, "-m", "gateway", "dev", "--json", "--state-dir", str(state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield json.loads(line)
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=60)
        assert (process.returncode, rest) == (0, ""), errors
