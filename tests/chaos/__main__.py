"""Load through the public API while everything fails in turn; then the audit, and a table.

python -m tests.chaos --minutes 10 [--clients 6] [--without-faults] [--state-dir DIR]

Owns: the order of a run and what counts as a failure: an answer that a client may not get, a session that is
not cleared at its price, a defect in a log, an audit that differs. Exit status 0: none; 1: some, each named.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import click
from rich.console import Console
from rich.table import Table

from gateway.migrations import migrate
from sandbox.market.context import start_clock
from sandbox.market.day import running_market
from sandbox.market.dev_market import OPENS_AT
from sandbox.market.plan import plan_day
from sandbox.market.progress import NotesOnly
from sandbox.market.setup import open_market
from sandbox.postgres.embedded import EmbeddedPostgres
from sandbox.stack import Stack
from tests.chaos.deferred import bring_forward, list_waiting
from tests.chaos.faults import Fault, Faults
from tests.chaos.load import PRICE_MINOR, Load
from tests.chaos.memory import MemoryLog

ROOT: Final = Path(__file__).parents[2]
_WORKERS: Final = 2
_REST_S: Final = (2.0, 5.0)  # between faults
_SETTLE_S: Final = 150.0  # a lease of a killed worker, a request's grace, and what is left to do
_FORWARD_EVERY_S: Final = 5.0
_DEFECTS: Final = frozenset({"request_failed"})


@dataclass(slots=True, kw_only=True)
class Strikes:
    """How often each fault came, and how long after it the next session was answered, in seconds."""

    counts: Counter[str] = field(default_factory=Counter)
    recoveries: dict[str, list[float]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a run came to; `failures` empty: it is clean."""

    failures: list[str] = field(default_factory=list)
    audit: str = ""
    settled_s: float = 0.0
    brought_forward: int = 0


@click.command()
@click.option("--minutes", default=5.0, show_default=True, help="How long the load lasts.")
@click.option("--clients", default=6, show_default=True, help="Drivers at once.")
@click.option("--seed", default=1, show_default=True, help="The order of the pauses between faults.")
@click.option("--without-faults", is_flag=True, help="The load alone: memory over time.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Kept afterwards; a new one by default.")
def main(*, minutes: float, clients: int, seed: int, without_faults: bool, state_dir: Path | None) -> None:
    """Run the whole system under load while everything fails in turn."""
    folder = state_dir or Path(tempfile.mkdtemp(prefix="networkcore-chaos-"))
    folder.chmod(0o755)
    outcome = asyncio.run(
        run(
            folder, seconds=minutes * 60, clients=clients, rng=None if without_faults else random.Random(seed)
        )
    )
    sys.exit(1 if outcome.failures else 0)


async def run(folder: Path, *, seconds: float, clients: int, rng: random.Random | None) -> Outcome:
    """A run on a stack of its own; `rng` None: nothing fails."""
    console = Console(stderr=True)
    database = EmbeddedPostgres(folder / "postgres", settings={"max_connections": "80"})
    async with running_market(
        folder / "stack",
        day=plan_day(sessions=24, seed=1),
        workers=_WORKERS,
        migrate=migrate,
        progress=NotesOnly(console),
        database=database,
    ) as (context, stack):
        await open_market(context)
        await start_clock(context, OPENS_AT)
        load = Load(
            base_url=stack.gateway_url,
            partner=context.keys["parkingapp"],
            platform=stack.plan.admin_api_key,
        )
        memory, strikes = MemoryLog(pids=lambda: stack.pids), Strikes()
        await _play(stack, load, memory, strikes, seconds=seconds, clients=clients, rng=rng)
        outcome = Outcome()
        await _settle(stack, load, outcome)
        await _prove(stack, load, outcome)
        log_dir = stack.log_dir
    outcome.failures += load.wrong + defects(log_dir)
    _show(load, memory, strikes, outcome, seconds=seconds)
    return outcome


async def _play(
    stack: Stack,
    load: Load,
    memory: MemoryLog,
    strikes: Strikes,
    *,
    seconds: float,
    clients: int,
    rng: random.Random | None,
) -> None:
    until = time.monotonic() + seconds
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        watching = asyncio.create_task(memory.watch())
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(load.drive(http, until=until))
            if rng is not None:
                faults = Faults(stack=stack, http=http)
                group.create_task(_strike(faults, load, strikes, rng, until=until))
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _strike(faults: Faults, load: Load, strikes: Strikes, rng: random.Random, *, until: float) -> None:
    """One fault after another, with a pause in which the system must serve again."""
    waiting: list[Fault] = []
    while time.monotonic() < until:
        waiting = waiting or faults.all()
        await asyncio.sleep(rng.uniform(*_REST_S))
        fault = waiting.pop(0)
        await fault.strike()
        ended = time.monotonic()
        while load.finished_at <= ended and time.monotonic() < until:
            await asyncio.sleep(0.05)
        strikes.counts[fault.name] += 1
        strikes.recoveries.setdefault(fault.name, []).append(time.monotonic() - ended)
    await faults.clear()


