"""Starts our own processes, watches them, restarts those that die and stops them in order.

Owns child processes and their log files. Must not know what a child does: it is given the arguments of
`python -m gateway`, an environment, and how the child shows that it is ready.

A child ends with this process, however it ends. A child that dies is started again with the same arguments,
at most five times a minute; one that keeps dying ends the supervised block with a SupervisorError.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import aiohttp
from typing_extensions import override

from sandbox.errors import SandboxError, SupervisorError
from sandbox.processes.exit_with_parent import tied_command

_POLL_SECONDS: Final = 0.03
_PROBE_TIMEOUT_SECONDS: Final = 2.0
_RESTARTS: Final = 5
_RESTART_WINDOW_SECONDS: Final = 60.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_STATUS_OK: Final = 200
_TAIL_BYTES: Final = 2048
_TAIL_LINES: Final = 3
_OWN_VARIABLES: Final = ("NETWORKCORE_", "PG", "DATABASE_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReady:
    """Ready once a GET of `url` answers 200."""

    url: str

    @override
    def __str__(self) -> str:
        return f"{self.url} to answer 200"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineReady:
    """Ready once it printed a line that is a JSON object; the object is the child's announcement."""

    @override
    def __str__(self) -> str:
        return "its ready line"


@dataclass(frozen=True, slots=True, kw_only=True)
class AliveReady:
    """Ready once it has lived for `seconds`."""

    seconds: float = 0.3

    @override
    def __str__(self) -> str:
        return f"it to run for {self.seconds:g} s"


Readiness = HttpReady | LineReady | AliveReady


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One child: `python -m gateway ARGUMENTS` with `environment` added to a cleaned copy of ours."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    readiness: Readiness = field(default_factory=AliveReady)
    ready_timeout_seconds: float = 300.0
    report_interval_seconds: float = 10.0
    stop_timeout_seconds: float = 20.0
    command: Sequence[str] = (sys.executable, "-m", "gateway")


class Server(Protocol):
    """A server that starts and stops its own process, such as the embedded PostgreSQL."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def log_path(self) -> Path:
        """Its log."""
        ...

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        ...

    def start(self) -> None:
        """Start it, and wait until it can be used. Raises SandboxError."""
        ...

    def stop(self) -> None:
        """Stop it and wait."""
        ...


class Child:
    """A child: its current process and what it announced."""

    def __init__(self, spec: ChildSpec, *, log_dir: Path, on_event: Callable[[str], None]) -> None:
        self.spec = spec
        self.log_path = log_dir / f"{spec.name}.log"
        self.output_path = log_dir / f"{spec.name}.out"
        self.announcement: dict[str, Any] = {}
        self.restarts = 0
        self._on_event = on_event
        self.stopping = asyncio.Event()
        self.process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the child runs."""
        return self.process.pid if self.process is not None and self.process.returncode is None else None

    async def spawn(self) -> None:
        """Start the process, from the thread of the event loop, which the kernel ties it to."""
        # Killed at once when this process ends: nothing uses it any more, and it survives kill -9 by design.
        command = tied_command([*self.spec.command, *self.spec.arguments], death_signal=signal.SIGKILL)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
        with self.log_path.open("ab") as log, self.output_path.open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env=inherited | dict(self.spec.environment),
                start_new_session=True,
            )

    async def wait_ready(self) -> None:
        """Wait until the child shows that it is ready, reporting now and then what is waited for.

        Raises:
            SupervisorError: it ended first, or did not become ready in time; the text ends with its last
                lines.
        """
        started = time.monotonic()
        next_report = started + self.spec.report_interval_seconds
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_PROBE_TIMEOUT_SECONDS)
        ) as session:
            while not await self._is_ready(session, age_seconds=time.monotonic() - started):
                if self.pid is None:
                    raise SupervisorError(f"{self.spec.name} ended at its start: {self.tail()}")
                elapsed = time.monotonic() - started
                if elapsed > self.spec.ready_timeout_seconds:
                    waited = f"{self.spec.name} was not ready after {self.spec.ready_timeout_seconds:g} s"
                    raise SupervisorError(f"{waited}: {self.tail()}")
                if started + elapsed > next_report:
                    self._on_event(
                        f"still waiting for {self.spec.name} ({elapsed:.0f} s): for {self.spec.readiness}"
                    )
                    next_report += self.spec.report_interval_seconds
                await asyncio.sleep(_POLL_SECONDS)

    async def end(self) -> None:
        """Terminate the child and wait; after its stop timeout it is killed."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.spec.stop_timeout_seconds)
        except TimeoutError:
            process.kill()
            await process.wait()

    def tail(self) -> str:
        """Return the child's last lines as one line."""
        for path in (self.log_path, self.output_path):
            try:
                with path.open("rb") as log:
                    log.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                    lines = log.read().decode("utf-8", errors="replace").split("\n")
            except OSError:
                continue
            tail = [line.strip() for line in lines if line.strip()]
            if tail:
                return "; ".join(tail[-_TAIL_LINES:])
        return "it printed nothing"

    async def _is_ready(self, session: aiohttp.ClientSession, *, age_seconds: float) -> bool:
        if self.pid is None:
            return False
        match self.spec.readiness:
            case AliveReady(seconds=seconds):
                return age_seconds >= seconds
            case LineReady():
                return self._read_announcement()
            case HttpReady(url=url):
                try:
                    async with session.get(url, allow_redirects=False) as response:
                        return response.status == _STATUS_OK
                except (aiohttp.ClientError, TimeoutError, OSError):
                    return False

    def _read_announcement(self) -> bool:
        for line in self.output_path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            if not line.startswith("{") or not line.endswith("\n"):
                continue
            try:
                announcement = json.loads(line)
            except ValueError:
                continue
            self.announcement = announcement
            return True
        return False


