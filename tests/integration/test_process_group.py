"""`serve --processes N`: ready together, a killed process is replaced, and none outlives its parent."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import aiohttp
import pytest

from gateway.api.process_metrics import ProcessMetrics
from gateway.limits.address_limit import UNKNOWN_CALLERS

ROOT = Path(__file__).parents[2]
KEY = "nck_test_admin_of_the_platform_0123456789"
PROCESSES = 2
pytestmark = pytest.mark.timeout(400)  # three processes start for each test


@dataclass(slots=True, kw_only=True)
class Group:
    """A parent that runs, and its log lines as they come."""

    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)
    reader: Thread | None = None

    def end(self) -> int:
        """Stop it, read the rest of its lines; the exit status."""
        self.process.terminate()
        status = self.process.wait(240)
        assert self.reader is not None
        self.reader.join(240)
        return status

    def read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with contextlib.suppress(json.JSONDecodeError):
                self.lines.append(json.loads(line))
        self.process.stderr.close()

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("event") == event]

    async def wait(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(240):
            while not what():
                assert self.process.poll() is None, self.lines
                await asyncio.sleep(0.05)

    def members(self) -> list[int]:
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.named('gateway_ready')[0]['port']}"


ARGUMENTS = ("--processes", str(PROCESSES))


def start(database_url: str, *, arguments: Sequence[str] = ARGUMENTS, **settings: str) -> Group:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", *arguments],
        cwd=ROOT,
        env={
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": database_url,
            "NETWORKCORE_PSP_API_KEY": "sk_test_sandbox",
            "NETWORKCORE_PSP_WEBHOOK_SECRET": "whsec_sandbox",
            "NETWORKCORE_ADMIN_API_KEY": KEY,
            "NETWORKCORE_PORT": "0",
            "NETWORKCORE_LOG_FORMAT": "json",
            **settings,
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    group = Group(process=process)
    group.reader = Thread(target=group.read, daemon=True)
    group.reader.start()
    return group


@pytest.fixture
async def group(database_url: str) -> AsyncIterator[Group]:
    opened = start(database_url)
    try:
        await opened.wait(lambda: len(opened.named("gateway_process_ready")) == PROCESSES)
        yield opened
    finally:
        opened.end()


async def ask(client: aiohttp.ClientSession, group: Group) -> str:
    """What came of one request on a connection of its own."""
    try:
        async with client.get(f"{group.url}/healthz") as response:
            return str(response.status)
    except aiohttp.ClientConnectorError:
        return "refused"
    except aiohttp.ClientError:
        return "lost"


def test_processes_are_ready_together_and_each_line_names_its_process(database_url: str) -> None:
    opened = start(database_url)
    asyncio.run(opened.wait(lambda: len(opened.named("gateway_process_ready")) == PROCESSES))
    assert opened.end() == 0
    events = [line["event"] for line in opened.lines]
    assert events.count("gateway_ready") == 1
    ready = opened.named("gateway_process_ready")
    assert sorted(line["process"] for line in ready) == [1, 2]
    assert all("process" not in line for line in opened.named("gateway_ready"))


async def test_a_process_killed_under_load_is_replaced_and_no_connection_is_refused(group: Group) -> None:
    results: list[str] = []
    loading = True

    async def load() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:
            while loading:
                results.append(await ask(client, group))

    clients = [asyncio.ensure_future(load()) for _ in range(8)]
    await asyncio.sleep(0.5)
    victim = group.members()[0]
    os.kill(victim, signal.SIGKILL)
    await group.wait(lambda: len(group.named("gateway_process_ready")) == PROCESSES + 1)
    await asyncio.sleep(0.5)
    loading = False
    await asyncio.gather(*clients)
    assert set(results) <= {"200", "lost"}, set(results)
    assert results.count("lost") <= len(clients), "more than what the killed process had accepted"
    assert results.count("200") > 50
    (ended,) = group.named("gateway_process_ended")
    assert ended["status"] == -signal.SIGKILL
    assert len(group.members()) == PROCESSES
    assert victim not in group.members()


async def test_one_scrape_shows_the_metrics_of_every_process(group: Group) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:
        for _ in range(60):
            assert await ask(client, group) == "200"
        async with client.get(f"{group.url}/metrics", headers={"Authorization": f"Bearer {KEY}"}) as response:
            text = await response.text()
            assert response.status == 200, text
    assert text.count("# TYPE networkcore_http_requests_total counter") == 1
    counted = [
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith("networkcore_http_requests_total{") and 'path="/healthz"' in line
    ]
    assert sum(counted) == 60


async def test_wrong_keys_are_limited_once_for_all_processes(group: Group) -> None:
    answers: list[int] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:

        async def try_key(number: int) -> None:
            headers = {"Authorization": f"Bearer nck_test_guess_{number:0>20}"}
            async with client.get(f"{group.url}/v1/sessions", headers=headers) as response:
                answers.append(response.status)

        began = time.monotonic()
        for first in range(0, 600, 6):
            await asyncio.gather(*(try_key(number) for number in range(first, first + 6)))
        seconds = time.monotonic() - began
    assert set(answers) <= {401, 429}
    # One process alone gives out its burst and what comes back meanwhile; two that count apart twice as much.
    most = UNKNOWN_CALLERS.burst + UNKNOWN_CALLERS.per_second * seconds
    assert 150 < answers.count(401) <= most + 6, (answers.count(401), seconds)


async def test_no_process_outlives_a_parent_that_was_killed(group: Group) -> None:
    members = group.members()
    os.kill(group.process.pid, signal.SIGKILL)
    async with asyncio.timeout(240):
        while any(_runs(one) for one in members):
            await asyncio.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_group_that_can_not_become_ready_ends_and_leaves_nobody() -> None:
    opened = start("postgresql://app@127.0.0.1:1/networkcore")
    opened.process.wait(240)
    assert opened.end() == 1
    assert opened.named("gateway_process_not_ready")


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="networkcore-test-", dir="/tmp") as name:
        yield Path(name)


async def test_a_process_that_does_not_answer_is_left_out_of_a_scrape(directory: Path) -> None:
    def of(number: int, text: bytes) -> ProcessMetrics:
        return ProcessMetrics(number=number, of=3, directory=directory, own=lambda: text)

    first = of(1, b"# HELP a_total A.\n# TYPE a_total counter\na_total 1.0\n")
    second = of(2, b'# HELP a_total A.\n# TYPE a_total counter\na_total{path="/x"} 2.0\n')
    async with second.shared():
        assert (await first.read()).decode() == (
            "# HELP a_total A.\n# TYPE a_total counter\n"
            'a_total{process="1"} 1.0\na_total{process="2",path="/x"} 2.0\n'
        )
    assert b'process="2"' not in await first.read()