async def _settle(stack: Stack, load: Load, outcome: Outcome) -> None:
    """Wait until every session is cleared; what the faults have put off for an hour is due at once."""
    headers = {"Authorization": f"Bearer {load.platform}"}
    deadline = time.monotonic() + _SETTLE_S
    states: Counter[str] = Counter()
    forward_at = began = time.monotonic()
    async with aiohttp.ClientSession(stack.gateway_url, headers=headers) as http:
        while time.monotonic() < deadline:
            if time.monotonic() >= forward_at:
                outcome.brought_forward += await bring_forward(stack.postgres.dsn)
                forward_at += _FORWARD_EVERY_S
            with suppress(aiohttp.ClientError, TimeoutError, KeyError):
                states = await _states(http)
                if set(states) <= {"cleared"}:
                    break
            await asyncio.sleep(1)
        for name, count in states.items():
            if name != "cleared":
                outcome.failures.append(f"{count} sessions stay {name}")
        outcome.settled_s = time.monotonic() - began
        if set(states) != {"cleared"}:
            outcome.failures += await list_waiting(stack.postgres.dsn)
        if states["cleared"] < len(set(load.sessions)):
            outcome.failures.append(f"{len(set(load.sessions))} answered, {states['cleared']} cleared")


async def _states(http: aiohttp.ClientSession) -> Counter[str]:
    found: Counter[str] = Counter()
    path = "/v1/sessions?limit=100"
    while True:
        async with http.get(path) as response:
            page = await response.json()
        for one in page["data"]:
            priced = (one.get("capture") or {}).get("amount") == PRICE_MINOR
            found[one["state"] if priced or one["state"] != "cleared" else "cleared at another price"] += 1
        if not page.get("has_more"):
            return found
        path = f"/v1/sessions?limit=100&cursor={page['next_cursor']}"


async def _prove(stack: Stack, load: Load, outcome: Outcome) -> None:
    """The audit, with the PSP's own record."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": stack.postgres.dsn,
        "NETWORKCORE_PSP_API_KEY": stack.psp_api_key,
        "NETWORKCORE_PSP_BASE_URL": stack.psp_url,
    }
    command = [sys.executable, "-m", "gateway", "audit", "--json"]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    result = json.loads(done.stdout) if done.stdout.startswith("{") else {"result": done.stderr.strip()}
    outcome.audit = str(result["result"])
    if done.returncode != 0:
        findings = [f"{one['check']} {one['subject']}: {one['detail']}" for one in result.get("findings", [])]
        outcome.failures += [f"audit {outcome.audit}", *findings]
    captured = sum(line["captured"] for line in result.get("proof", []) if line["currency"] == "EUR")
    if captured < PRICE_MINOR * len(set(load.sessions)):
        outcome.failures.append(f"captured {captured}, expected {PRICE_MINOR * len(set(load.sessions))}")


def defects(log_dir: Path) -> list[str]:
    """Lines of the logs that speak of a defect: a traceback, or a request that failed."""
    found: Counter[str] = Counter()
    for log in sorted(log_dir.glob("*.log")):
        if not log.name.startswith(("gateway", "worker")):
            continue
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if not line.startswith("{"):
                continue
            with suppress(ValueError):
                said: dict[str, Any] = json.loads(line)
                if "exception" in said or said["event"] in _DEFECTS:
                    last = str(said.get("exception", "")).strip().splitlines()[-1:] or [""]
                    found[f"{log.name}: {said['event']} {last[0][:120]}"] += 1
    return [f"{line} ({count} times)" for line, count in found.items()]


def _show(load: Load, memory: MemoryLog, strikes: Strikes, outcome: Outcome, *, seconds: float) -> None:
    console = Console(width=120)
    count = len(set(load.sessions))
    answers = ", ".join(f"{name} {number}" for name, number in sorted(load.answers.items()))
    console.print(
        f"{count} sessions in {seconds:.0f} s ({count / seconds:.1f}/s), longest {load.longest_s:.1f} s; "
        f"answers: {answers}; all cleared {outcome.settled_s:.0f} s later, "
        f"{outcome.brought_forward} retries brought forward; audit: {outcome.audit}"
    )
    table = Table("fault", "times", "s to the next session, mean", "most", title="Faults")
    for name, times in strikes.counts.items():
        took = strikes.recoveries[name]
        table.add_row(name, str(times), f"{sum(took) / len(took):.1f}", f"{max(took):.1f}")
    if strikes.counts:
        console.print(table)
    sizes = Table("process", "s", "start", "1/4", "1/2", "3/4", "end", "MiB an hour", title="Memory, MiB")
    for row in memory.rows():
        sizes.add_row(*row)
    console.print(sizes)
    for failure in outcome.failures:
        console.print(f"[red]{failure}[/red]", markup=True)
    console.print("[green]clean[/green]" if not outcome.failures else "[red]not clean[/red]")


if __name__ == "__main__":
    main()
