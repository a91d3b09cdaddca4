"""Several gateway processes on one port: a parent that listens, and members that accept from its sockets.

Owns: how members are started, made ready together, replaced when they die and stopped. Must not know what a
member serves. Members are of two kinds: those of the API, and those of the console, which listen to a socket
in the group's directory, where the others pass people's requests on, and to a port of their own where one is
set. A socket stays open when a member dies, so that no connection that waits is refused; only what the member
had accepted is lost. A member ends by itself when its parent is gone.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import structlog

from gateway.config import Settings
from gateway.limits.shared_buckets import SharedBuckets

_log = structlog.get_logger(__name__)
READY: Final = b"ready\n"
GO: Final = b"go\n"
_BUCKETS: Final = "buckets"
_CONSOLE: Final = "console"
_BACKLOG: Final = 128
_STOP_SECONDS: Final = 5.0  # beside the grace that a member gives its requests
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 10.0
_STEADY_SECONDS: Final = 60.0


class MemberKind(StrEnum):
    """What a process of a group serves."""

    API = "api"  # everything, but not the console where others serve it
    CONSOLE = "console"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """One process of a group: its number from 1, of how many, and of its kind.

    `descriptors` are of the sockets that it accepts from, `directory` is the group's, `consoles` how many of
    the processes serve the console.
    """

    number: int
    of: int
    kind: MemberKind
    consoles: int
    descriptors: tuple[int, ...]
    directory: Path

    @classmethod
    def from_text(cls, text: str) -> "GroupMember":
        """The inverse of `to_text`. Raises ValueError."""
        number, of, kind, consoles, descriptors, directory = text.split(":", 5)
        return cls(
            number=int(number),
            of=int(of),
            kind=MemberKind(kind),
            consoles=int(consoles),
            descriptors=tuple(int(one) for one in descriptors.split(",")),
            directory=Path(directory),
        )

    def to_text(self) -> str:
        """As a member's command line has it."""
        descriptors = ",".join(str(one) for one in self.descriptors)
        return f"{self.number}:{self.of}:{self.kind}:{self.consoles}:{descriptors}:{self.directory}"

    @property
    def buckets_path(self) -> Path:
        """The file in which the rate limits of the group are counted."""
        return self.directory / _BUCKETS

    @property
    def console_path(self) -> Path:
        """The socket at which the group's console processes are reached."""
        return self.directory / _CONSOLE

    def sockets(self) -> list[socket.socket]:
        """The sockets that it accepts from."""
        return [socket.socket(fileno=one) for one in self.descriptors]

    async def wait_for_go(self, stop: asyncio.Event) -> asyncio.StreamReader | None:
        """Say that this process is ready and wait until all are; None: `stop`, or the parent is gone."""
        commands = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
        )
        os.write(sys.stdout.fileno(), READY)
        answer = asyncio.ensure_future(commands.readline())
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait((answer, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not answer.done():
            answer.cancel()
            return None
        return commands if answer.result() == GO else None


@dataclass(slots=True, kw_only=True)
class ProcessGroup:
    """The parent of `count` processes and `consoles` more.

    `status` is its exit status: 1 if a member did not become ready at the start.
    """

    count: int
    consoles: int = 0
    status: int = 0
    _members: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)
    _waiting: set[int] = field(default_factory=set)
    _all_ready: asyncio.Event = field(default_factory=asyncio.Event)
    _failed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, settings: Settings, stop: asyncio.Event) -> None:
        """Listen and keep the members running until `stop`.

        Raises:
            OSError: a port is taken.
        """
        with contextlib.ExitStack() as opened:
            directory = opened.enter_context(_directory())
            listening = opened.enter_context(bound_socket(settings.host, settings.port))
            consoles = [opened.enter_context(one) for one in self._console_sockets(settings, directory)]
            SharedBuckets.create(directory / _BUCKETS)
            members = self._members_of([listening], consoles, directory)
            self._waiting = {member.number for member in members}
            keepers = [asyncio.ensure_future(self._keep(member, stop)) for member in members]
            ready = asyncio.ensure_future(self._announce(settings, listening, consoles))
            ended = [asyncio.ensure_future(event.wait()) for event in (stop, self._failed)]
            try:
                await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop.set()
                for task in (*ended, ready):
                    task.cancel()
                await self._stop(settings.shutdown_grace_seconds + _STOP_SECONDS)
                await asyncio.gather(*keepers, ready, *ended, return_exceptions=True)

    def _console_sockets(self, settings: Settings, directory: Path) -> list[socket.socket]:
        if not self.consoles:
            return []
        inside = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        inside.bind(str(directory / _CONSOLE))
        inside.listen(_BACKLOG)
        if settings.console_port is None:
            return [inside]
        return [inside, bound_socket(settings.host, settings.console_port)]

    def _members_of(
        self, listening: list[socket.socket], consoles: list[socket.socket], directory: Path
    ) -> list[GroupMember]:
        kinds = [MemberKind.API] * self.count + [MemberKind.CONSOLE] * self.consoles
        accepts = {MemberKind.API: listening, MemberKind.CONSOLE: consoles}
        return [
            GroupMember(
                number=number,
                of=len(kinds),
                kind=kind,
                consoles=self.consoles,
                descriptors=tuple(one.fileno() for one in accepts[kind]),
                directory=directory,
            )
            for number, kind in enumerate(kinds, 1)
        ]

    async def _announce(
        self, settings: Settings, listening: socket.socket, consoles: list[socket.socket]
    ) -> None:
        await self._all_ready.wait()
        _log.info(
            "gateway_ready",
            url=settings.base_url,
            port=listening.getsockname()[1],
            processes=self.count,
            console_processes=self.consoles,
            console_port=consoles[1].getsockname()[1] if len(consoles) > 1 else None,
        )

    async def _keep(self, member: GroupMember, stop: asyncio.Event) -> None:
        """Run a member, and another in its place whenever it ends."""
        number = member.number
        pause = _FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            process = await _start(member)
            self._members[number] = process
            if stop.is_set():
                _signal(process, signal.SIGTERM)
            if await _becomes_ready(process):
                await self._let_go(number, process)
            elif not self._all_ready.is_set():
                self._fail(number)
            status = await process.wait()
            if stop.is_set():
                return
            _log.warning("gateway_process_ended", number=number, status=status)
            pause = _FIRST_PAUSE_SECONDS if loop.time() - began >= _STEADY_SECONDS else pause
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _let_go(self, number: int, process: asyncio.subprocess.Process) -> None:
        """Members of the start accept when all of them are ready, one that replaces another at once."""
        self._waiting.discard(number)
        if not self._waiting:
            self._all_ready.set()
        ended = asyncio.ensure_future(process.wait())
        ready = asyncio.ensure_future(self._all_ready.wait())
        failed = asyncio.ensure_future(self._failed.wait())
        await asyncio.wait((ended, ready, failed), return_when=asyncio.FIRST_COMPLETED)
        for task in (ended, ready, failed):
            task.cancel()
        if process.returncode is not None and not self._all_ready.is_set():
            self._fail(number)
        elif process.stdin is not None and process.returncode is None:
            with contextlib.suppress(ConnectionError):
                process.stdin.write(GO)
                await process.stdin.drain()

    def _fail(self, number: int) -> None:
        _log.error("gateway_process_not_ready", number=number)
        self.status = 1
        self._failed.set()

    async def _stop(self, seconds: float) -> None:
        """Ask every member to end, and end what has not done so in time."""
        for process in self._members.values():
            _signal(process, signal.SIGTERM)
        waits = [asyncio.ensure_future(process.wait()) for process in self._members.values()]
        if waits:
            try:
                await asyncio.wait(waits, timeout=seconds)
            finally:
                for process in self._members.values():
                    _signal(process, signal.SIGKILL)


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket at that address that does not listen yet: members do, once they accept. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError:
        opened.close()
        raise
    return opened


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="networkcore-gateway-") as name:
        yield Path(name)


async def _start(member: GroupMember) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "serve",
        "--member",
        member.to_text(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        pass_fds=member.descriptors,
    )


async def _becomes_ready(process: asyncio.subprocess.Process) -> bool:
    return process.stdout is not None and await process.stdout.readline() == READY


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