class _Deaths:
    """The latest deaths of one process: how long to pause, and when to give up."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_RESTARTS + 1)

    def too_many(self) -> bool:
        """Count a death now; returns whether it is the sixth within a minute."""
        now = time.monotonic()
        self._times.append(now)
        return len(self._times) > _RESTARTS and now - self._times[0] < _RESTART_WINDOW_SECONDS

    @property
    def pause_seconds(self) -> float:
        """0.1 s after the first recent death, doubled with each further one."""
        horizon = time.monotonic() - _RESTART_WINDOW_SECONDS
        recent = sum(1 for moment in self._times if moment > horizon)
        return _FIRST_PAUSE_SECONDS * 2.0 ** max(recent - 1, 0)


class Supervisor:
    """Holds children for the length of an asynchronous block; on leaving, they stop in reverse order."""

    def __init__(self, *, log_dir: Path, on_event: Callable[[str], None] = lambda _line: None) -> None:
        """`log_dir` gets the children's logs, `on_event` a line for each death, restart and long wait."""
        self._log_dir = log_dir
        self._on_event = on_event
        self._children: dict[str, Child] = {}
        self._servers: list[Server] = []
        self._group = asyncio.TaskGroup()

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the children that run, by name."""
        return {name: child.pid for name, child in self._children.items() if child.pid is not None}

    async def start_server(self, server: Server) -> None:
        """Start a server and start it again whenever it dies; it stops after every child.

        Raises SandboxError when it can't be started.
        """
        await asyncio.to_thread(server.start)
        self._servers.append(server)
        self._group.create_task(self._watch_server(server), name=f"watch {server.name}")

    async def start(self, spec: ChildSpec) -> Child:
        """Start a child, wait until it is ready, and watch it from then on.

        Raises:
            SupervisorError: a child of that name exists, or it did not become ready.
        """
        if spec.name in self._children:
            raise SupervisorError(f"a child named {spec.name} exists already")
        child = Child(spec, log_dir=self._log_dir, on_event=self._on_event)
        self._children[spec.name] = child
        try:
            await child.spawn()
            await child.wait_ready()
        except BaseException:
            child.stopping.set()
            await child.end()
            del self._children[spec.name]
            raise
        self._group.create_task(self._watch(child), name=f"watch {spec.name}")
        return child

    async def stop(self, name: str) -> None:
        """Stop one child: terminated, and killed after its stop timeout. Unknown names are ignored."""
        child = self._children.get(name)
        if child is not None:
            child.stopping.set()
            await child.end()

    async def __aenter__(self) -> Self:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(self._children):
            await self.stop(name)
        servers, self._servers = self._servers, []
        for server in servers:
            await asyncio.to_thread(server.stop)
        # Only a cancellation concerns the group: it may be the group's own, for a child that keeps dying.
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        try:
            await self._group.__aexit__(*((kind, value, trace) if cancelled else (None, None, None)))
        except BaseExceptionGroup as errors:
            lost, others = errors.split(SupervisorError)
            if lost is None or others is not None:
                raise
            raise lost.exceptions[0] from None

    async def _watch_server(self, server: Server) -> None:
        """Start the server again whenever it dies, until that happens too often."""
        deaths = _Deaths()
        while server in self._servers:
            if not server.running:
                self._on_event(f"{server.name} ended, starting it again")
                if deaths.too_many():
                    raise SupervisorError(f"{server.name} keeps dying; its log is {server.log_path}")
                try:
                    await asyncio.to_thread(server.start)
                except SandboxError as error:  # killed while it recovered: the next round tries again
                    self._on_event(f"{server.name} did not start: {error}")
                else:
                    self._on_event(f"{server.name} runs again")
            await asyncio.sleep(_POLL_SECONDS)

    async def _watch(self, child: Child) -> None:
        """Start the child again whenever it dies, until that happens too often."""
        deaths = _Deaths()
        while child.process is not None:
            status = await child.process.wait()
            while not child.stopping.is_set():
                self._on_event(f"{child.spec.name} ended with status {status}, starting it again")
                if deaths.too_many():
                    raise SupervisorError(f"{child.spec.name} keeps dying: {child.tail()}")
                await asyncio.sleep(deaths.pause_seconds)
                if await self._restart(child):
                    break
            if child.stopping.is_set():
                return

    async def _restart(self, child: Child) -> bool:
        """Start the child once more; False when it did not become ready."""
        if child.stopping.is_set():
            return False
        await child.spawn()
        try:
            await child.wait_ready()
        except SupervisorError:
            await child.end()
            return False
        if child.stopping.is_set():
            # The stop came while the new process was being started, and ended only the old one.
            await child.end()
            return False
        child.restarts += 1
        self._on_event(f"{child.spec.name} runs again")
        return True
