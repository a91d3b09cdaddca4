"""`networkcore` as a person calls it: arguments, environment, streams, exit status.

A process of its own for each call, forked from one that has loaded the program (`command_server`).
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).parents[2]
_lock = Lock()


def networkcore(
    *arguments: str,
    database_url: str | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    stdin: str = "",
    timeout_s: int = 60,
) -> subprocess.CompletedProcess[str]:
    """Call it with a search path, the address of the database, `environment`, and nothing else of ours."""
    known = {"PATH": os.defpath} | ({} if database_url is None else {"DATABASE_URL": database_url})
    with tempfile.TemporaryDirectory(prefix="networkcore-test-command-") as directory:
        streams = [Path(directory) / name for name in ("in", "out", "err")]
        for path, text in zip(streams, (stdin, "", ""), strict=True):
            path.write_text(text, encoding="utf-8")
        request = {
            "arguments": arguments,
            "environment": {**known, **(environment or {})},
            "cwd": str(cwd),
            "streams": [str(path) for path in streams],
            "timeout_s": timeout_s,
        }
        with _lock:
            server = _server()
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            status = int(server.stdout.readline())
        out, err = (path.read_text(encoding="utf-8") for path in streams[1:])
    if status == -signal.SIGALRM:
        raise subprocess.TimeoutExpired(["networkcore", *arguments], timeout_s, output=out, stderr=err)
    return subprocess.CompletedProcess(["networkcore", *arguments], status, stdout=out, stderr=err)


@cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.command_server"],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[str]) -> None:
    server.communicate()
