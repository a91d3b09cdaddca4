"""Processes of a program as a test's children, and waiting for them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


@contextmanager
def running(
    program: Path, *arguments: str, log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """One process of a program, which finds its packages in its own folder; ended with the block."""
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=program,
            env={**os.environ, "PYTHONPATH": str(program), **(environment or {})},
            stdout=subprocess.PIPE if arguments[0] == "dev" else errors,
            stderr=errors,
            text=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def run_command(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """One command of this program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def free_port() -> int:
    """A port of loopback that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def settings(stack: dict[str, Any], state_dir: Path, port: int) -> dict[str, str]:
    """What a process beside a running stack is given: the stack's own settings, another port."""
    plan = json.loads((state_dir / "stack.json").read_text(encoding="utf-8"))
    return {
        "NETWORKCORE_DATABASE_URL": stack["database_url"],
        "NETWORKCORE_PSP_BASE_URL": stack["sandbox_psp_url"],
        "NETWORKCORE_PSP_API_KEY": "sk_test_sandbox",
        "NETWORKCORE_PSP_PUBLISHABLE_KEY": "pk_test_sandbox",
        "NETWORKCORE_PSP_WEBHOOK_SECRET": plan["psp_webhook_secret"],
        "NETWORKCORE_ADMIN_API_KEY": stack["admin_api_key"],
        "NETWORKCORE_CLOCK": "market",
        "NETWORKCORE_PORT": str(port),
    }


async def wait_for(url: str, *, status: int = 200, path: str = "/readyz") -> None:
    """Wait until an address answers with a status."""
    deadline = time.monotonic() + PATIENCE_S
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            try:
                async with session.get(f"{url}{path}") as response:
                    if response.status == status:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)
    pytest.fail(f"{url}{path} does not answer {status}")


def failures(*logs: Path) -> list[dict[str, Any]]:
    """The lines of logs that speak of a defect."""
    lines = [line for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
    read = [json.loads(line) for line in lines if line.startswith("{")]
    assert read
    return [line for line in read if "exception" in line or line["event"] in {"request_failed", "job_failed"}]
