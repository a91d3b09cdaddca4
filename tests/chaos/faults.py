"""What fails: every process killed, the database paused, read-only, full or used up, the PSP late or failing.

Owns: how each fault is made and undone. Must not know: the load, what is measured. A full disk is made by
triggers that raise PostgreSQL's own error of it (53100) on every write: the disk itself is shared.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg

from sandbox.stack import Stack

_SECONDS: Final = 4.0
_SCHEMAS: Final = "('gateway', 'clearing', 'pnc')"
_FULL: Final = """
CREATE OR REPLACE FUNCTION public.disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: `strike` makes it, and returns when it is undone."""

    name: str
    strike: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Every fault of a stack."""

    stack: Stack
    http: aiohttp.ClientSession

    def all(self) -> list[Fault]:
        """Each of them once, in the order in which they come."""
        killed = [
            Fault(name=f"{name} killed", strike=lambda name=name: self._kill(name))  # type: ignore[misc]
            for name in ("gateway", "worker-1", "sandbox-psp", "postgres", "worker-2")
        ]
        database = [
            Fault(name="database paused", strike=self._pause),
            Fault(name="database read-only", strike=self._read_only),
            Fault(name="database full", strike=self._full),
            Fault(name="connections used up", strike=self._use_up),
        ]
        psp = [
            Fault(name="PSP late", strike=lambda: self._disturb("delay", {"delay_ms": 3000})),
            Fault(name="PSP failing", strike=lambda: self._disturb("status", {"status": 500})),
            Fault(
                name="PSP silent after the act",
                strike=lambda: self._disturb("timeout_after", {"hold_ms": 7000}),
            ),
        ]
        mixed = []
        for place in range(max(len(killed), len(database), len(psp))):
            mixed += [group[place] for group in (killed, database, psp) if place < len(group)]
        return mixed

    async def clear(self) -> None:
        """Undo what a fault may have left."""
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self.http.delete(self.stack.psp_url + "/_sandbox/faults"):
                pass

    async def _kill(self, name: str) -> None:
        pid = self.stack.pids.get(name)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def _pause(self) -> None:
        pids = _family(self.stack.postgres.pid)
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(_SECONDS)
        finally:
            for pid in pids:
                _signal(pid, signal.SIGCONT)

    async def _read_only(self) -> None:
        async with self._connected() as connection:
            await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            await connection.execute("SELECT pg_reload_conf()")
            try:
                await asyncio.sleep(_SECONDS)
            finally:
                await connection.execute("SET default_transaction_read_only = off")
                await connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
                await connection.execute("SELECT pg_reload_conf()")

    async def _full(self) -> None:
        async with self._connected() as connection:
            await connection.execute(_FULL)
            tables = await connection.fetch(
                f"SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname IN {_SCHEMAS}"  # noqa: S608
            )
            names = [row["name"] for row in tables]
            try:
                for name in names:
                    await connection.execute(
                        f"CREATE TRIGGER disk_is_full BEFORE INSERT OR UPDATE OR DELETE ON {name} "
                        "EXECUTE FUNCTION public.disk_is_full()"
                    )
                await asyncio.sleep(_SECONDS)
            finally:
                for name in names:
                    await connection.execute(f"DROP TRIGGER IF EXISTS disk_is_full ON {name}")

    async def _use_up(self) -> None:
        opened: list[Any] = []
        try:
            with suppress(asyncpg.PostgresError, OSError, TimeoutError):
                while True:
                    opened.append(await asyncpg.connect(self.stack.postgres.dsn, timeout=5))
            await asyncio.sleep(_SECONDS)
        finally:
            for connection in opened:
                connection.terminate()

    async def _disturb(self, kind: str, effect: dict[str, Any]) -> None:
        rule = {
            "match": {"path_regex": "^/v1/(payment_intents|refunds)", "times": 0},
            "fault": {"kind": kind, **effect},
        }
        form = {
            f"{part}[{name}]": str(value) for part, values in rule.items() for name, value in values.items()
        }
        async with self.http.post(self.stack.psp_url + "/_sandbox/faults", data=form) as response:
            if response.status != 200:
                raise RuntimeError(f"the PSP took no fault: {await response.text()}")
        try:
            await asyncio.sleep(_SECONDS)
        finally:
            await self.clear()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.stack.postgres.dsn, timeout=10)
        try:
            yield connection
        finally:
            await connection.close()


def _family(parent: int | None) -> list[int]:
    """A process and its children."""
    found = [] if parent is None else [parent]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                stat = (entry / "stat").read_text()
                if int(stat.rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry.name))
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
